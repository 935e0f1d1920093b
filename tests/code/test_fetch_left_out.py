"""A record that is wrong is left out, counted and reported with its place; the others of its file are read."""

import json
from pathlib import Path
from typing import Any

import pytest
from fetch_inputs import posts_of
from x_exports import as_zip, export, note, old_export, old_tweet, tweet

GOOD = [f"Fine words number {number}" for number in range(5)]


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("a.csv", ["id,text", *(f"{n},{text}" for n, text in enumerate(GOOD)), "7,a,b"], "line 7: has 3 fields, and the header has 2"),
        ("a.csv", ["id,text", "7", *(f"{n},{text}" for n, text in enumerate(GOOD))], "line 2: ends before the column `text`"),
        ("a.csv", ["text", GOOD[0], '"a"b', *GOOD[1:]], "line 3: is not valid CSV"),
        ("a.csv", ["text,kind", *(f"{text}," for text in GOOD), "x,tweet"], "line 7: kind 'tweet' is not one of"),
        ("a.jsonl", [*(json.dumps({"text": text}) for text in GOOD), '{"text": '], "line 6: is not valid JSON"),
        ("a.jsonl", ["[1]", *(json.dumps({"text": text}) for text in GOOD)], "line 1: the line is a list"),
        ("a.jsonl", ['{"text": 5}', *(json.dumps({"text": text}) for text in GOOD)], "line 1: text is 5"),
        ("a.jsonl", ['{"text": ' + "[" * 100_000, *(json.dumps({"text": text}) for text in GOOD)], "line 1: is nested too deeply"),
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, rows: list[str], words: str
) -> None:
    (tmp_path / name).write_text("\n".join(rows) + "\n")
    assert [post.text for post in posts_of(tmp_path, tmp_path / name)] == GOOD
    assert f"{name}: skipped 1 post ({words}" in " ".join(capsys.readouterr().err.split())


def test_each_of_the_first_places_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,a\n2\n3\n4,b\n5\n6\n")
    assert [post.text for post in posts_of(tmp_path, tmp_path / "a.csv")] == ["a", "b"]
    said = " ".join(capsys.readouterr().err.split())
    assert "skipped 4 posts (line 3: ends before" in said and "line 4: " in said and "line 6: " in said and "; …)" in said


def test_a_post_of_x_that_is_wrong_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tweets: list[Any] = [
        tweet(1, "one"),
        {"tweet": []},
        tweet(2, "two"),
        tweet(3, "three", "yesterday"),
        tweet(4, 7),  # type: ignore[arg-type]
        tweet(5, "five", lang=5),
    ]
    assert [post.text for post in posts_of(tmp_path, as_zip(tmp_path / "a.zip", export(*tweets)))] == ["one", "two"]
    said = " ".join(capsys.readouterr().err.split())
    assert "a.zip: skipped 4 posts (data/tweets.js, element 2 (character" in said
    old = old_export(old_tweet(1, "one"), old_tweet(2, "two", created_at="never"))
    assert [post.text for post in posts_of(tmp_path, as_zip(tmp_path / "b.zip", old))] == ["one"]
    assert "element 2" in capsys.readouterr().err


def test_a_long_text_that_is_wrong_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "A long thought that does not fit, and goes on and on, " * 8
    files = export(tweet(1, long[:250] + "… https://t.co/a"), notes=[{"noteTweet": 5}, note(long)])
    assert [post.text for post in posts_of(tmp_path, as_zip(tmp_path / "a.zip", files))] == [long]
    assert "skipped 1 post (data/note-tweet.js, element 1" in " ".join(capsys.readouterr().err.split())


def test_a_row_of_parquet_that_is_wrong_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"text": ["one", None, "three"], "id": ["1", "2", "3"]}), tmp_path / "a.parquet")
    assert [post.id for post in posts_of(tmp_path, tmp_path / "a.parquet")] == ["1", "3"]
    assert "a.parquet: skipped 1 post (row 2: text is missing" in " ".join(capsys.readouterr().err.split())
