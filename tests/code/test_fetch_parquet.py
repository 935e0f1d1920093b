"""Parquet files: their columns, times and limits, and files that are damaged or unpack to too much."""

import builtins
import json
import random
import tracemalloc
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mynah.data.posts import Kind, Post
from mynah.data.source_records import SOURCES_FILE
from tests.code.fetch_mutations import mutated, result_or_refusal
from tests.code.fetched_files import MAY, posts_of, refusal


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


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
        (1588327200, MAY),
        ("soon", None),
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
        ({"text": pa.array([None, None], pa.string())}, ["a.parquet, row 1", "text is missing"]),
        ({"text": [5]}, ["a.parquet, row 1", "text is 5"]),
        ({"text": [b"x"]}, ["a.parquet, row 1", "text"]),
        ({"text": ["y"], "kind": ["tweet"]}, ["a.parquet, row 1", "'tweet'"]),
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
    assert "a.parquet: is damaged or not a Parquet file" in refusal(tmp_path, tmp_path / "a.parquet", basis="permission")


def test_rows_that_unpack_to_too_much_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.fetch.tables.parquet.MAX_GROUP_BYTES", 10 << 20)  # to pack a gigabyte takes 20 seconds
    texts = ["y" * 100_000] * 110
    path = parquet(tmp_path / "a.parquet", {"text": texts}, use_dictionary=False, compression="zstd", data_page_size=1 << 30)
    assert path.stat().st_size < 200_000
    assert "row group 0: has 11,0" in refusal(tmp_path, path, basis="permission")


def test_a_text_that_a_small_file_says_without_end_is_a_bomb(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["y" * 3_000_000]))
    path = parquet(tmp_path / "a.parquet", {"text": texts}, compression="zstd")
    assert path.stat().st_size < 10_000
    tracemalloc.start()
    assert "a.parquet, row 6: looks like a decompression bomb" in refusal(tmp_path, path, basis="permission")
    assert tracemalloc.get_traced_memory()[1] < 200_000_000  # of 1.5 GB that 500 rows would take
    tracemalloc.stop()


@pytest.mark.slow
def test_a_short_text_that_a_small_file_says_very_often_is_a_bomb_too(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 300_000, pa.int32()), pa.array([""]))
    assert "looks like a decompression bomb" in refusal(
        tmp_path, parquet(tmp_path / "a.parquet", {"text": texts}), basis="permission"
    )


@pytest.mark.slow
def test_many_short_posts_alike_are_none(tmp_path: Path) -> None:
    texts = [f"{number} {'Good morning ' * 20}" for number in range(70_000)]
    assert len(posts_of(parquet(tmp_path / "a.parquet", {"text": texts}, compression="zstd"))) == 70_000


def test_a_list_that_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.fetch.tables.parquet.MAX_GROUP_BYTES", 10 << 20)
    nothing = pa.ListArray.from_arrays(pa.array([0, 2_000_000], pa.int32()), pa.nulls(2_000_000, pa.int8()))
    path = parquet(tmp_path / "a.parquet", {"text": ["x"], "kind": nothing})
    assert "row group 0: has 16,0" in refusal(tmp_path, path, basis="permission")


@pytest.mark.slow
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
