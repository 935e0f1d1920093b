"""Parquet files, what sources may be called, and the basis on which posts may be used."""

import builtins
import json
import random
import time
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_fetch_fuzz import mutated, result_or_refusal
from x_exports import as_zip, export, tweet

from components.errors import InputError
from components.fetch import SOURCES_FILE, fetch
from components.fetch.sources import SOURCES_NOW, parse_source, parse_sources
from components.posts import Entity, Kind, Post, read_posts, write_posts

MAY = datetime(2020, 5, 1, 10, tzinfo=UTC)


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def posts_of(path: Path, limit: int = 0) -> list[Post]:
    fetch([str(path)], path.parent / "out", limit, basis="permission")
    return list(read_posts(path.parent / "out"))


def refusal(folder: Path, *sources: object, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        fetch([str(source) for source in sources], folder / "out", **options)
    assert not (folder / "out").exists()
    assert caught.value.fix
    return str(caught.value)


# --- Parquet ------------------------------------------------------------------------------------------------------------


def test_the_columns_of_a_parquet_file(tmp_path: Path) -> None:
    columns = {
        "Text": ["one", "two", "RT @a: three"],
        "tweet_id": pa.array([7, 8, None], pa.int64()),
        "username": ["@Ana B", None, ""],
        "created_at": pa.array([MAY, None, MAY], pa.timestamp("ns", "Europe/Berlin")),
        "lang": pa.array(["en", "de", None]).dictionary_encode(),
        "in_reply_to_status_id": pa.array([None, 5, None], pa.int64()),
        "source": ["IFTTT", None, None],
        "embedding": [[0.5], None, []],  # what nobody asked for is not read
    }
    assert posts_of(parquet(tmp_path / "notes.parquet", columns, row_group_size=2)) == [
        Post("7", "Ana_B", "one", MAY, Kind.ORIGINAL, "en", "parquet", client="IFTTT"),
        Post("8", "notes", "two", None, Kind.REPLY, "de", "parquet", reply_to="5"),
        Post("row-3", "notes", "RT @a: three", MAY, Kind.REPOST, "", "parquet"),
    ]
    [record] = json.loads((tmp_path / "out" / SOURCES_FILE).read_text())
    assert (record["source"], record["kind"], record["basis"]) == ("parquet:notes.parquet", "parquet", "permission")
    assert (record["author"], record["counts"]) == ("Ana_B, notes", {"original": 1, "reply": 1, "repost": 1})


@pytest.mark.parametrize(
    ("value", "when"),
    [
        (MAY.replace(tzinfo=None), MAY),
        (MAY.astimezone(timezone(timedelta(hours=9))), MAY),
        (date(2020, 5, 1), MAY.replace(hour=0)),
        ("2020-05-01T12:00:00+02:00", MAY),
        (1588327200, None),
    ],
)
def test_times_of_every_type(tmp_path: Path, value: object, when: datetime | None) -> None:
    [post] = posts_of(parquet(tmp_path / "a.parquet", {"text": ["x"], "date": [value]}))
    assert post.created_at == when


def test_many_rows_are_read_in_order_and_limited_to_the_newest(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"id": list(range(5000)), "text": ["x"] * 5000}, row_group_size=700)
    assert [int(post.id) for post in posts_of(path)] == list(range(5000))
    assert [int(post.id) for post in posts_of(path, limit=3)] == [4997, 4998, 4999]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": [1], "body": ["x"]}, ["a.parquet", "no column `text`", "id, body"]),
        ({"text": ["x"], "TEXT ": ["y"]}, ["a.parquet", "two columns"]),
        ({"text": ["x", None]}, ["a.parquet, row 2", "text is missing"]),
        ({"text": [5]}, ["a.parquet, row 1", "text is 5"]),
        ({"text": [b"x"]}, ["a.parquet, row 1", "text"]),
        ({"text": ["x", "y"], "kind": ["reply", "tweet"]}, ["a.parquet, row 2", "'tweet'"]),
        ({"text": ["x"], "id": ["1" * 300]}, ["a.parquet, row 1", "300 characters"]),
        ({"text": ["y" * 5_000_000]}, ["a.parquet, row 1", "'text' has 5,000,000 characters"]),
        ({"text": ["x"], "client": ["y" * 5_000_000]}, ["a.parquet, row 1", "'client' has 5,000,000 characters"]),
        ({"text": pa.array([], pa.string())}, ["no posts"]),
    ],
)
def test_a_parquet_file_that_is_wrong_is_refused_by_its_row(tmp_path: Path, columns: dict[str, Any], words: list[str]) -> None:
    path = parquet(tmp_path / "a.parquet", columns)
    message = refusal(tmp_path, path, basis="permission")
    assert all(word in message for word in words), message


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"text\nhello\n"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    assert "a.parquet: is no Parquet file" in refusal(tmp_path, tmp_path / "a.parquet", basis="permission")


def test_rows_that_unpack_to_too_much_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.fetch.parquet.MOST_OF_A_GROUP", 10 << 20)  # to pack a gigabyte takes 20 seconds
    texts = ["y" * 100_000] * 110
    path = parquet(tmp_path / "a.parquet", {"text": texts}, use_dictionary=False, compression="zstd", data_page_size=1 << 30)
    assert path.stat().st_size < 200_000
    assert "row group 0: has 11,0" in refusal(tmp_path, path, basis="permission")


def test_a_text_that_a_small_file_says_without_end_is_a_bomb(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["y" * 3_000_000]))
    path = parquet(tmp_path / "a.parquet", {"text": texts}, compression="zstd")
    assert path.stat().st_size < 10_000
    tracemalloc.start()
    assert "a.parquet, row 6: looks like a bomb" in refusal(tmp_path, path, basis="permission")
    assert tracemalloc.get_traced_memory()[1] < 200_000_000  # of 1.5 GB that 500 rows would take
    tracemalloc.stop()


def test_a_short_text_that_a_small_file_says_very_often_is_a_bomb_too(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 300_000, pa.int32()), pa.array([""]))
    assert "looks like a bomb" in refusal(tmp_path, parquet(tmp_path / "a.parquet", {"text": texts}), basis="permission")


def test_many_short_posts_alike_are_none(tmp_path: Path) -> None:
    texts = [f"{number} {'Good morning ' * 20}" for number in range(70_000)]
    assert len(posts_of(parquet(tmp_path / "a.parquet", {"text": texts}, compression="zstd"))) == 70_000


def test_a_list_that_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.fetch.parquet.MOST_OF_A_GROUP", 10 << 20)
    nothing = pa.ListArray.from_arrays(pa.array([0, 2_000_000], pa.int32()), pa.nulls(2_000_000, pa.int8()))
    path = parquet(tmp_path / "a.parquet", {"text": ["x"], "kind": nothing})
    assert "row group 0: has 16,0" in refusal(tmp_path, path, basis="permission")


def test_mutated_parquet_files(tmp_path: Path) -> None:
    rng = random.Random("parquet")
    whole = parquet(tmp_path / "whole.parquet", {"text": ["a", "b"], "id": [1, 2], "lang": ["en", None]}).read_bytes()
    outcomes = []
    for _ in range(150):
        (tmp_path / "a.parquet").write_bytes(mutated(whole, rng))
        outcomes.append(result_or_refusal(tmp_path / "a.parquet", tmp_path / "out"))
    assert set(outcomes) == {True, False}


def test_without_arrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments, **more)

    path = parquet(tmp_path / "a.parquet", {"text": ["x"]})
    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'mynah[parquet]'" in refusal(tmp_path, path, basis="permission")


# --- CSV ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words", "fix"),
    [
        (b"\n\r\n\n", "a.csv: has no line that holds anything", "Name a file that holds posts"),
        (b"id,text\r1,hello\r", "a.csv, line 1: is not valid CSV", "LF or CRLF"),
        (b"text\n" + b"x" * 200_000, "a.csv, line 2: is not valid CSV (field larger", "131,072 characters"),
        (b'text\n"' + b'x\n","' * 1_000_000, "its row is longer than 4194304 characters", "Close every quote"),
        (b"id,text\n1,a\n2\n", "a.csv, line 3: ends before", "Complete or remove"),
        (b"te\x1b[31mxt\nx\n", "its columns are: te [31mxt", "Name one column"),
        (b"text,lang,Lang\nx,,\n", "line 1: has two columns 'lang'", "Rename"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_with_what_mends_it(tmp_path: Path, content: bytes, words: str, fix: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    problem, _, advice = refusal(tmp_path, tmp_path / "a.csv", basis="permission").partition("\n")
    assert words in problem
    assert fix in advice


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
    assert message.endswith("\nMend or remove that row.")


# --- what mynah wrote ---------------------------------------------------------------------------------------------------


def test_every_field_comes_back_out_of_a_file_that_mynah_wrote(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    entities = (Entity(0, 4, "mention"), Entity(5, 8, "url"))
    post = Post("2", "ana", "@bob t.c and", MAY, Kind.REPLY, "en", "bluesky", entities, "1", True, "IFTTT")
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


# --- names of sources ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form", "label"),
    [
        ("x://Wren_1", "x", "x://wren_1"),
        ("x://@wren", "x", "x://wren"),
        ("bsky://Wren.bsky.social", "bsky", "bsky://wren.bsky.social"),
        ("bsky://did:plc:ewvi7nxzyoun6zhxrhs64oiz", "bsky", "bsky://did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
        ("mastodon://Wren@Birds.example", "mastodon", "mastodon://wren@birds.example"),
        ("mastodon://@wren@birds.example:8443", "mastodon", "mastodon://wren@birds.example:8443"),
        ("s3://bucket/deep/Posts.CSV", "csv", "csv:Posts.CSV"),
        ("s3://bucket/deep/posts.parquet", "parquet", "parquet:posts.parquet"),
        ("s3://bucket/wren.car", "car", "car:wren.car"),
        ("s3://bucket/wren", "archive", "archive:wren"),
        ("s3://bucket/uploads/wren/", "raw", "raw:wren"),
        ("sample", "archive", "archive:groundling.zip"),
    ],
)  # fmt: skip
def test_what_a_source_is_called(name: str, form: str, label: str) -> None:
    source = parse_source(name)
    assert (source.form, source.label) == (form, label)


@pytest.mark.parametrize(
    "name",
    [
        "x://", "x://a b", "x://wren/status/1", "x://" + "w" * 16, "x://wren?token=secret", "bsky://", "bsky://wren/x", "bsky://a@b",
        "mastodon://wren", "mastodon://wren@", "mastodon://ann:secret@host.example", "mastodon://wren@host/path", "mastodon://a@b@c.d",
        "s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://bucket/a/..", "s3://bucket/a\0b.csv",
        "s3://Bad Bucket/a.csv", "s3://bucket/" + "é" * 513, "X://wren", "x:wren",
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_refused_before_anything_is_asked(tmp_path: Path, name: str) -> None:
    refusal(tmp_path, name, basis="permission")


@pytest.mark.parametrize(
    "name",
    [
        "mastodon://ann:hunter2@birds.example",
        "mastodon://ann:hunt@hunter2@birds.example",
        "x://wren?token=hunter2",
        "bsky://wren:hunter2@bsky.social",
        "https://ann:hunter2@birds.example/posts.csv?key=hunter2",
        "ftp:ann:hunter2@birds.example",
    ],
)
def test_a_password_in_an_address_is_not_shown(tmp_path: Path, name: str) -> None:
    assert "hunter2" not in refusal(tmp_path, name, basis="permission")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("x://wren", "x://@Wren"),
        ("bsky://Wren.example", "bsky://wren.example"),
        ("mastodon://a@b.c", "mastodon://@A@B.C"),
        ("s3://b/k.csv", "s3://b/k.csv"),
    ],
)
def test_the_same_account_or_object_twice_is_refused(one: str, two: str) -> None:
    with pytest.raises(InputError, match="given twice"):
        parse_sources([one, two])


# --- on what basis ------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("text\nhello\n")
    return tmp_path / "a.csv"


@pytest.mark.parametrize("others", [[], ["sample"], ["bsky://wren.example"]])
def test_without_a_basis_nothing_is_read(tmp_path: Path, table: Path, others: list[str]) -> None:
    message = refusal(tmp_path, table, *others)
    assert "csv:a.csv" in message
    assert str(tmp_path) not in message
    for name in ("--basis", "own-account (you wrote them)", "permission (", "public-figure-research ("):
        assert name in message


@pytest.mark.parametrize("name", ["x://wren", "bsky://wren.example", "mastodon://a@b.c", "s3://bucket/a.jsonl"])
def test_accounts_and_files_in_s3_need_one_too(tmp_path: Path, name: str) -> None:
    assert "nothing tells on what basis" in refusal(tmp_path, name)


@pytest.mark.parametrize("basis", ["yes", "own account", "Permission", "unstated"])
def test_a_basis_that_is_none_is_refused_also_for_an_export(tmp_path: Path, basis: str) -> None:
    assert "own-account, permission" in refusal(tmp_path, "sample", basis=basis).replace(" (you wrote them)", "")


def test_each_source_keeps_the_basis_that_holds_for_it(tmp_path: Path, table: Path) -> None:
    mine = as_zip(tmp_path / "mine.zip", export(tweet(1, "x")))
    assert [each.basis for each in fetch([str(mine)], tmp_path / "raw")] == ["own-account"]
    theirs = as_zip(tmp_path / "theirs.zip", export(tweet(2, "y")))
    found = fetch(["sample", str(tmp_path / "raw"), str(theirs), str(table)], tmp_path / "out", basis="permission")
    assert [each.basis for each in found] == ["own-account", "own-account", "permission", "permission"]
    assert [record["basis"] for record in json.loads((tmp_path / "out" / SOURCES_FILE).read_text())] == [
        each.basis for each in found
    ]
    again = fetch([str(tmp_path / "out")], tmp_path / "again", basis="public-figure-research")
    assert [each.basis for each in again] == [each.basis for each in found], "what was said at first still holds"


def test_a_folder_of_an_earlier_mynah_has_no_counts(tmp_path: Path) -> None:
    fetch(["sample"], tmp_path / "raw")
    [record] = json.loads((tmp_path / "raw" / SOURCES_FILE).read_text())
    assert sum(record.pop("counts").values()) == record["posts"]
    (tmp_path / "raw" / SOURCES_FILE).write_text(json.dumps([record]))
    [provenance] = fetch([str(tmp_path / "raw")], tmp_path / "out")
    assert (provenance.counts, provenance.posts) == ({}, record["posts"])


def test_an_account_of_x_is_refused_with_its_price_before_anything_else_is_read(tmp_path: Path, table: Path) -> None:
    message = refusal(tmp_path, table, "x://wren", basis="public-figure-research")
    for words in ("3,200 posts of @wren", "$16.01", "developer agreement", "--max-cost", "--yes"):
        assert words in message


def test_the_message_for_an_unknown_source_names_them_all() -> None:
    for each in ("archive:", ".csv", ".jsonl", ".parquet", ".car", "x://", "bsky://", "mastodon://", "s3://", "sample"):
        assert each in SOURCES_NOW
