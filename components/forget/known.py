"""Whether anything knows the subject of an erasure, and the names that are like it: a misspelt name must not get a receipt."""

import difflib
from collections.abc import Iterable, Iterator, Mapping

from components.forget.subject import Subject
from mynah.core.errors import InputError
from mynah.data.authors import AUTHORS_TAG, author_key, authors_of
from mynah.data.source_records import SOURCES_FILE, read_sources
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.registry.forgotten_authors import forgotten_since
from mynah.registry.forgotten_bots import bot_forgotten_since
from mynah.registry.tombstones import tombstones
from mynah.tracking.database import Database

MAX_NAMES = 5  # in a message
SHORTEST_PART = 3  # characters of a name that is part of another one


def require_known(subject: Subject, is_found: bool, store: Store, database: Database) -> None:
    """Raise InputError, with the nearest names, where nothing knows a subject. One that was forgotten before is known by the tombstone.

    Args:
        subject: The author or bot.
        is_found: Whether anything of the subject was found.
        store: The tracking store.
        database: MLflow's database.
    """
    since = forgotten_since if subject.is_author else bot_forgotten_since
    if not is_found and not since(store, subject.name):
        raise _unknown(subject, store, database)


def tombstones_beside(subject: Subject, store: Store) -> Mapping[str, str]:
    """Return all tombstones where a subject was forgotten before: marked runs of it may have been left in a Kubeflow that was not searched.

    Without its own tombstone there are none, since what was left of others makes no name known.
    """
    since = forgotten_since if subject.is_author else bot_forgotten_since
    return tombstones(store) if since(store, subject.name) else {}


def _unknown(subject: Subject, store: Store, database: Database) -> InputError:
    bots, authors = sorted(known_bots(database)), sorted(known_authors(store, database))
    names = [f"@{name}" for name in authors] if subject.is_author else bots
    others = bots if subject.is_author else [f"@{name}" for name in authors]
    near = [*_nearest(subject.name, names), *(name for name in others if author_key(name) == author_key(subject.name))]
    kind = "author" if subject.is_author else "bot"
    shown = ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known {kind}s: {shown}." if names else f"No {kind} is known."
    bar = f" To bar somebody in advance: mynah forget {subject} --tombstone-only" if subject.is_author else " See `mynah bots`."
    return InputError(f"there is nothing of {subject}: no such {kind} is known, and nothing was erased", hint + bar)


def known_bots(database: Database) -> set[str]:
    """Return the names of the registered bots, and of those of which there are only runs."""
    runs = {str(row["value"]) for row in database.rows("tags", "key", [BOT_TAG])}
    registered = {str(row["name"]) for row in database.rows("registered_model_tags", "key", [BOT_TAG])}
    return runs | registered


def known_authors(store: Store, database: Database) -> set[str]:
    """Return the authors whom runs, versions, and the folders of runs on this machine name."""
    return {*_tagged(database), *_in_folders(store)} - {""}


def _tagged(database: Database) -> Iterator[str]:
    for table in ("tags", "model_version_tags"):
        for row in database.rows_from(table, "key", AUTHORS_TAG):
            yield from authors_of({str(row["key"]): str(row["value"])})


def _in_folders(store: Store) -> Iterator[str]:
    """Yield the authors of runs on this machine: one that was killed early is in no tag."""
    for path in sorted((store.folder / "runs").glob(f"*/*/{SOURCES_FILE}")) if store.folder else ():
        try:
            yield from (author for source in read_sources(path.parent) for author in source.authors)
        except InputError:  # partially written
            continue


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that are like `name`, or part of it, or of which it is a part; the most similar first."""
    key, by_key = author_key(name), {author_key(each): each for each in known}
    similar = difflib.get_close_matches(key[:100], list(by_key), MAX_NAMES)
    parts = [each for each in by_key if min(len(each), len(key)) >= SHORTEST_PART and (each in key or key in each)]
    return [by_key[each] for each in dict.fromkeys((*similar, *parts))][:MAX_NAMES]
