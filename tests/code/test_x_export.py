"""The export of X: its parts, manifest and long texts, and the posts and provenance made of them."""

import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fetch_inputs import FEBRUARY, posts_of, refused_export
from x_exports import NOON, as_folder, as_zip, export, manifest, note, old_export, old_tweet, part, quoting, tweet

from components.fetch.step import fetch
from mynah.core.files import digest
from mynah.data.posts import Kind, Post, read_posts
from mynah.data.source_records import SOURCES_FILE, SourceRecord

# --- the X export -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "twitter-2024-01-01/"])
def test_zip_and_folder_give_the_same_posts_and_provenance(tmp_path: Path, top: str) -> None:
    files = export(tweet(2, "Second &amp; &lt;last&gt; https://t.co/x"), tweet(1, "First", "Tue Jan 31 12:00:00 +0000 2023"))
    packed = as_zip(tmp_path / "mine.zip", files, top)
    folder = as_folder(tmp_path / "mine", files, top)
    expected = [
        Post("2", "wren", "Second &amp; &lt;last&gt; https://t.co/x", FEBRUARY, Kind.ORIGINAL, "en", "x-export"),
        Post("1", "wren", "First", FEBRUARY - timedelta(days=1), Kind.ORIGINAL, "en", "x-export"),
    ]
    for source in (f"archive:{packed}", str(packed), f"archive:{folder}", str(folder)):
        [provenance] = fetch([source], tmp_path / "out")
        assert list(read_posts(tmp_path / "out")) == expected
        written = json.loads((tmp_path / "out" / SOURCES_FILE).read_text())
        assert [SourceRecord(**record) for record in written] == [provenance]
        path = Path(source.removeprefix("archive:"))
        assert provenance.source == f"archive:{path.name}"
        assert provenance.sha256 == digest(path)
        assert (provenance.kind, provenance.basis) == ("x-export", "own-account")
        assert (provenance.author, provenance.display_name, provenance.bio) == ("wren", "Wren & Co", "Small bird.")
        assert (provenance.posts, provenance.first, provenance.last) == (
            2,
            "2023-01-31T12:00:00+00:00",
            "2023-02-01T12:00:00+00:00",
        )
        assert datetime.fromisoformat(provenance.fetched_at).utcoffset() == timedelta(0)
        assert str(tmp_path) not in (tmp_path / "out" / SOURCES_FILE).read_text()


@pytest.mark.parametrize(
    ("text", "more", "kind"),
    [
        ("Hello there", {}, Kind.ORIGINAL),
        ("RT @other: Hello", {"in_reply_to_status_id_str": "5"}, Kind.REPOST),
        ("rt @other is no mark", {}, Kind.ORIGINAL),
        ("@other yes", {"in_reply_to_status_id_str": "5"}, Kind.REPLY),
        ("@other yes", {"in_reply_to_user_id": "5"}, Kind.REPLY),
        ("@other no", {"in_reply_to_status_id": None, "in_reply_to_user_id": ""}, Kind.ORIGINAL),
        ("See t.co", quoting("https://twitter.com/other/status/123"), Kind.QUOTE),
        ("See t.co", quoting("https://x.com/other/status/123?s=20"), Kind.QUOTE),
        ("See t.co", quoting("https://x.com/other/status/123/photo/1"), Kind.ORIGINAL),
        ("See t.co", quoting("https://notx.com/other/status/123"), Kind.ORIGINAL),
        ("See t.co", quoting("https://example.com/?u=https://x.com/other/status/123"), Kind.ORIGINAL),
        ("@other", quoting("https://x.com/other/status/123") | {"in_reply_to_user_id_str": "5"}, Kind.REPLY),
    ],
)
def test_kinds_of_tweets(tmp_path: Path, text: str, more: dict[str, object], kind: Kind) -> None:
    [post] = posts_of(tmp_path, as_zip(tmp_path / "a.zip", export(tweet(1, text, **more))))
    assert (post.kind, post.text) == (kind, text)


@pytest.mark.parametrize(
    "names",
    [
        ("data/tweets.js", "data/tweets-part1.js", "data/tweets-part2.js", "data/tweets-part10.js"),
        ("data/tweet.js",),
        ("tweets.js", "tweets-part1.js"),  # the data folder itself
        ("old/data/tweet.js", "old/data/tweet-part1.js"),
    ],
)
def test_parts_are_found_without_a_manifest_and_read_in_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = {name: part([tweet(number, name)], number) for number, name in reversed(list(enumerate(names)))}
    for path in (as_zip(tmp_path / "a.zip", files), as_folder(tmp_path / "a", files)):
        posts = posts_of(tmp_path, path)
        assert [post.text for post in posts] == list(names)
        assert posts[0].author == "a"


@pytest.mark.parametrize(
    "text",
    ["window.__THAR_CONFIG = {}", 'window.__THAR_CONFIG = {"dataTypes": {}};', manifest(), '{"dataTypes": {"tweets": {}}}'],
)
def test_a_manifest_that_lists_no_part_falls_back_to_the_names(tmp_path: Path, text: str) -> None:
    files = export(tweet(1, "Here")) | {"data/manifest.js": text, "data/tweets-part1.js": part([tweet(2, "And here")], 1)}
    posts = posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))
    assert [post.text for post in posts] == ["Here", "And here"]
    assert posts[0].author == "wren"


def test_the_manifest_decides_which_parts_are_read(tmp_path: Path) -> None:
    listed = manifest("data/tweets-part1.js", "data/tweets.js", "data/tweets.js")
    files = export(tweet(1, "one")) | {"data/manifest.js": listed, "data/tweets-part1.js": part([tweet(2, "two")], 1)}
    files["data/tweets-part9.js"] = "never opened"
    assert [post.text for post in posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))] == ["two", "one"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([tweet(1, "Bare")["tweet"]]),  # neither assignment nor wrapper
        "\ufeff  window.YTD.tweet.part0=" + json.dumps([{**tweet(1, "Bare")["tweet"], "id_str": 1}]) + " ;\n",
        "window.YTD.tweets.part0 = " + json.dumps([{"id": "1", "text": "Bare", "created_at": NOON}]),
    ],
)
def test_older_and_edited_forms_of_a_part(tmp_path: Path, text: str) -> None:
    [post] = posts_of(tmp_path, as_zip(tmp_path / "a.zip", {"data/tweets.js": text}))
    assert (post.id, post.text, post.created_at) == ("1", "Bare", FEBRUARY)


SECRETS = [
    "data/direct-messages.js",
    "data/direct-messages-group.js",
    "data/direct-message-headers.js",
    "data/phone-number.js",
    "data/ip-audit.js",
    "data/deleted-tweets.js",
    "data/deleted-tweets-part1.js",
    "data/deleted-tweet-headers.js",
    "data/deleted-note-tweet.js",
    "data/twitter-circle.js",
    "data/community-tweet.js",
    "data/tweets_media/1-a.mp4",
    "data/js/tweet_index.js",
]
CIRCLE = (
    "data/twitter-circle-tweet.js",
    "data/twitter-circle-tweet-part1.js",
)  # read since exports have circles, to leave their posts out


@pytest.mark.parametrize(
    ("secret", "old"), [*((secret, False) for secret in SECRETS), *((secret, True) for secret in (*SECRETS, *CIRCLE))]
)
def test_other_members_are_never_read(tmp_path: Path, secret: str, old: bool) -> None:
    """The secret member's bytes are damaged in the zip: opening it would fail by its checksum."""
    marker = b"SECRET MEMBER THAT NO STEP MAY OPEN"
    files = old_export(old_tweet(1, "Open")) if old else export(tweet(1, "Open"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name, text in (files | {secret: marker.decode()}).items():
            packed.writestr(name, text)
    damaged = (tmp_path / "a.zip").read_bytes().replace(marker, marker.lower())
    (tmp_path / "a.zip").write_bytes(damaged)
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert packed.testzip() == secret
    assert [post.text for post in posts_of(tmp_path, tmp_path / "a.zip")] == ["Open"]
    assert not any(marker.lower() in item.read_bytes() for item in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "listed", ["data/direct-messages.js", "../../etc/passwd", "/etc/passwd", "data/../tweets.js", "data/js/tweets.js"]
)
def test_a_manifest_cannot_name_other_members(tmp_path: Path, listed: str) -> None:
    files = export(tweet(1, "x")) | {"data/manifest.js": manifest(listed), "data/direct-messages.js": part([tweet(2, "secret")])}
    message = refused_export(tmp_path, files)
    assert "data/manifest.js" in message
    assert listed in message


# --- long texts ---------------------------------------------------------------------------------------------------------

LONG = "A long thought, begun & finished on one bench, about the pit and the boxes, " * 6 + "which now ends."


def cut(text: str, at: int = 200) -> str:
    return text[:at].replace("&", "&amp;") + "… https://t.co/AbCdEf"


def test_a_long_text_replaces_its_cut_beginning_by_time_and_not_by_id(tmp_path: Path) -> None:
    files = export(tweet(77, "Another"), tweet(5, cut(LONG)), notes=[note(LONG)])
    assert [post.text for post in posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))] == ["Another", LONG]


@pytest.mark.parametrize(
    ("stamp", "joined"), [("11:59:58.000Z", True), ("12:00:02.000Z", True), ("12:00:02.001Z", False), ("11:59:57.000Z", False)]
)
def test_a_note_joins_within_two_seconds(tmp_path: Path, stamp: str, joined: bool) -> None:
    files = export(tweet(5, cut(LONG)), notes=[note(LONG, f"2023-02-01T{stamp}")])
    [post] = posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))
    assert post.text == (LONG if joined else cut(LONG))


def test_a_thread_posted_within_a_second_gets_each_its_own_text(tmp_path: Path) -> None:
    other = "Quite another " * 30
    reply = {"in_reply_to_status_id_str": "5"}
    files = export(
        tweet(5, cut(LONG)),
        tweet(6, "@friend " + cut(other), **reply),
        tweet(7, "A short one beside them", **reply),
        tweet(8, "RT @friend: " + cut(other, 120)),
        tweet(9, "Trailing off…"),
        notes=[note(other), note(LONG, "2023-02-01T12:00:00.000Z")],
    )
    texts = [post.text for post in posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))]
    assert texts == [LONG, other, "A short one beside them", "RT @friend: " + cut(other, 120), "Trailing off…"]


def test_a_single_near_note_whose_beginning_differs_joins_only_a_tweet_that_x_cut(tmp_path: Path) -> None:
    files = export(tweet(5, "Begun otherwise… https://t.co/AbC"), tweet(6, "Begun otherwise"), notes=[note(LONG)])
    assert [post.text for post in posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))] == [LONG, "Begun otherwise"]
