"""The basis on which posts may be used: without one nothing is read."""

import json
from pathlib import Path

import pytest
from x_exports import as_zip, export, tweet

from components.fetch.step import fetch
from mynah.data.source_records import SOURCES_FILE
from tests.code.fetched_files import refusal


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
    assert "the basis on which the posts may be used is not stated" in refusal(tmp_path, name)


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
