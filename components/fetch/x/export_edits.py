"""Edited posts in an X export: each version is a post of its own, and only the last one counts.

All versions name one another in `editTweetIds`, in `edit_info.initial` or `edit_info.edit.editControlInitial`. Which version is the last
one is known only at the end of the export, so a first pass over all of it finds the edited posts.
https://docs.x.com/x-api/fundamentals/edit-posts
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from components.fetch.x.export_json import DOWNLOAD_AGAIN
from mynah.core.errors import InputError
from mynah.data.posts import Post

# A quote within a post's own text is escaped with a backslash, so none of these can match there.
EDIT = re.compile(rb'"edit"\s*:\s*\{[^{}]{0,2000}(?:\{[^{}]{0,2000}\}[^{}]{0,2000})?\}|"initial"\s*:\s*\{[^{}]{0,2000}\}')
VERSIONS = re.compile(rb'"(?:editTweetIds|initialTweetId)"\s*:\s*(\[[\s\d",]*\]|"?\d{1,20})')
NUMBER = re.compile(rb"\d{1,20}")
MAX_EDIT_BYTES = 8192  # of an edit's description
MAX_VERSIONS = 1_000_000
MAX_CHARACTERS = 100_000_000  # of all edited posts, which are held in memory until the end
OVERHEAD, ENTITY_OVERHEAD = 500, 100  # characters counted for a post and for each of its entities, besides its text

Edits = dict[str, str]  # from the id of each version of an edited post to that of the first


def find_edits(chunks: Iterable[bytes], where: str, edits: Edits) -> None:
    """Find the versions of edited posts that a member names.

    Args:
        chunks: The member's bytes.
        where: Its name in messages.
        edits: Receives the versions.

    Raises:
        InputError: The member names implausibly many versions.
    """
    window = b""
    for chunk in chunks:
        window = window[-MAX_EDIT_BYTES:] + chunk
        for match in EDIT.finditer(window):
            numbers = NUMBER.findall(b" ".join(VERSIONS.findall(match[0])))
            versions = sorted({number.decode() for number in numbers}, key=int)
            if len(versions) > 1:
                edits.update(dict.fromkeys(versions, versions[0]))
        if len(edits) > MAX_VERSIONS:
            raise InputError(f"{where}: names more than {MAX_VERSIONS:,} edited posts", DOWNLOAD_AGAIN)


def last_versions(posts: Iterable[Post], edits: Edits) -> Iterator[Post]:
    """Yield `posts` without superseded versions; the edited posts come at the end, with the ids of their versions.

    Raises InputError where the edited posts are too long to be held in memory.
    """
    last: dict[str, Post] = {}
    characters = 0
    for post in posts:
        first = edits.get(post.id)
        if first is None:
            yield post
        elif first not in last or int(last[first].id) < int(post.id):
            characters += _weight(post) - (_weight(last[first]) if first in last else 0)
            if characters > MAX_CHARACTERS:
                raise InputError(
                    f"post {post.id}: the edited posts have more than {MAX_CHARACTERS:,} characters in all", DOWNLOAD_AGAIN
                )
            last[first] = post
    versions: dict[str, list[str]] = {}
    for version, first in edits.items():
        versions.setdefault(first, []).append(version)
    for first, post in last.items():
        yield replace(post, versions=tuple(sorted(versions[first], key=int)))


def _weight(post: Post) -> int:
    return OVERHEAD + len(post.text) + ENTITY_OVERHEAD * len(post.entities)
