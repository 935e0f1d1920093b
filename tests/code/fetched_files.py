"""Files to fetch posts from, and their refusal."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.fetch.step import fetch
from mynah.core.errors import InputError
from mynah.data.posts import Post, read_posts

MAY = datetime(2020, 5, 1, 10, tzinfo=UTC)


def posts_of(path: Path, limit: int = 0) -> list[Post]:
    fetch([str(path)], path.parent / "out", limit, basis="permission")
    return list(read_posts(path.parent / "out"))


def refusal(folder: Path, *sources: object, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        fetch([str(source) for source in sources], folder / "out", **options)
    assert not (folder / "out").exists()
    assert caught.value.fix
    return str(caught.value)
