"""Posts that a program wrote: by the program that the source names, or by its set words. Both are in automated.yaml, with reasons."""

import functools
import re
from pathlib import Path
from typing import Any

from components.filter.clean import one_line, unescape
from components.posts import Post

LONGEST = 600  # characters; programs wrote for 140, and some patterns take the square of a text's length

TABLE = Path(__file__).with_suffix(".yaml")


def is_automated(post: Post) -> bool:
    """Whether the post's client makes texts up by itself, or its text is in the set words of one that does."""
    if post.client.casefold() in _clients():
        return True
    return len(post.text) <= LONGEST and bool(_texts().match(one_line(unescape(post.text))))


@functools.cache
def table() -> dict[str, list[dict[str, Any]]]:
    """automated.yaml: `clients` and `texts`."""
    import yaml

    return dict(yaml.safe_load(TABLE.read_text("utf-8")))


@functools.cache
def _clients() -> frozenset[str]:
    return frozenset(row["name"].casefold() for row in table()["clients"] if row["automated"])


@functools.cache
def _texts() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{row['pattern']})" for row in table()["texts"]), re.IGNORECASE)
