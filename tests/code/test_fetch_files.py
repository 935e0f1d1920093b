"""Tables that are wrong are refused with what mends them, and files that Mynah wrote come back whole."""

import json
import time
from pathlib import Path

import pytest

from components.fetch.step import fetch
from mynah.data.posts import Entity, Kind, Post, read_posts, write_posts
from tests.code.fetched_files import MAY, posts_of, refusal

# --- CSV ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words", "fix"),
    [
        (b"\n\r\n\n", "a.csv: has only empty lines", "Name a file with posts"),
        (b"id,text\r1,hello\r", "a.csv, line 1: is not valid CSV", "LF or CRLF"),
        (b"text\n" + b"x" * 200_000, "a.csv, line 2: is not valid CSV (field larger", "131,072 characters"),
        (b'text\n"' + b'x\n","' * 1_000_000, "its row is longer than 4194304 characters", "Close every quote"),
        (b"id,text\n2\n", "a.csv, line 2: ends before", "Complete or remove"),
        (b"te\x1b[31mxt\nx\n", "its columns are: te [31mxt", "Name one column"),
        (b"text,lang,Lang\nx,,\n", "line 1: has two columns 'lang'", "Rename"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_with_what_mends_it(tmp_path: Path, content: bytes, words: str, fix: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    problem, _, advice = refusal(tmp_path, tmp_path / "a.csv", basis="permission").partition("\n")
    assert words in problem
    assert fix in advice


@pytest.mark.slow
def test_a_csv_of_many_columns_takes_no_longer_than_it_must(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text," + ",".join(f"c{number}" for number in range(200_000)) + "\nx\n")
    began = time.monotonic()
    assert [post.text for post in posts_of(tmp_path / "a.csv")] == ["x"]
    assert time.monotonic() - began < 20, "each column was compared with each"


@pytest.mark.parametrize("line", ["{}", "[1]", '{"text": 5}', '{"text": "x", "id": true}'])
def test_a_row_that_is_wrong_is_to_be_mended_and_not_downloaded_again(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    message = refusal(tmp_path, tmp_path / "a.jsonl", basis="permission")
    assert message.startswith("a.jsonl, line 1: ")
    assert message.endswith("\nCorrect or remove that row.")


# --- what mynah wrote ---------------------------------------------------------------------------------------------------


def test_every_field_comes_back_out_of_a_file_that_mynah_wrote(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    entities = (Entity(0, 4, "mention"), Entity(5, 8, "url"))
    post = Post("2", "ana", "@bob t.c and", MAY, Kind.REPLY, "en", "bluesky", entities, "1", True, "IFTTT", ("1", "2"), MAY)
    write_posts(tmp_path / "raw", [post])
    fetch([str(tmp_path / "raw" / "posts.jsonl")], tmp_path / "out", basis="own-account")
    assert list(read_posts(tmp_path / "out")) == [post]


def test_files_of_an_earlier_mynah_and_odd_marks_are_read(tmp_path: Path) -> None:
    record = Post("2", "ana", "@bob hi", MAY, Kind.REPLY, "en", "x-export").to_record()
    early = {name: value for name, value in record.items() if name not in ("entities", "reply_to", "reply_to_self", "client")}
    odd = [
        {"start": 0, "end": 4, "kind": "mention"},
        {"start": -3, "end": 2, "kind": "url"},
        {"start": 5, "end": 7, "kind": "cat"},
        5,
        {},
    ]
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(early)}\n{json.dumps(record | {'entities': odd})}\n")
    fetch([str(tmp_path / "a.jsonl")], tmp_path / "out", basis="own-account")
    one, two = read_posts(tmp_path / "out")
    assert (one.source, one.entities, one.client) == ("x-export", (), "")
    assert two.entities == (Entity(0, 4, "mention"),)
