"""The fetch step, through its door and the files it writes."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from x_exports import NOON, as_folder, as_zip, export, manifest, note, old_export, old_tweet, part, quoting, tweet

from components.errors import InputError
from components.fetch import SOURCES_FILE, Provenance, fetch
from components.files import digest, write_lines
from components.posts import Kind, Post, read_posts, write_posts

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
SAMPLE = ROOT / "components" / "fetch" / "sample" / "groundling.zip"
FEBRUARY = datetime(2023, 2, 1, 12, tzinfo=UTC)


def posts_of(tmp_path: Path, *sources: str | Path, limit: int = 0) -> list[Post]:
    fetch([str(source) for source in sources], tmp_path / "out", limit, basis="permission")
    return list(read_posts(tmp_path / "out"))


def refusal(tmp_path: Path, *sources: str | Path, limit: int = 0) -> str:
    """The message of the InputError, once it is sure that nothing was left behind."""
    before = {item.name for item in tmp_path.iterdir()}
    with pytest.raises(InputError) as caught:
        fetch([str(source) for source in sources], tmp_path / "out", limit, basis="permission")
    assert {item.name for item in tmp_path.iterdir()} == before
    assert caught.value.fix, "an error says what to do"
    assert str(tmp_path) not in caught.value.problem or "source" in caught.value.problem
    assert len(str(caught.value)) < 700
    return str(caught.value)


def refused_export(tmp_path: Path, files: dict[str, str | bytes]) -> str:
    """The message for an export, the same for the zip and for the folder."""
    by_zip = refusal(tmp_path, as_zip(tmp_path / "mine.zip", files))
    by_folder = refusal(tmp_path, as_folder(tmp_path / "mine", files))
    assert by_zip.replace("mine.zip", "mine") == by_folder
    return by_folder


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
        assert [Provenance(**record) for record in written] == [provenance]
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


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "secret",
    [
        "data/direct-messages.js",
        "data/direct-messages-group.js",
        "data/direct-message-headers.js",
        "data/phone-number.js",
        "data/ip-audit.js",
        "data/deleted-tweets.js",
        "data/deleted-tweets-part1.js",
        "data/deleted-tweet-headers.js",
        "data/deleted-note-tweet.js",
        "data/twitter-circle-tweet.js",
        "data/twitter-circle-tweet-part1.js",
        "data/twitter-circle.js",
        "data/community-tweet.js",
        "data/tweets_media/1-a.mp4",
        "data/js/tweet_index.js",
    ],
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


# --- what is wrong with an export ---------------------------------------------------------------------------------------

GOOD = json.dumps(tweet(1, "Good"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["data/tweets.js", "empty"]),
        ("   \n", ["data/tweets.js, character 4", "list"]),
        ("window.YTD.tweets.part0 = ", ["data/tweets.js, character 26", "list"]),
        ("window.YTD.tweets.part0 = {}", ["data/tweets.js, character 26", "list"]),
        ("<html>", ["data/tweets.js, character 0", "list"]),
        (f"x = [{GOOD}", ["data/tweets.js", "element 1", f"character {5 + len(GOOD)}"]),
        (f"x = [{GOOD}, ", ["data/tweets.js", "element 2", "the file ends inside"]),
        (f"x = [{GOOD},]", ["data/tweets.js", "element 2", "not valid JSON"]),
        (f"x = [{GOOD} {GOOD}]", ["data/tweets.js", "element 1", f"character {6 + len(GOOD)}"]),
        (f"x = [{GOOD}] x", ["data/tweets.js", f"character {7 + len(GOOD)}", "follows the end"]),
        (f"x = [{GOOD}, {GOOD[:-20]}", ["data/tweets.js", "the file ends inside element 2"]),
        (
            f"x = [{GOOD}, {{'a': 1}}, {' ' * 40}]",
            ["data/tweets.js", f"character {8 + len(GOOD)}", "element 2 is not valid JSON"],
        ),
        ("x = [" + "[" * 100_000 + "]" * 100_000 + "]", ["data/tweets.js", "element 1", "nested too deeply"]),
        ('x = [{"a":' * 50_000, ["data/tweets.js", "element 1"]),
        ("x = [" + "9" * 5_000 + "]", ["data/tweets.js", "element 1", "4300 digits"]),
        ("x = [[1, 2]]", ["data/tweets.js, element 1 (character 5)", "a list", "an object"]),
        (f'x = [{GOOD}, {{"tweet": []}}]', [f"data/tweets.js, element 2 (character {7 + len(GOOD)})", "tweet is a list"]),
        (part([{"tweet": {}}]), ["data/tweets.js, element 1", "id_str is missing"]),
        (part([{"tweet": {"id_str": "1", "created_at": NOON}}]), ["element 1", "full_text is missing"]),
        (part([tweet(1, "x"), tweet(2, 7)]), ["element 2", "full_text is 7", "text"]),  # type: ignore[arg-type]
        (part([tweet(1, int("7" * 4000))]), ["element 1", "full_text is 7777", "should be text"]),  # type: ignore[arg-type]
        (part([tweet("1" * 40, "x")]), ["element 1", "id_str"]),
        (part([tweet("١٢", "x")]), ["element 1", "id_str"]),
        (part([tweet(1, "x", "yesterday")]), ["element 1", "created_at", "'yesterday'"]),
        (part([tweet(1, "x", "Wed Foo 01 12:00:00 +0000 2023")]), ["element 1", "created_at"]),
        (part([tweet(1, "x", "Wed Feb 31 12:00:00 +0000 2023")]), ["element 1", "created_at"]),
        (part([tweet(1, "x", "Sat Jan 01 00:00:00 +1400 0001")]), ["element 1", "created_at"]),
        (part([tweet(1, "x", None)]), ["element 1", "created_at is missing"]),  # type: ignore[arg-type]
        (part([tweet(1, "x", entities=[1])]), ["element 1", "entities is a list"]),
        (part([tweet(1, "x", entities={"urls": {"a": 1}})]), ["element 1", "entities.urls is an object"]),
        (part([tweet(1, "x", entities={"urls": ["u"]})]), ["element 1", "entities.urls is text"]),
        (part([tweet(1, "x", entities={"urls": [{"expanded_url": 5}]})]), ["element 1", "expanded_url is 5"]),
        (part([tweet(1, "x", lang=5)]), ["element 1", "lang is 5"]),
        (part([]), ["no posts"]),
    ],
)
def test_a_broken_part_is_refused_with_its_place(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refused_export(tmp_path, {"data/tweets.js": text})
    assert all(word in message for word in words), message


def test_an_element_over_4_mb_is_refused_and_one_below_is_read(tmp_path: Path) -> None:
    huge = as_zip(tmp_path / "huge.zip", {"data/tweets.js": part([tweet(1, "y" * 4_300_000)])})
    assert "element 1 is longer than 4194304 characters" in refusal(tmp_path, huge)
    open_quote = as_zip(tmp_path / "open.zip", {"data/tweets.js": 'x = ["' + "y" * 9_000_000})
    assert "element 1 is longer than 4194304 characters" in refusal(tmp_path, open_quote)
    below = json.dumps([tweet(1, "ü😀" * 1_000_000), tweet(2, "next")], ensure_ascii=False)
    large = as_folder(tmp_path / "large", {"data/tweets.js": below})
    assert [len(post.text) for post in posts_of(tmp_path, large)] == [2_000_000, 4]


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (1 << 21) + 3])
def test_a_character_and_a_position_across_chunks(tmp_path: Path, size: int) -> None:
    """The text is so long that a multi-byte character straddles the reader's chunks of 1 MiB."""
    start = json.dumps([tweet(1, "a" * 100)])[:-1] + ", "
    filler = " " * (size - len(start.encode()) - len('{"full_text": "')) + '{"full_text": "'
    whole = start + filler + '😀ü", "id_str": "2", "created_at": "' + NOON + '"}, '
    ended = as_zip(tmp_path / "a.zip", {"data/tweets.js": whole[:-2] + "]"})
    assert [post.text for post in posts_of(tmp_path, ended)][1:] == ["😀ü"]
    message = refusal(tmp_path, as_zip(tmp_path / "b.zip", {"data/tweets.js": whole + "oops" + " " * 30 + "]"}))
    assert f"character {len(whole)}: element 3 is not valid JSON" in message


@pytest.mark.parametrize("size", [100, (1 << 20) - 2, (1 << 20) - 1, 1 << 20, 3_000_000])
def test_invalid_utf_8_is_named_by_its_byte(tmp_path: Path, size: int) -> None:
    text = ("x = [" + " " * (size - 6) + "ü").encode()[:-1] + b"]"
    message = refused_export(tmp_path, {"data/tweets.js": text})
    assert f"data/tweets.js, byte {text.index(0xC3)}: is not UTF-8" in message
    truncated = refused_export(tmp_path / "", {"data/tweets.js": text[:-1]})
    assert f"byte {text.index(0xC3)}" in truncated


def test_numbers_at_a_chunks_edge_are_read_whole(tmp_path: Path) -> None:
    """A number that the window's end cuts looks like a shorter one."""
    head = '[{"id": "1", "full_text": "x", "created_at": "' + NOON + '"}, '
    text = head + " " * ((1 << 20) - len(head) - 2) + "12345]"
    message = refusal(tmp_path, as_zip(tmp_path / "a.zip", {"data/tweets.js": text}))
    assert "the element is 12345" in message


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("data/manifest.js", "window.__THAR_CONFIG = [1]", ["data/manifest.js", "the value is a list"]),
        ("data/manifest.js", 'x = {"dataTypes": []}', ["data/manifest.js", "dataTypes is a list"]),
        ("data/manifest.js", 'x = {"dataTypes": {"tweets": {"files": "tweets.js"}}}', ["data/manifest.js", "files is text"]),
        ("data/manifest.js", 'x = {"dataTypes": {"tweets": {"files": [{"count": "1"}]}}}', ["fileName is missing"]),
        ("data/manifest.js", 'x = {"dataTypes": ', ["data/manifest.js, character", "the file ends inside"]),
        ("data/manifest.js", 'x = {"userInfo": {"userName": 5}}', ["the handle is 5"]),
        ("data/manifest.js", manifest("data/tweets.js", "data/tweets-part1.js"), ["data/tweets-part1.js", "not there"]),
        ("data/account.js", "x = [[]]", ["data/account.js, element 1", "a list"]),
        ("data/account.js", 'x = [{"account": "wren"}]', ["data/account.js, element 1", "account is text"]),
        ("data/account.js", f"x = [{'{},' * 400_000}{{}}]", ["data/account.js", "1,200,008 bytes", "1,048,576 are read at most"]),
        ("data/profile.js", "", ["data/profile.js", "empty"]),
        ("data/profile.js", 'x = [{"profile": {"description": []}}', []),
        ("data/profile.js", 'x = [{"profile": {"description": {"bio": 5}}}]', ["data/profile.js", "the bio is 5"]),
        ("data/note-tweet.js", "x = [{}]", ["data/note-tweet.js, element 1", "noteTweet is missing"]),
        ("data/note-tweet.js", part([note("x", "noon")]), ["data/note-tweet.js, element 1", "createdAt 'noon'"]),
        ("data/note-tweet.js", part([{"noteTweet": {"createdAt": NOON, "core": 5}}]), ["element 1", "core is 5"]),
        ("data/note-tweet.js", part([note(None)]), ["element 1", "core.text is missing"]),  # type: ignore[arg-type]
    ],
)
def test_a_broken_companion_file_is_refused(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    files = export(tweet(1, "Fine")) | {name: text}
    if not words:
        assert "data/profile.js" in refused_export(tmp_path, files)
    else:
        message = refused_export(tmp_path, files)
        assert all(word in message for word in words), message


def test_companion_files_may_be_missing_or_bare(tmp_path: Path) -> None:
    bare = {"data/account.js": "x = []", "data/profile.js": 'x = [{"profile": {}}]', "data/tweets.js": part([tweet(1, "x")])}
    [provenance] = fetch([str(as_zip(tmp_path / "@My export (1).zip", bare))], tmp_path / "out")
    assert (provenance.author, provenance.display_name, provenance.bio) == ("My_export_1", "", "")


def test_lone_surrogates_are_replaced_since_utf_8_cannot_carry_them(tmp_path: Path) -> None:
    text = part([tweet(1, "half \ud83d and whole \ud83d\ude00", lang="\ud800")])
    files = {
        "data/tweets.js": text,
        "data/account.js": part([{"account": {"username": "a\udc00", "accountDisplayName": "\udc00"}}]),
    }
    [post] = posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))
    assert (post.text, post.language) == ("half \ufffd and whole 😀", "\ufffd")


def test_too_many_parts_are_refused(tmp_path: Path) -> None:
    files = {f"data/tweets-part{number}.js": "x = []" for number in range(1001)}
    assert "1001 parts" in refused_export(tmp_path, files)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"data/other.js": "x"}, "is not an X export"),
        ({"a/b/data/tweets.js": "x"}, "is not an X export"),
        ({"posts.jsonl": "{}"}, "posts.jsonl"),
        ({"one/data/tweets.js": "x", "two/data/tweets.js": "x"}, "several exports"),
        ({"data/manifest.js": "x = {}"}, "no tweets.js"),
    ],
)
def test_what_is_no_modern_export_is_refused(tmp_path: Path, files: dict[str, str | bytes], words: str) -> None:
    by_zip = refusal(tmp_path, as_zip(tmp_path / "mine.zip", files))
    assert "mine.zip" in by_zip
    assert words in by_zip


# --- unsafe and damaged archives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../evil.js", "data/../../evil.js", "/etc/passwd", "\\evil", "C:\\evil.js", "..\\evil", "data/.."]
)
def test_a_zip_with_a_member_outside_is_refused_by_name(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, as_zip(tmp_path / "a.zip", export(tweet(1, "x")) | {name: "evil"}))
    assert repr(name) in message


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "a.zip", {"data/tweets.js": part([tweet(1, "x")])})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    message = refusal(tmp_path, path)
    assert "data/tweets.js: is encrypted" in message
    assert "password" in message


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    bomb = as_zip(tmp_path / "a.zip", {"data/tweets.js": b"x = [" + b" " * (17 << 20) + b"]"})
    assert "data/tweets.js: looks like a zip bomb" in refusal(tmp_path, bomb)
    small = as_zip(
        tmp_path / "b.zip", {"data/tweets.js": b"x = [" + b" " * (15 << 20) + json.dumps(tweet(1, "x")).encode() + b"]"}
    )
    assert len(posts_of(tmp_path, small)) == 1


def test_a_bomb_in_a_member_that_is_not_read_does_no_harm(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "a.zip", export(tweet(1, "x")) | {"data/direct-messages.js": b" " * (17 << 20)})
    assert len(posts_of(tmp_path, path)) == 1


def test_more_than_8_gib_in_all_is_refused(tmp_path: Path) -> None:
    """The sizes are those that the zip's directory claims; nothing so large is written."""
    names = [f"data/tweets-part{number}.js" for number in range(5)]
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, "x = []")
        for info in packed.infolist():
            info.file_size, info.compress_size = 0x7F000000, 0x7F000000  # about 2 GiB each
    assert "8589934592 are read at most" in refusal(tmp_path, path)


def test_a_list_of_members_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    """Each of a million members of no size would become an object, however small the zip is; here they are a hole in a file."""
    path, size = tmp_path / "a.zip", 65 << 20
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_535, 65_535, size, 0, 0))
        file.seek(0)
        file.write(b"PK")
    assert "its directory has 68,157,440 bytes" in refusal(tmp_path, path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as packed:
        packed.writestr("data/tweets.js", part([tweet(1, "x")]))
    assert f"data/tweets.js: is compressed by method {method}" in refusal(tmp_path, tmp_path / "a.zip")


def test_a_bad_checksum_a_cut_and_foreign_bytes_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as packed:
        packed.writestr("data/tweets.js", part([tweet(1, "Fine words")]))
    data = whole.read_bytes()
    for name, content, words in (
        ("crc.zip", data.replace(b"Fine words", b"Fine wards"), ["crc.zip, data/tweets.js", "CRC"]),
        ("cut.zip", data[:-30], ["cut.zip", "cut short or damaged"]),
        ("half.zip", data[: len(data) // 2], ["half.zip", "cut short or damaged"]),
        ("empty.zip", b"", ["empty.zip", "empty"]),
        ("text.zip", b"Hello, I am a text", ["text.zip", "not a zip"]),
        ("pdf.pdf", b"%PDF-1.4", ["pdf.pdf", "not a zip", ".csv"]),
    ):
        (tmp_path / name).write_bytes(content)
        message = refusal(tmp_path, tmp_path / name)
        assert all(word in message for word in words), message
        assert len(message.splitlines()) == 2


@pytest.mark.parametrize("linked", ["data/tweets.js", "data"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, linked: str) -> None:
    as_folder(tmp_path / "outside", {"data/tweets.js": part([tweet(1, "secret")])})
    inside = tmp_path / "inside" / linked
    inside.parent.mkdir(parents=True)
    inside.symlink_to(tmp_path / "outside" / linked)
    message = refusal(tmp_path, tmp_path / "inside")
    assert "data/tweets.js: is a link that leaves the folder" in message


def test_a_link_to_itself_is_refused_without_the_machines_path(tmp_path: Path) -> None:
    (tmp_path / "a" / "data").mkdir(parents=True)
    (tmp_path / "a" / "data" / "tweets.js").symlink_to("tweets.js")
    assert "a, data/tweets.js: is a link to itself" in refusal(tmp_path, tmp_path / "a")


def test_a_link_within_the_folder_and_a_link_to_the_source_are_followed(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / "real", {"store/t.js": part([tweet(1, "x")])})
    (folder / "data").mkdir()
    (folder / "data" / "tweets.js").symlink_to("../store/t.js")
    (tmp_path / "link").symlink_to(folder)
    [provenance] = fetch([str(tmp_path / "link")], tmp_path / "out")
    assert (provenance.source, provenance.author, provenance.posts) == ("archive:link", "link", 1)


def test_the_folder_that_one_stands_in_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(as_folder(tmp_path / "mine", export(tweet(1, "x"))))
    assert [item.source for item in fetch(["."], tmp_path / "out")] == ["archive:mine"]


def test_a_pipe_in_place_of_a_part_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a" / "data").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / "data" / "tweets.js")
    assert "data/tweets.js: is not a plain file" in refusal(tmp_path, tmp_path / "a")


# --- tables -------------------------------------------------------------------------------------------------------------


def test_the_columns_of_xs_own_csv(tmp_path: Path) -> None:
    (tmp_path / "Old Tweets.csv").write_text(
        '"tweet_id","in_reply_to_status_id","in_reply_to_user_id","timestamp","source","text","retweeted_status_id","expanded_urls"\n'
        '"5","","","2017-01-01 21:48:41 +0000","web","Two\nlines, ""quoted""","",""\n'
        '"4","1","2","2017-01-01 20:00:00 +0200","web","@b yes","",""\n'
        '"3","","","2017-01-01 17:00:00 -0100","web","Shared","9",""\n'
        '"2","","","","web","RT @b: by hand","",""\n'
        '"1","","","nonsense","web","See","","https://twitter.com/b/status/8"\n',
    )
    posts = posts_of(tmp_path, tmp_path / "Old Tweets.csv")
    assert [(post.id, post.kind) for post in posts] == [
        ("5", Kind.ORIGINAL),
        ("4", Kind.REPLY),
        ("3", Kind.REPOST),
        ("2", Kind.REPOST),
        ("1", Kind.QUOTE),
    ]
    assert posts[0] == Post(
        "5", "Old_Tweets", 'Two\nlines, "quoted"', datetime(2017, 1, 1, 21, 48, 41, tzinfo=UTC), source="tweets-csv", client="web"
    )
    assert [post.created_at.hour if post.created_at else None for post in posts] == [21, 18, 18, None, None]


def test_any_csv_with_a_text_column(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(
        "\ufeffDate , USERNAME,Text,Lang,Kind\r\n"
        "2020-05-01,@Ana B,Hällo,de,\r\n\r\n"
        'sometime,,"a, b",,reply\r\n'
        "2020-05-01T10:00:00Z,ana,RT @x: y,en,\r\n".encode()
    )
    [provenance] = fetch([str(path)], tmp_path / "out", basis="permission")
    assert list(read_posts(tmp_path / "out")) == [
        Post("row-1", "Ana_B", "Hällo", datetime(2020, 5, 1, tzinfo=UTC), Kind.ORIGINAL, "de", "csv"),
        Post("row-2", "notes", "a, b", None, Kind.REPLY, "", "csv"),
        Post("row-3", "ana", "RT @x: y", datetime(2020, 5, 1, 10, tzinfo=UTC), Kind.REPOST, "en", "csv"),
    ]
    assert (provenance.source, provenance.kind, provenance.basis) == ("csv:notes.csv", "csv", "permission")
    assert provenance.author == "Ana_B, notes, ana"


def test_jsonl_with_text_alone_and_with_every_field(tmp_path: Path) -> None:
    path = tmp_path / "posts.ndjson"
    lines = [
        {"text": "alone"},
        {"id": 7, "text": "x", "username": "u", "date": "2020-05-01", "lang": "en", "source": "Web App", "kind": "quote"},
    ]
    path.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert posts_of(tmp_path, path) == [
        Post("row-1", "posts", "alone", None, Kind.ORIGINAL, "", "jsonl"),
        Post("7", "u", "x", datetime(2020, 5, 1, tzinfo=UTC), Kind.QUOTE, "en", "jsonl", client="Web App"),
    ]


def test_posts_that_mynah_wrote_come_back_as_they_were(tmp_path: Path) -> None:
    posts_of(tmp_path, "sample")
    first = (tmp_path / "out" / "posts.jsonl").read_bytes()
    (tmp_path / "out").rename(tmp_path / "before")
    fetch([str(tmp_path / "before" / "posts.jsonl")], tmp_path / "out", basis="own-account")
    assert (tmp_path / "out" / "posts.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", ["a.csv", "empty"]),
        ("a.csv", b"id,body,when\n1,x,y\n", ["a.csv", "no column `text`", "id, body, when"]),
        ("a.csv", b"id;text\n1;x\n", ["no column `text`", "id;text", "commas"]),
        ("a.csv", b"text,text\nx,y\n", ["a.csv, line 1", "two columns 'text'"]),
        ("a.csv", b"text\n", ["no posts"]),
        ("a.csv", b"id,text\n1,a\n2,b\n3,a,b\n", ["a.csv, line 4", "3 fields"]),
        ("a.csv", b"id,text\n1,a\n2\n", ["a.csv, line 3", "text"]),
        ("a.csv", b"text\nok\na\0b\n", ["a.csv, line 3, byte 9", "NUL"]),
        ("a.csv", b"text\nok\n\xff\xfe\n", ["a.csv, line 3, byte 8", "not UTF-8"]),
        ("a.csv", "text\nok\n".encode("utf-16"), ["a.csv, line 1, byte 0", "UTF-8"]),
        ("a.csv", b"text\nok\n" + b"y" * 200_000 + b"\n", ["a.csv, line 3", "field larger"]),
        ("a.csv", b"text\n" + b"y" * 5_000_000 + b"\n", ["a.csv, line 2", "longer than"]),
        ("a.csv", b'text\nok\n"open\nquote\n', ["a.csv, line 4", "not valid CSV", "quote"]),
        ("a.csv", b'text\n"a"b\n', ["a.csv, line 2", "not valid CSV"]),
        ("a.csv", b"text,kind\nok,tweet\n", ["a.csv, line 2", "'tweet'", "original, reply, quote, repost"]),
        ("a.csv", b"text,id\nok," + b"1" * 5000 + b"\n", ["a.csv, line 2", "5000 characters"]),
        ("a.jsonl", b"", ["no posts"]),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', ["a.jsonl, line 2", "not valid JSON"]),
        ("a.jsonl", b'{"text": "x"}\n\n["x"]\n', ["a.jsonl, line 3", "a list"]),
        ("a.jsonl", b'{"body": "x"}\n', ["a.jsonl, line 1", "text is missing"]),
        ("a.jsonl", b'{"text": ["x"]}\n', ["a.jsonl, line 1", "text is a list"]),
        ("a.jsonl", b'{"text": "x", "id": [1]}\n', ["a.jsonl, line 1", "id is a list"]),
        ("a.jsonl", b'{"text": "x", "author": {}}\n', ["a.jsonl, line 1", "author is an object"]),
        ("a.jsonl", b'{"text": "x", "kind": 5}\n', ["a.jsonl, line 1", "kind is 5"]),
        ("a.jsonl", b'{"text": "x", "lang": 5}\n', ["a.jsonl, line 1", "language is 5"]),
        ("a.jsonl", b'{"text": "x", "n": ' + b"[" * 100_000 + b"\n", ["a.jsonl, line 1", "nested too deeply"]),
        ("a.jsonl", b'{"text": "x", "n": ' + b"9" * 5000 + b"}\n", ["a.jsonl, line 1", "digits"]),
        ("a.jsonl", b'{"text": "ok"}\n{"text": "\xc3"}\n', ["a.jsonl, line 2, byte 25", "not UTF-8"]),
        ("a.jsonl", b'{"text": "' + b"y" * 5_000_000 + b'"}\n', ["a.jsonl, line 1", "longer than"]),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path, tmp_path / name)
    assert all(word in message for word in words), message


# --- sources, limit, output ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("X://someone", "no source X://"),
        ("https://user:secret@host", "no source https://"),
        ("ftp://host/file.csv", "no source ftp://"),
        ("archive://a.zip", "no source archive://"),
        ("tweets:abc", "no source tweets:"),
        ("archive:", "does not exist"),
        ("", "does not exist"),
        ("missing.zip", "'missing.zip' does not exist"),
        ("archive:missing.zip", "does not exist"),
        ("a\0b", "does not exist"),
        ("y" * 5000, "cannot be opened"),
        ("/dev/null", "neither a file nor a folder"),
    ],
)
def test_unknown_and_missing_sources_say_which_there_are(tmp_path: Path, source: str, words: str) -> None:
    message = refusal(tmp_path, source)
    assert words in message
    assert "Sources now: archive:EXPORT.zip" in message


def test_no_source_a_negative_limit_and_the_same_source_twice_are_refused(tmp_path: Path) -> None:
    assert "no source given" in refusal(tmp_path)
    assert "-1" in refusal(tmp_path, "sample", limit=-1)
    path = as_zip(tmp_path / "a.zip", export(tweet(1, "x")))
    (tmp_path / "link.zip").symlink_to(path)
    assert "given twice" in refusal(tmp_path, path, f"archive:{path}")
    assert "given twice" in refusal(tmp_path, path, tmp_path / "link.zip")
    assert "given twice" in refusal(tmp_path, "sample", SAMPLE)


def test_several_sources_of_one_author_are_joined_in_order(tmp_path: Path) -> None:
    one = as_zip(tmp_path / "one.zip", export(tweet(1, "x")))
    two = as_zip(tmp_path / "two.zip", export(tweet(2, "y")))
    assert [post.id for post in posts_of(tmp_path, two, one)] == ["2", "1"]
    assert [record["source"] for record in json.loads((tmp_path / "out" / SOURCES_FILE).read_text())] == [
        "archive:two.zip",
        "archive:one.zip",
    ]


def test_one_empty_source_beside_a_full_one_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = as_zip(tmp_path / "empty.zip", export())
    assert len(posts_of(tmp_path, empty, as_zip(tmp_path / "full.zip", export(tweet(1, "x"))))) == 1
    assert "warning: archive:empty.zip holds no posts" in capsys.readouterr().err


def test_an_error_in_the_second_source_leaves_an_earlier_output_as_it_was(tmp_path: Path) -> None:
    posts_of(tmp_path, "sample")
    before = digest(tmp_path / "out")
    bad = as_zip(tmp_path / "bad.zip", {"data/tweets.js": "x = [1]"})
    refusal(tmp_path, "sample", bad)
    assert digest(tmp_path / "out") == before


def test_the_limit_keeps_the_newest_of_each_source(tmp_path: Path) -> None:
    one = as_zip(tmp_path / "one.zip", export(*(tweet(number, str(number)) for number in (9, 30, 2, 100))))
    (tmp_path / "two.csv").write_text("text\na\nb\nc\n")
    assert [post.text for post in posts_of(tmp_path, one, tmp_path / "two.csv", limit=2)] == ["30", "100", "b", "c"]
    provenance = json.loads((tmp_path / "out" / SOURCES_FILE).read_text())
    assert [record["posts"] for record in provenance] == [2, 2]


def test_without_ids_the_newest_are_told_by_their_time(tmp_path: Path) -> None:
    rows = "text,created_at\nnewest,2024-05-03\nmiddle,2024-05-02\noldest,2024-05-01\n"
    (tmp_path / "none.csv").write_text(rows)
    assert [post.text for post in posts_of(tmp_path, tmp_path / "none.csv", limit=2)] == ["newest", "middle"]
    some = "id,text,created_at\n,newest,2024-05-03\n7,middle,2024-05-02\n8,oldest,2024-05-01\n"
    (tmp_path / "some.csv").write_text(some)
    assert [post.text for post in posts_of(tmp_path, tmp_path / "some.csv", limit=1)] == ["newest"]


def test_the_limit_of_a_long_export_is_exact(tmp_path: Path) -> None:
    """More posts than are held at once, in an order that is not that of time."""
    ids = [number * 7919 % 120_011 for number in range(1, 120_001)]
    text = "x = [" + ",".join(f'{{"id":"{number}","text":"t","created_at":"{NOON}"}}' for number in ids) + "]"
    path = as_folder(tmp_path / "long", {"data/tweets.js": text})
    kept = [int(post.id) for post in posts_of(tmp_path, path, limit=100)]
    newest = set(sorted(ids)[-100:])
    assert kept == [number for number in ids if number in newest]


def test_the_shares_of_the_step_are_light() -> None:
    """A pod that only fetches carries neither torch nor the pipeline's own libraries."""
    code = "import sys, components.fetch; print(sorted({'torch','transformers','mlflow','kfp','pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_large_export_is_read_in_little_memory(tmp_path: Path) -> None:
    """150 MB of posts: the highest resident size of a process that fetches them stays under 300 MB."""
    long_words = "It was the nightingale, and not the lark, that pierced the fearful hollow of thine ear. " * 20
    block = (",\n" + ",\n".join(json.dumps(tweet(10**18 + n, f"{n} {long_words}", lang="en")) for n in range(1000))).encode()
    (tmp_path / "big" / "data").mkdir(parents=True)
    with (tmp_path / "big" / "data" / "tweets.js").open("wb") as file:
        file.write(b"window.YTD.tweets.part0 = [" + block[2:])
        while file.tell() < 150_000_000:
            file.write(block)
        file.write(b"]")
    code = (
        "import resource, sys; from pathlib import Path; from components.fetch import fetch; "
        "[p] = fetch([sys.argv[1]], Path(sys.argv[2])); "
        "peak = [int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')] "
        "if sys.platform == 'linux' else [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]; "
        "print(p.posts, peak[0] // 1024)"  # on Linux ru_maxrss is inherited from whoever started the process
    )
    command = [sys.executable, "-c", code, str(tmp_path / "big"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    posts, megabytes = map(int, done.stdout.split())
    assert posts > 70_000
    assert megabytes < 300
    assert "reading archive:big" in done.stderr, "a long read shows how far it is"


# --- the sample and real data -------------------------------------------------------------------------------------------


def test_the_sample_holds_every_shape_of_post(tmp_path: Path) -> None:
    [provenance] = fetch(["sample"], tmp_path / "out")
    posts = list(read_posts(tmp_path / "out"))
    assert (provenance.source, provenance.author, provenance.display_name) == (
        "archive:groundling.zip",
        "wren_groundling",
        "Wren Groundling",
    )
    assert "made-up" in provenance.bio
    assert provenance.posts == len(posts) >= 1600
    kinds = Counter(post.kind for post in posts)
    assert kinds[Kind.ORIGINAL] > 1300
    assert min(kinds[kind] for kind in Kind) >= 25
    texts = [post.text for post in posts]
    for mark in ("&amp;", "&lt;", "&gt;", "https://t.co/", "#", "🎭", "Ay!"):
        assert any(mark in text for text in texts), mark
    assert len(set(texts)) < len(texts) - 50
    long_posts = [text for text in texts if len(text) > 300]
    assert len(long_posts) == 3, "whole, out of note-tweet.js"
    assert not any(text.endswith("…") for text in long_posts)
    assert not any("decoy" in text.lower() for text in texts)
    assert SAMPLE.stat().st_size < 400_000


def test_the_script_makes_the_sample_again(tmp_path: Path) -> None:
    words = SHARED / "data" / "public-domain-text"
    if not words.exists():
        pytest.skip("../shared/data/public-domain-text is absent")
    for name in ("one.zip", "two.zip"):
        command = [sys.executable, "-m", "scripts.make_sample_export", "--text", str(words), "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()

    def members(path: Path) -> list[tuple[str, tuple[int, ...], bytes]]:  # another zlib may pack the same text otherwise
        with zipfile.ZipFile(path) as packed:
            return [(info.filename, info.date_time, packed.read(info)) for info in packed.infolist()]

    assert members(tmp_path / "one.zip") == members(SAMPLE)


def test_a_real_authors_csv_is_counted_to_the_digit(tmp_path: Path) -> None:
    path = SHARED / "data" / "tweets" / "julia.csv"
    if not path.exists():
        pytest.skip("../shared/data/tweets/julia.csv is absent")
    [provenance] = fetch([str(path)], tmp_path / "out", basis="public-figure-research")
    posts = list(read_posts(tmp_path / "out"))
    assert (provenance.kind, provenance.posts, len(posts)) == ("tweets-csv", 13_091, 13_091)
    assert sum(post.kind is Kind.REPOST for post in posts) == 1_036
    assert all(post.created_at for post in posts)
    assert provenance.last == "2017-01-01T21:48:41+00:00"


def test_writers_and_readers_of_posts_agree(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    posts = [Post("1", "ana", "line\nbreak \u2028 and \r", FEBRUARY, Kind.QUOTE, "en", "x-export"), Post("x", "ana", "")]
    write_posts(tmp_path / "a", posts)
    assert posts_of(tmp_path, tmp_path / "a" / "posts.jsonl") == posts
    write_lines(tmp_path / "extra.jsonl", [posts[0].to_record() | {"more": 1}])
    assert posts_of(tmp_path, tmp_path / "extra.jsonl")[0].source == "jsonl"
