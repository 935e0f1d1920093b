"""After the story (files run in the order of their names): what a GitOps tool would see of the overlay that the suite applied."""


def test_the_api_server_accepts_the_overlay_again(story):
    """A dry run on the server: schemas, quotas, Pod Security and KServe's webhooks, but nothing is stored."""
    story.kubectl("apply", "--dry-run=server", "-k", story.asked.overlay(story.commands.folder))


def test_the_overlay_does_not_drift(story):
    """`kubectl diff` compares with such a dry run, and ends with 1 where they differ: a tool would apply that again and again."""
    difference = story.kubectl("diff", "-k", story.asked.overlay(story.commands.folder), codes=(0, 1))
    assert not difference.strip(), difference
