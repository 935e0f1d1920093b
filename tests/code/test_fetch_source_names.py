"""What sources may be called, and that no password of an address is shown."""

from pathlib import Path

import pytest

from components.fetch.sources import SUPPORTED_SOURCES, parse_source, parse_sources
from mynah.core.errors import InputError
from tests.code.fetched_files import refusal


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


def test_the_message_for_an_unknown_source_names_them_all() -> None:
    for each in ("archive:", ".csv", ".jsonl", ".parquet", ".car", "x://", "bsky://", "mastodon://", "s3://", "sample"):
        assert each in SUPPORTED_SOURCES
