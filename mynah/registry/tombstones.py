"""Marks of authors and bots that were forgotten, and must not come back, for example by a recurring run.

Each is a tag of Mynah's experiment, so that every machine with the same store sees it; the tag holds a digest and a day, not the name.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import Store
from mynah.storage.work_folder import require_own_parts

PREFIX = "mynah.forgotten."
Kind = Literal["author", "bot", "run"]


def tombstone_tag(kind: Kind, name: str) -> str:
    """Return the tag of an author, a bot, or a run's id; `name` is in the one form in which it is compared."""
    return PREFIX + hashlib.sha256(f"mynah:{kind}:{name}".encode()).hexdigest()[:40]


def tombstones(store: Store) -> dict[str, str]:
    """Return all marks: the day by tag. Raises PlatformError when the store cannot be reached."""
    api, experiment_id = client(store.tracking_uri), experiment(store)
    with store_errors(store.tracking_uri):
        return {key: value for key, value in api.get_experiment(experiment_id).tags.items() if key.startswith(PREFIX) and value}


def set_tombstone(store: Store, tag: str) -> str:
    """Set a mark, and return the day of the first request."""
    require_own_parts(store)
    day = tombstones(store).get(tag, "")
    if not day:
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        with store_errors(store.tracking_uri):
            client(store.tracking_uri).set_experiment_tag(experiment(store), tag, day)
    return day


def set_tombstones(store: Store, tags: Iterable[str]) -> None:
    """Set many marks, except those that are set already."""
    require_own_parts(store)
    known, today = tombstones(store), f"{datetime.now(UTC):%Y-%m-%d}"
    for tag in (tag for tag in tags if tag not in known):
        with store_errors(store.tracking_uri):
            client(store.tracking_uri).set_experiment_tag(experiment(store), tag, today)


def remove_tombstone(store: Store, tag: str) -> bool:
    """Remove a mark. Returns whether there was one."""
    require_own_parts(store)
    if tag not in tombstones(store):
        return False
    with store_errors(store.tracking_uri):
        client(store.tracking_uri).delete_experiment_tag(experiment(store), tag)
    return True
