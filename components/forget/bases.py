"""The base models that only a subject's adapters use: they are erased with these, for a base model may be a folder with more of the subject.

An adapter of one may be registered meanwhile: a base model is erased under its lock, and only if no other adapter uses it then.
"""

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mynah.maintenance.erasers import ErasableItem, file_items
from mynah.mlflow_client.store import Store
from mynah.registry.base_names import BASE_TAG, BASES_FOLDER, DIGEST
from mynah.registry.base_store import base_lock, bases_uri
from mynah.registry.checkpoint_cache import cache_folder
from mynah.tracking.database import Database

ACTIVE = "active"  # MLflow's stage of a logged model that is not deleted; its rows stay when it is


ADDRESS = re.compile(rf"/{BASES_FOLDER}/({DIGEST.pattern})(?=/|\.lock$|$)")  # of a file or folder of a base model


def bases_of_models(models: Collection[str], database: Database) -> list[str]:
    """Return the digests of the base models whose adapters are all among `models`, ids of logged models."""
    theirs = {digest for digest, users in _users(database).items() if users & set(models)}
    return sorted(theirs - _used_by_others(models, database))


def _users(database: Database) -> dict[str, set[str]]:
    """The ids of the logged models that name each base model, also of deleted ones."""
    users: dict[str, set[str]] = {}
    for row in database.rows("logged_model_tags", "tag_key", [BASE_TAG]):
        users.setdefault(str(row["tag_value"]), set()).add(str(row["model_id"]))
    return users


def _used_by_others(models: Collection[str], database: Database) -> set[str]:
    """The digests of the base models of adapters that are not among `models`, also of those that are being registered."""
    others = {digest: users - set(models) for digest, users in _users(database).items()}
    rows = database.rows("logged_models", "model_id", sorted(set().union(*others.values())))
    active = {str(row["model_id"]) for row in rows if row["lifecycle_stage"] == ACTIVE}
    return {digest for digest, users in others.items() if users & active}


@contextlib.contextmanager
def locked_bases(items: Collection[ErasableItem], store: Store) -> Iterator[set[str]]:
    """Hold the locks of the base models that items are files of, so that none is registered with them; yield their digests."""
    digests = {digest for digest in map(_digest_of, items) if digest}
    with contextlib.ExitStack() as locks:
        for digest in sorted(digests):
            locks.enter_context(base_lock(store, digest))
        yield digests


def without_used_bases(
    items: Sequence[ErasableItem], locked: Collection[str], models: Collection[str], database: Database
) -> list[ErasableItem]:
    """Return the items without the files of base models that others use by now, or that are not locked.

    Args:
        items: What was found to erase.
        locked: The digests of the base models whose locks are held.
        models: The ids of the subject's logged models.
        database: MLflow's database.
    """
    erasable = {"", *locked} - _used_by_others(models, database)
    return [item for item in items if _digest_of(item) in erasable]


def _digest_of(item: ErasableItem) -> str:
    """The digest of the base model that an item is a file of; "" for none."""
    found = ADDRESS.search(item.address)
    return found[1] if found else ""


def addresses_of_bases(digests: Collection[str], store: Store) -> list[str]:
    """Return where base models are stored."""
    where = bases_uri(store) if digests else ""
    return [f"{where}/{digest}" for digest in digests]


def cached_bases(digests: Collection[str], store: Store) -> Iterator[ErasableItem]:
    """Yield the copies of base models on this machine."""
    folder = cache_folder(store) / BASES_FOLDER
    for digest in digests if store.folder else ():
        for path in (folder / digest, Path(f"{folder / digest}.lock")):
            yield from file_items(path)
