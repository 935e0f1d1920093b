"""An export of X that is broken: refused with the place, and nothing is left behind."""

import json
from pathlib import Path

import pytest
from fetch_inputs import posts_of, refusal, refused_export
from x_exports import NOON, as_folder, as_zip, export, manifest, note, part, tweet

from components.fetch.step import fetch

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
        (f"x = [{GOOD}] x", ["data/tweets.js", f"character {7 + len(GOOD)}", "after the end"]),
        (f"x = [{GOOD}, {GOOD[:-20]}", ["data/tweets.js", "the file ends inside element 2"]),
        (
            f"x = [{GOOD}, {{'a': 1}}, {' ' * 40}]",
            ["data/tweets.js", f"character {8 + len(GOOD)}", "element 2 is not valid JSON"],
        ),
        ("x = [" + "[" * 100_000 + "]" * 100_000 + "]", ["data/tweets.js", "element 1", "nested too deeply"]),
        ('x = [{"a":' * 50_000, ["data/tweets.js", "element 1"]),
        ("x = [" + "9" * 5_000 + "]", ["data/tweets.js", "element 1", "4300 digits"]),
        ("x = [[1, 2]]", ["data/tweets.js, element 1 (character 5)", "a list", "an object"]),
        ('x = [{"tweet": []}]', ["data/tweets.js, element 1 (character 5)", "tweet is a list"]),
        (part([{"tweet": {}}]), ["data/tweets.js, element 1", "id_str is missing"]),
        (part([{"tweet": {"id_str": "1", "created_at": NOON}}]), ["element 1", "full_text is missing"]),
        (part([tweet(2, 7)]), ["element 1", "full_text is 7", "text"]),  # type: ignore[arg-type]
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


def test_numbers_at_a_chunks_edge_are_read_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A number that the window's end cuts looks like a shorter one."""
    head = '[{"id": "1", "full_text": "x", "created_at": "' + NOON + '"}, '
    text = head + " " * ((1 << 20) - len(head) - 2) + "12345]"
    assert len(posts_of(tmp_path, as_zip(tmp_path / "a.zip", {"data/tweets.js": text}))) == 1
    assert "the element is 12345" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("data/manifest.js", "window.__THAR_CONFIG = [1]", ["data/manifest.js", "the value is a list"]),
        ("data/manifest.js", 'x = {"dataTypes": []}', ["data/manifest.js", "dataTypes is a list"]),
        ("data/manifest.js", 'x = {"dataTypes": {"tweets": {"files": "tweets.js"}}}', ["data/manifest.js", "files is text"]),
        ("data/manifest.js", 'x = {"dataTypes": {"tweets": {"files": [{"count": "1"}]}}}', ["fileName is missing"]),
        ("data/manifest.js", 'x = {"dataTypes": ', ["data/manifest.js, character", "the file ends inside"]),
        ("data/manifest.js", 'x = {"userInfo": {"userName": 5}}', ["the handle is 5"]),
        ("data/manifest.js", manifest("data/tweets.js", "data/tweets-part1.js"), ["data/tweets-part1.js", "does not exist"]),
        ("data/account.js", "x = [[]]", ["data/account.js, element 1", "a list"]),
        ("data/account.js", 'x = [{"account": "wren"}]', ["data/account.js, element 1", "account is text"]),
        ("data/account.js", f"x = [{'{},' * 400_000}{{}}]", ["data/account.js", "1,200,008 bytes", "the limit is 1,048,576"]),
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
        ({"a/b/notdata/tweets.js": "x"}, "is not an X export"),
        ({"posts.jsonl": "{}"}, "posts.jsonl"),
        ({"one/data/tweets.js": "x", "two/data/tweets.js": "x"}, "several exports"),
        ({"data/manifest.js": "x = {}"}, "no tweets.js"),
    ],
)
def test_what_is_no_modern_export_is_refused(tmp_path: Path, files: dict[str, str | bytes], words: str) -> None:
    by_zip = refusal(tmp_path, as_zip(tmp_path / "mine.zip", files))
    assert "mine.zip" in by_zip
    assert words in by_zip
