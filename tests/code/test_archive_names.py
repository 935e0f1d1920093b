"""Exports that were packed again: by Windows, by macOS, within folders."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from fetch_inputs import posts_of
from x_exports import as_folder, as_zip, export, old_export, old_tweet, tweet

NOTE = {
    "id": "https://birds.example/users/wren/statuses/1", "type": "Note", "content": "<p>Hello</p>", "published": "2024-03-01T12:00:00Z",
    "to": ["https://www.w3.org/ns/activitystreams#Public"],
}  # fmt: skip
MASTODON = {
    "outbox.json": json.dumps({"orderedItems": [{"type": "Create", "object": NOTE}]}),
    "actor.json": json.dumps({"id": "https://birds.example/users/wren", "preferredUsername": "wren"}),
}
EXPORTS: list[dict[str, str]] = [export(tweet(1, "Hello")), old_export(old_tweet(1, "Hello")), MASTODON]
APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X"  # how an AppleDouble file begins


def by_windows(path: Path, files: Mapping[str, str], top: str = "") -> Path:
    """A zip whose names have backslashes, as Windows PowerShell writes them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = (top + name).replace("/", "\\")
            packed.writestr(info, text)
    return path


@pytest.mark.parametrize("files", EXPORTS)
@pytest.mark.parametrize("top", ["", "archive/", "backup/2024/archive/"])
def test_names_with_backslashes_and_folders_within_folders(tmp_path: Path, files: dict[str, str], top: str) -> None:
    for path in (
        by_windows(tmp_path / "a.zip", files, top),
        as_zip(tmp_path / "b.zip", files, top),
        as_zip(tmp_path / "c.zip", files, f"./{top}"),
        as_folder(tmp_path / "d", files, top),
    ):
        assert [post.text for post in posts_of(tmp_path, path)] == ["Hello"]


@pytest.mark.parametrize("files", EXPORTS)
def test_what_macos_writes_beside_the_files_is_not_read(tmp_path: Path, files: dict[str, str]) -> None:
    beside = {f"__MACOSX/{name.rpartition('/')[0]}/._{name.rpartition('/')[2]}": APPLE for name in files}
    inside = {f"{name.rpartition('/')[0]}/._{name.rpartition('/')[2]}".lstrip("/"): APPLE for name in files}
    for number, more in enumerate((beside, inside, {".DS_Store": APPLE}, {f"__MACOSX/{name}": APPLE for name in files})):
        both: dict[str, str | bytes] = {**more, **files}
        assert [post.text for post in posts_of(tmp_path, as_zip(tmp_path / f"{number}.zip", both))] == ["Hello"]
        assert [post.text for post in posts_of(tmp_path, as_folder(tmp_path / f"{number}", both))] == ["Hello"]


def test_two_exports_in_one_zip_are_refused_whatever_the_separators(tmp_path: Path) -> None:
    files = {f"{top}/{name}": text for top in ("one", "two") for name, text in export(tweet(1, "x")).items()}
    with pytest.raises(Exception, match="several exports"):
        posts_of(tmp_path, by_windows(tmp_path / "a.zip", files))
