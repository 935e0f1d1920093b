"""The base models that only a subject's adapters use: they are erased with these, for a base model may be a folder with more of the subject."""

from collections.abc import Collection, Iterator
from pathlib import Path

from mynah.maintenance.erasers import ErasableItem, file_items
from mynah.mlflow_client.store import Store
from mynah.registry.base_names import BASE_TAG, BASES_FOLDER
from mynah.registry.base_store import bases_uri
from mynah.registry.checkpoint_cache import cache_folder
from mynah.tracking.database import Database

ACTIVE = "active"  # MLflow's stage of a logged model that is not deleted; its rows stay when it is


def bases_of_models(models: Collection[str], database: Database) -> list[str]:
    """Return the digests of the base models whose adapters are all among `models`, ids of logged models."""
    digests: dict[str, set[str]] = {}
    for row in database.rows("logged_model_tags", "tag_key", [BASE_TAG]):
        digests.setdefault(str(row["tag_value"]), set()).add(str(row["model_id"]))
    theirs = {digest: users - set(models) for digest, users in digests.items() if users & set(models)}
    others = database.rows("logged_models", "model_id", sorted(set().union(*theirs.values())))
    active = {str(row["model_id"]) for row in others if row["lifecycle_stage"] == ACTIVE}
    return sorted(digest for digest, users in theirs.items() if not users & active)


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
