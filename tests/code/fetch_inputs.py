"""What the tests of the fetch step share: fetching a source, and its refusal."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from x_exports import as_folder, as_zip

from components.fetch.step import fetch
from mynah.core.errors import InputError
from mynah.data.posts import Post, read_posts

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
