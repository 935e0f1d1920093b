"""Recognize posts that a program wrote: by the client that the source names, or by fixed wording. bot_posts.yaml lists both, with reasons."""

import functools
import re
from pathlib import Path
from typing import Any

import yaml

from components.filter.text_cleaning import mend, one_line
from mynah.data.posts import Post

MAX_CHARACTERS = 600  # programs wrote for 140, and some patterns take time quadratic in a text's length

TABLE = Path(__file__).with_suffix(".yaml")


def is_automated(post: Post, as_read: str = "") -> bool:
    """Return whether the post's client writes texts by itself, or its text has the fixed wording of one that does.

    Args:
        post: The post.
        as_read: Its text on one line as its readers saw it, if that is known.
    """
    if post.client.casefold() in _clients():
        return True
    if len(post.text) > MAX_CHARACTERS:
        return False
    text = (as_read or one_line(mend(post.text))).replace("\u2019", "'")
    return bool(_texts(text.isascii()).match(text))


@functools.cache
def table() -> dict[str, list[dict[str, Any]]]:
    """Return the table of `clients` and `texts`."""
    return dict(yaml.safe_load(TABLE.read_text("utf-8")))


@functools.cache
def _clients() -> frozenset[str]:
    return frozenset(row["name"].casefold() for row in table()["clients"] if row["automated"])


@functools.cache
def _texts(is_ascii: bool) -> re.Pattern[str]:
    """Return the patterns of all texts; of ASCII texts only those that can match one, since to fail takes time, too."""
    rows = [row for row in table()["texts"] if not (is_ascii and row.get("emoji"))]
    return re.compile("|".join(f"(?:{row['pattern']})" for row in rows), re.IGNORECASE)
