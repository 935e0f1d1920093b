"""An archive of Mastodon: what is read, large and damaged ones."""

import json
import re

import pytest
from fake_mastodon import ACTOR, PUBLIC, archive, boost, note
from free_fetch import HASHTAG, MARCH, read, refused

from components.fetch.archives.zip_folder import open_archive
from components.fetch.mastodon.api import open_outbox
from components.fetch.step import fetch
from mynah.core.errors import InputError
from mynah.data.posts import Entity, Kind


def opened(folder, files):
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_archive(folder, "archive-20240301")


def outbox_posts(folder, *items):
    with opened(folder, archive(*items)) as found:
        return read(open_outbox(found))


def test_an_archive_yields_its_public_posts(tmp_path):
    items = [
        note(1, f"<p>Hello {HASHTAG}</p>"),
        note(2, "<p>For friends</p>", to=[f"{ACTOR}/followers"], cc=[]),
        note(3, "<p>For one</p>", to=["https://x.example/users/heron"], cc=[]),
        note(9, "<p>Quietly</p>", to=[f"{ACTOR}/followers"], cc=[PUBLIC]),
        note(10, "<p>To one, heard by all</p>", to="https://x.example/users/heron", cc="as:Public"),
        note(4, "<p>Yes</p>", inReplyTo="https://x.example/users/heron/statuses/77"),
        note(5, "<p>And on</p>", inReplyTo=f"{ACTOR}/statuses/4", to=PUBLIC),
        note(6, "<p>This!</p>", quote="https://x.example/1", contentMap={"en": "a", "de": "b"}),
        boost(7, "https://x.example/users/heron/statuses/78"),
        {"type": "Delete", "to": [PUBLIC], "object": "x"},
        note(8, None),
        "nothing",
    ]
    with opened(tmp_path, archive(*items)) as found:
        content = open_outbox(found)
        posts = read(content)
    quiet, posts = posts[1:3], posts[:1] + posts[3:]
    assert [(post.id, post.text) for post in quiet] == [("9", "Quietly"), ("10", "To one, heard by all")]
    assert [post.text for post in posts] == ["Hello #fish", "Yes", "And on", "This!", "https://x.example/users/heron/statuses/78"]
    assert [post.kind for post in posts] == [Kind.ORIGINAL, Kind.REPLY, Kind.REPLY, Kind.QUOTE, Kind.REPOST]
    assert [post.id for post in posts] == ["1", "4", "5", "6", "7"]
    assert [(post.reply_to, post.reply_to_self) for post in posts[1:3]] == [
        ("https://x.example/users/heron/statuses/77", False),
        ("4", True),
    ]
    assert posts[0].entities == (Entity(6, 11, "hashtag"),)
    assert [post.language for post in posts] == ["en", "en", "en", "", ""]
    assert (posts[0].author, posts[0].created_at, posts[0].source) == ("wren@birds.example", MARCH, "mastodon-archive")
    assert (content.author, content.display_name, content.bio) == ("wren@birds.example", "Wren", "Small bird.")
    assert (content.avatar, content.basis) == (b"a picture", "own-account")


def test_a_large_outbox_is_streamed(tmp_path):
    items = [note(number, f"<p>Post {number} {'x' * 2000}</p>") for number in range(1500)]
    assert len(outbox_posts(tmp_path, *items)) == 1500


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: {**files, "outbox.json": ""}, "is empty"),
        (lambda files: {**files, "outbox.json": '{"type": "OrderedCollection"}'}, "no list 'orderedItems'"),
        (lambda files: {**files, "outbox.json": files["outbox.json"][:700]}, "ends inside element"),
        (lambda files: {**files, "outbox.json": '{"orderedItems": [1 2]}'}, "neither `,` nor `]`"),
        (lambda files: {**files, "outbox.json": b'{"orderedItems": ["\xff"]}'}, "not UTF-8"),
        (lambda files: {**files, "actor.json": "{}"}, "does not name its account"),
        (lambda files: {**files, "actor.json": "[1"}, "actor.json"),
        (lambda files: {name: text for name, text in files.items() if name != "actor.json"}, "is not a Mastodon archive"),
        (lambda files: {"likes.json": "{}"}, "is not a Mastodon archive"),
    ],
)
def test_a_damaged_archive_of_mastodon_is_refused(tmp_path, spoil, words):
    def call():
        with opened(tmp_path, spoil(archive(note(1, "<p>Hello</p>")))) as found:
            read(open_outbox(found))

    assert words in re.sub(r"\s+", " ", refused(InputError, call))


def test_an_outbox_with_the_list_far_in_and_among_odd_spaces(tmp_path):
    files = archive()
    before = json.dumps({"@context": "x" * 200_000})[:-1]
    files["outbox.json"] = f'{before}, "orderedItems" \n:\t[ {json.dumps(note(1, "<p>Hello</p>"))} ] }}'
    with opened(tmp_path, files) as found:
        assert [post.text for post in read(open_outbox(found))] == ["Hello"]


AKKOMA = "https://birds.example/objects/00000000-aaaa-4bbb-8ccc-{:012}"


def kin(number, content, **fields):
    """A post as servers write it whose addresses of posts are not below those of their authors."""
    return note(number, content, id=AKKOMA.format(number), **fields)


def test_a_text_in_content_map_alone_is_read_with_its_language(tmp_path):
    maps = [
        {"en": "<p>Hello</p>"},
        {"de": "<p>Hallo</p>", "en": "<p>Hello</p>"},
        {"en": 5, "fr": "<p>Salut</p>"},
        {},
        ["<p>x</p>"],
        "x",
    ]
    items = [kin(number, None, contentMap=map_) for number, map_ in enumerate(maps)]
    items += [
        kin(10, "", contentMap={"en": "<p>Hello</p>"}),
        kin(11, "<p>Hallo</p>", contentMap={"de": "<p>Hallo</p>", "en": "<p>Hello</p>"}),
    ]
    posts = outbox_posts(tmp_path, *items)
    assert [(post.text, post.language) for post in posts] == [
        ("Hello", "en"), ("Hallo", "de"), ("Salut", "fr"), ("Hello", "en"), ("Hallo", "de"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "form",
    [
        AKKOMA,
        "https://birds.example/notes/9abcdef{}",
        "https://birds.example/p/wren/{}",
        "https://birds.example/users/wren/statuses/01HZ{:022}",
        "https://birds.example/display/0a1b2c3d-1111-4222-8333-{:012}",
        "https://birds.example/?p={}",
        "https://birds.example/2024/03/a-title-{}/",
        "https://birds.example/users/wren#posts/{}",
    ],
)
def test_a_thread_is_known_by_the_addresses_in_the_outbox(tmp_path, form):
    made = [note(number, f"<p>Part {number}</p>", id=form.format(number), inReplyTo=form.format(number - 1)) for number in (3, 2)]
    posts = outbox_posts(
        tmp_path, *made, note(1, "<p>Part 1</p>", id=form.format(1)), note(4, "<p>x</p>", inReplyTo="https://x.example/notes/1")
    )
    by_text = {post.text: post for post in posts}
    assert [by_text[f"Part {n}"].reply_to for n in (2, 3)] == [by_text[f"Part {n}"].id for n in (1, 2)]
    assert [by_text[text].reply_to_self for text in ("Part 1", "Part 2", "Part 3", "x")] == [False, True, True, False]
    assert len({post.id for post in posts}) == 4


def test_titles_of_one_name_are_two_posts(tmp_path):
    addresses = [f"https://birds.example/{year}/hello/" for year in (2020, 2021)]
    posts = outbox_posts(tmp_path, *(note(1, "<p>Hi</p>", id=address) for address in addresses))
    assert [post.id for post in posts] == ["birds.example/2020/hello", "birds.example/2021/hello"]


def test_an_item_that_is_wrong_costs_no_other_and_is_named(tmp_path, capsys):
    wrong = ["nothing", 5, None, {"type": "Create", "to": [PUBLIC], "object": "https://x.example/1"}, kin(7, ["a list"])]
    others = kin(8, "<p>Theirs</p>", attributedTo="https://x.example/users/heron")
    posts = outbox_posts(tmp_path, kin(1, "<p>Hello</p>"), *wrong, others, kin(2, "<p>World</p>"))
    assert [post.text for post in posts] == ["Hello", "World"]
    assert "skipped 6 posts (outbox.json, element 2 (character" in " ".join(capsys.readouterr().err.split())


def test_a_boost_of_a_whole_post_and_an_edited_post(tmp_path):
    whole = boost(7, kin(1, "<p>Hello</p>")["object"])
    edited = kin(2, "<p>Better</p>", updated="2024-03-01T12:00:00Z")
    posts = outbox_posts(tmp_path, whole, edited)
    assert [(post.text, post.kind, post.edited_at) for post in posts] == [
        (AKKOMA.format(1), Kind.REPOST, None),
        ("Better", Kind.ORIGINAL, MARCH),
    ]


def test_an_outbox_by_itself_is_an_account(tmp_path):
    path = tmp_path / "outbox.json"
    path.write_text(archive(kin(1, "<p>Hello</p>"))["outbox.json"])
    [provenance] = fetch([str(path)], tmp_path / "out")
    assert (provenance.author, provenance.posts, provenance.basis) == ("wren@birds.example", 1, "own-account")
