"""Published copies are taken back: of forgotten bots and authors, and only those."""

import contextlib
import json

from fake_hub import Repository
from publish_inputs import refused, tag, version
from registry_inputs import add_version

from mynah.registry.published_copies import PUBLISHED
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store


def test_a_forgotten_bots_copy_is_deleted(mynah, publish, hub, workdir, tmp_path):
    assert publish("--public").returncode == 0
    receipt, url = tmp_path / "receipt.json", f"{hub.url}/ann/wren"
    dry = mynah("forget", "wren", "--dry-run", "--workdir", workdir)
    assert (dry.returncode, f"the published copy {url}" in dry.stdout) == (0, True), dry
    forget = ("forget", "--yes", "wren", "--workdir", workdir, "--receipt", receipt)

    refused(
        mynah(*forget, HF_TOKEN=""), 2, f"the published copy {url} may still be there: asking for it needs a token", "HF_TOKEN"
    )
    refused(mynah(*forget, HF_TOKEN="hf_bob"), 2, "(403")
    refused(mynah(*forget, HF_ENDPOINT="http://127.0.0.1:1"), 2, f"{url} is on another hub", f"HF_ENDPOINT={hub.url}")
    hub.failing = [("DELETE", "/api/repos/delete", 99, 500, {})]
    refused(mynah(*forget), 3, f"{url} may still be there: ", "failed (500)")
    assert (receipt.exists(), "ann/wren" in hub.repositories, version(workdir).version) == (False, True, 1)

    hub.failing = []
    done = mynah(*forget)
    assert (done.returncode, hub.repositories) == (0, {}), done
    items = json.loads(receipt.read_text())["items"]
    assert [item["address"] for item in items if item["kind"] == "published"] == [url]
    genuine = mynah("receipt", receipt, "--workdir", workdir)
    assert (genuine.returncode, "still gone" in genuine.stdout) == (0, True), genuine

    other = hub.repositories["ann/wren"] = Repository(private=True)  # another one under its name is not the one that went
    other.add("my work", {"model.safetensors": (b"precious", True)})
    assert mynah("receipt", receipt, "--workdir", workdir).returncode == 0
    back = next(item["version"] for item in items if item["kind"] == "published")
    other.commits.insert(0, (back, "wren version 1, published by Mynah", {}))
    told = mynah("receipt", receipt, "--workdir", workdir)
    assert (told.returncode, f"published {url}" in told.stderr) == (3, True), told
    refused(mynah("receipt", receipt, "--workdir", workdir, HF_TOKEN=""), 2, "needs a token")


def test_a_forgotten_authors_copies_are_deleted(mynah, publish, hub, workdir):
    assert publish(name="duo", to="hub:birds/duo").returncode == 0
    assert publish(name="duo", to="hub:ann/duo").returncode == 0
    assert publish().returncode == 0
    done = mynah("forget", "--yes", "@bob_author", "--blends", "remove", "--workdir", workdir)
    assert (done.returncode, list(hub.repositories)) == (0, ["ann/wren"]), done


def test_a_private_copy_is_not_taken_for_gone(mynah, publish, hub, workdir):
    assert publish().returncode == 0
    refused(mynah("forget", "--yes", "wren", "--workdir", workdir, HF_TOKEN="hf_bob"), 2, "the token is for bob, and not for ann")
    hub.scopes["hf_ann"] = ["birds"]  # a fine-grained token of the owner's, for something else
    refused(mynah("forget", "--yes", "wren", "--workdir", workdir), 2, "the token is for birds, and not for ann")
    assert (list(hub.repositories), version(workdir).version) == (["ann/wren"], 1)
    hub.scopes["hf_ann"] = ["birds", "ann"]
    assert mynah("forget", "--yes", "wren", "--workdir", workdir).returncode == 0
    assert hub.repositories == {}


def test_a_tag_that_somebody_wrote_deletes_nothing(mynah, publish, hub, workdir):
    repo = hub.repositories["ann/precious"] = Repository(private=False)
    commit = repo.add("my work", {"model.safetensors": (b"precious", True)})
    tag(workdir, PUBLISHED, f"hub:ann/precious@{commit} {hub.url}")
    tag(workdir, PUBLISHED, f"hub:ann/precious {hub.url}, hub:../../x, nonsense", name="duo")
    for bot in ("wren", "duo"):
        done = mynah("forget", "--yes", bot, "--workdir", workdir)
        assert (done.returncode, list(hub.repositories)) == (0, ["ann/precious"]), done
        assert "ann/precious no longer holds what Mynah published" in done.stderr


def test_forgotten_while_it_goes_up(mynah, publish, hub, workdir):
    """The commit is made, and right then the bot is forgotten by another process, or its version removed."""

    def remove(method, path):
        if method == "POST" and "/commit/" in path:
            with contextlib.suppress(IndexError):
                Registry(open_store(workdir)).client.delete_model_version("wren", "1")

    hub.before = remove
    refused(publish(), 2, "was removed while it was published", "deleted again")
    assert hub.repositories == {}


def test_a_published_version_is_not_pruned(mynah, publish, workdir):
    for loss in (3.9, 3.8):
        add_version(workdir, loss)
    assert publish("--version", "2").returncode == 0
    done = mynah("prune", "wren", "--keep", "0", "--dry-run", "--workdir", workdir)
    assert "wren 2" not in done.stdout
    tag(workdir, PUBLISHED, "", number=2)
    assert "wren 2" in mynah("prune", "wren", "--keep", "0", "--dry-run", "--workdir", workdir).stdout
