"""Authors who asked to be forgotten, and must not be fetched again, for example by a recurring run (tombstones.py)."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

from mynah.core.errors import InputError
from mynah.data.authors import author_key
from mynah.data.source_records import SOURCES_FILE, read_sources
from mynah.mlflow_client.store import Store
from mynah.registry.tombstones import remove_tombstone, set_tombstone, tombstone_tag, tombstones


def _tag(author: str) -> str:
    return tombstone_tag("author", author_key(author))


def mark_forgotten(store: Store, author: str) -> str:
    """Mark `author` as forgotten, and return the day of the first request."""
    return set_tombstone(store, _tag(author))


def forgotten_since(store: Store, author: str) -> str:
    """Return the day on which `author` was marked as forgotten; "" where they are not."""
    return tombstones(store).get(_tag(author), "")


def unmark_forgotten(store: Store, author: str) -> bool:
    """Remove the mark of an author who agrees again. Returns whether there was one."""
    return remove_tombstone(store, _tag(author))


class ForgottenAuthors:
    """The authors who asked to be forgotten, as read from a store; by default none.

    Args:
        tags: The marks, from the digest of an author to the day.
    """

    def __init__(self, tags: Mapping[str, str] | None = None) -> None:
        self._tags = dict(tags or {})
        self._day = functools.lru_cache(maxsize=65_536)(lambda author: self._tags.get(_tag(author), ""))

    def __bool__(self) -> bool:
        return bool(self._tags)

    def day(self, author: str) -> str:
        """Return the day on which an author asked to be forgotten; "" for any other."""
        return self._day(author) if self._tags else ""

    def refuse(self, author: str, place: str = "") -> None:
        """Raise InputError when an author asked to be forgotten; `place` says where they are named, such as "posts.csv, line 3"."""
        if day := self.day(author):
            named = f"{place}: " if place else ""
            raise InputError(
                f"{named}@{author} asked on {day} to be forgotten, and must not be fetched again",
                f"Leave that source out. If they agree again: mynah remember @{author}",
            )


def refuse_forgotten_posts(store: Store | None, raw: Path) -> None:
    """Raise InputError when an author of fetched posts asked to be forgotten meanwhile; without a store nobody knows.

    Args:
        store: The tracking store.
        raw: The folder of posts, with the record of their sources.
    """
    if store and (raw / SOURCES_FILE).is_file():
        refuse_forgotten(store, sorted({author for source in read_sources(raw) for author in source.authors}))


def read_forgotten(store: Store | None) -> ForgottenAuthors:
    """Read who asked to be forgotten; nobody, without a store. Raises PlatformError when the store cannot be reached."""
    return ForgottenAuthors(tombstones(store) if store else {})


def refuse_forgotten(store: Store, authors: Iterable[str]) -> None:
    """Raise InputError when one of `authors` asked to be forgotten."""
    forgotten = read_forgotten(store)
    for author in authors:
        forgotten.refuse(author)
