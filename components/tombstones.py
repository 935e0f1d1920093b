"""Tombstones: authors who asked to be forgotten, and must not be fetched again by a run that recurs.

A tag of Mynah's experiment each, so that every machine with the same store sees them; it holds a digest and a day, not the name.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from components.errors import InputError
from components.lineage import author_key
from components.store import Store, client, experiment, store_errors

PREFIX = "mynah.forgotten."


def _tag(author: str) -> str:
    return PREFIX + hashlib.sha256(f"mynah:author:{author_key(author)}".encode()).hexdigest()[:40]


def _tags(store: Store) -> dict[str, str]:
    api, identity = client(store.tracking_uri), experiment(store)
    with store_errors(store.tracking_uri):
        return {key: value for key, value in api.get_experiment(identity).tags.items() if key.startswith(PREFIX) and value}


def bury(store: Store, author: str) -> str:
    """Set the tombstone of `author`, and return the day that stands on it: the first one asked for."""
    day = _tags(store).get(_tag(author))
    if not day:
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        with store_errors(store.tracking_uri):
            client(store.tracking_uri).set_experiment_tag(experiment(store), _tag(author), day)
    return day


def lift(store: Store, author: str) -> bool:
    """Take the tombstone away, for an author who agrees again. Whether there was one."""
    if _tag(author) not in _tags(store):
        return False
    with store_errors(store.tracking_uri):
        client(store.tracking_uri).delete_experiment_tag(experiment(store), _tag(author))
    return True


def refuse_forgotten(store: Store, authors: Iterable[str]) -> None:
    """Raise InputError when one of `authors` asked to be forgotten."""
    tags = _tags(store)
    for author in authors:
        if day := tags.get(_tag(author)):
            raise InputError(
                f"@{author} asked on {day} to be forgotten, and is not fetched again",
                f"Leave that source out. If they agree again: mynah remember @{author}",
            )
