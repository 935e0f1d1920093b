"""Edited posts in an X export: each version is a post of its own, and only the last one counts.

All versions name one another in `editTweetIds`, in `edit_info.initial` or `edit_info.edit.editControlInitial`. Which version is the last
that an export has is known at its end only, so versions are told from the other posts by a look at all of it before.
https://docs.x.com/x-api/fundamentals/edit-posts
"""

import re
from collections.abc import Iterable, Iterator

from components.errors import InputError
from components.fetch.json_parts import MEND
from components.posts import Post

# A quote within a post's own text has a backslash before it, so that none of these can begin there.
EDIT = re.compile(rb'"edit"\s*:\s*\{[^{}]{0,2000}(?:\{[^{}]{0,2000}\}[^{}]{0,2000})?\}|"initial"\s*:\s*\{[^{}]{0,2000}\}')
VERSIONS = re.compile(rb'"(?:editTweetIds|initialTweetId)"\s*:\s*(\[[\s\d",]*\]|"?\d{1,20})')
NUMBER = re.compile(rb"\d{1,20}")
LONGEST = 8192  # bytes that an edit's description has at most
MOST_VERSIONS = 1_000_000
MOST_CHARACTERS = 100_000_000  # of all edited posts, which are held while the others pass
OVERHEAD, OVERHEAD_OF_A_MARK = 500, 100  # characters that a post, and each mark in it, counts for besides its text

Edits = dict[str, str]  # the id of each version of an edited post, and that of its first one


def find_edits(chunks: Iterable[bytes], where: str, edits: Edits) -> None:
    """Add the versions of edited posts that a member names to `edits`. Raises InputError where they are too many to be true."""
    window = b""
    for chunk in chunks:
        window = window[-LONGEST:] + chunk
        for match in EDIT.finditer(window):
            named = NUMBER.findall(b" ".join(VERSIONS.findall(match[0])))
            versions = sorted({number.decode() for number in named}, key=int)
            if len(versions) > 1:
                edits.update(dict.fromkeys(versions, versions[0]))
        if len(edits) > MOST_VERSIONS:
            raise InputError(f"{where}: names more than {MOST_VERSIONS:,} edited posts", MEND)


def last_versions(posts: Iterable[Post], edits: Edits) -> Iterator[Post]:
    """`posts`, with the last version alone of each that was edited; these come at the end.

    Raises InputError where the edited ones are too long to be held.
    """
    last: dict[str, Post] = {}
    characters = 0
    for post in posts:
        first = edits.get(post.id)
        if first is None:
            yield post
        elif first not in last or int(last[first].id) < int(post.id):
            characters += _weight(post) - (_weight(last[first]) if first in last else 0)
            if characters > MOST_CHARACTERS:
                raise InputError(f"post {post.id}: the edited posts have more than {MOST_CHARACTERS:,} characters in all", MEND)
            last[first] = post
    yield from last.values()


def _weight(post: Post) -> int:
    return OVERHEAD + len(post.text) + OVERHEAD_OF_A_MARK * len(post.entities)
