"""Cells as other programs write them: users as objects, missing values, true and false in other languages, and rounded ids."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fetch_inputs import posts_of
from test_table_columns import csv_of, jsonl_of, kinds, read, said  # noqa: F401

from components.fetch.tables.people import handle_of
from mynah.core.errors import InputError
from mynah.data.posts import Kind

Said = Callable[[], str]
WREN = [
    "wren", "@wren", '{"username": "wren", "id": 5}', "{'screen_name': 'wren', 'name': \"W 'B'\"}",
    "User(username='wren', id=5, description=None)", "User(id=5, description=\"username='ben'\", username='wren')",
    "<User id=5 name=Wren username=wren>", '["wren"]', "['wren']", "https://x.com/wren", "https://twitter.com/wren/status/1", "x.com/wren?s=20",
]  # fmt: skip


@pytest.mark.parametrize("value", [*WREN, ["wren"], [{"username": "wren"}]])
@pytest.mark.parametrize("column", ["author", "user"])
def test_an_author_is_read_from_a_cell_of_any_form(tmp_path: Path, value: object, column: str) -> None:
    [post] = posts_of(tmp_path, jsonl_of(tmp_path, {"text": "x", column: value}))
    assert post.author == "wren"


@pytest.mark.parametrize("value", [*WREN, "ben, wren", "@ben; @wren", '["ben", "wren"]', ["ben", "wren"], [{"username": "wren"}]])
@pytest.mark.parametrize("column", ["author", "team"])
def test_a_forgotten_author_is_found_in_a_cell_of_any_form(tmp_path: Path, value: object, column: str) -> None:
    rows = [{"author": "ben", "text": "x"}, {"author": "ben", "text": "y", column: value}]
    with pytest.raises(InputError, match="@wren asked on"):
        read(jsonl_of(tmp_path, *rows), "wren")


@pytest.mark.parametrize(
    "value", ["ben, wrens", "a wren, and more", "User(username='ben', description='wren')", '{"bio": "wren"}']
)
def test_who_is_not_named_is_not_found(tmp_path: Path, value: str) -> None:
    assert len(read(jsonl_of(tmp_path, {"author": "ben", "text": "x", "team": value, "keywords": "robin, wren"}), "wren")) == 1


@pytest.mark.parametrize(
    "people",
    [
        pa.array(["ben", "wren"]).dictionary_encode(),
        pa.array([["ben"], ["ann", "wren"]]),
        pa.array(["ben", "wren"], pa.string_view()),
        pa.array([[], [{"username": "wren"}]]),
    ],
)
def test_a_forgotten_author_is_found_in_parquet_columns_of_any_type(tmp_path: Path, people: pa.Array) -> None:
    pq.write_table(pa.table({"text": ["x", "y"], "author": ["ben", "ben"], "team": people}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 2, column 'team': @wren asked on"):
        read(tmp_path / "a.parquet", "wren")


def test_a_row_of_several_authors_is_left_out(tmp_path: Path, said: Said) -> None:  # noqa: F811
    rows = [{"author": "ann", "text": "x"}, {"author": '["ann", "ben"]', "text": "y"}]
    assert [post.text for post in posts_of(tmp_path, jsonl_of(tmp_path, *rows))] == ["x"]
    assert "names several people" in " ".join(said().split())


@pytest.mark.parametrize("value", ["User(a=" * 3000, "[" * 50_000, "{'username': ", "{}", '{"username": 5}', "<User id=1>"])
def test_a_cell_of_any_text_is_read_quickly(value: str) -> None:
    assert handle_of(value) is None


@pytest.mark.parametrize("value", ["NaN", "NA", "nan", "None", "", "<NA>", "null", "#N/A", "N/A"])
def test_a_missing_value_is_absent_in_every_column(tmp_path: Path, value: str) -> None:
    header = "id,author,created_at,is_retweet,reply_to,retweeted_status_id,lang,text"
    [post, word] = posts_of(tmp_path, csv_of(tmp_path, header, f"{','.join([value] * 7)},x", f"7,ann,,,,,,{value or 'NA'}"))
    assert (post.id, post.author, post.created_at, post.kind, post.reply_to, post.language) == (
        "row-1",
        "a",
        None,
        Kind.ORIGINAL,
        "",
        "",
    )
    assert (word.text, word.author) == (value or "NA", "ann")  # a post may be such a word


def test_a_name_that_only_looks_like_something_else_is_a_name(tmp_path: Path) -> None:
    assert [post.author for post in posts_of(tmp_path, csv_of(tmp_path, "author,text", "Nan,x", "@null,y", "Wren (she),z", "[deleted],w"))] == [
        "Nan", "null", "Wren_she", "deleted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("yes", "no"),
    [("WAHR", "FALSCH"), ("VRAI", "FAUX"), ("VERDADERO", "FALSO"), ("Vero", "Falso"), ("ja", "nein"), ("VERDADEIRO", "FALSO"),
     ("WAAR", "ONWAAR"), ("PRAWDA", "FAŁSZ"), ("ИСТИНА", "ЛОЖЬ"), ("DOĞRU", "YANLIŞ"), ("SANT", "FALSKT"), ("yes", "no"), ("1", "0")],
)  # fmt: skip
def test_marks_in_other_languages(tmp_path: Path, yes: str, no: str) -> None:
    assert kinds(tmp_path, {"is_retweet": yes}, {"is_retweet": no}) == [Kind.REPOST, Kind.ORIGINAL]
    rows: list[dict[str, Any]] = [{"is_reply": yes}, {"is_reply": no}, {"is_quote": yes}, {"is_quote": no}]
    assert kinds(tmp_path, *rows) == [Kind.REPLY, Kind.ORIGINAL, Kind.QUOTE, Kind.ORIGINAL]


EXACT = "1234567890123456789"


@pytest.mark.parametrize(
    "rounded",
    ["1.23457E+18", "1,23457E+18", 1.2345678901234568e18, "1234567890123460000.0", "1234567890123460000", 1234567890123460000],
)
@pytest.mark.parametrize(
    "other", [{"tweet_id": EXACT}, {"url": f"https://x.com/ann/status/{EXACT}"}, {"permalink": f"https://twitter.com/ann/status/{EXACT}?s=20"}]
)  # fmt: skip
def test_a_rounded_id_is_read_from_another_column(tmp_path: Path, said: Said, rounded: object, other: dict[str, str]) -> None:  # noqa: F811
    [post] = posts_of(tmp_path, jsonl_of(tmp_path, {"text": "x", "author": "ann", "id": rounded, **other}))
    assert post.id == EXACT
    assert "1 rounded id read from another column" in " ".join(said().split())


def test_a_rounded_id_of_an_answered_post_is_read_from_another_column(tmp_path: Path) -> None:
    row = {"text": "x", "author": "ann", "in_reply_to_status_id_str": 1.23457e18, "in_reply_to_status_id": EXACT}
    assert posts_of(tmp_path, jsonl_of(tmp_path, row))[0].reply_to == EXACT


@pytest.mark.parametrize("other", ["2234567890123456789", "1234", "", "1.23457E+18"])
def test_another_number_does_not_repair_an_id(tmp_path: Path, said: Said, other: str) -> None:  # noqa: F811
    [post] = posts_of(tmp_path, jsonl_of(tmp_path, {"text": "x", "author": "ann", "id": "1.23457E+18", "tweet_id": other}))
    assert post.id == "row-1"
    assert "1 id that lost" in said()


def test_what_reddit_leaves_of_a_deleted_text_is_no_post(tmp_path: Path, said: Said) -> None:  # noqa: F811
    rows = [
        {"author": "wren", "text": "[deleted] scenes"},
        {"author": "wren", "text": "[removed]"},
        {"author": "[deleted]", "text": "[deleted]"},
    ]
    assert [post.text for post in posts_of(tmp_path, jsonl_of(tmp_path, *rows))] == ["[deleted] scenes"]
    assert "which Reddit leaves of a deleted one" in said()
