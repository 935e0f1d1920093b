"""The folders that `forget` may erase in, and the files that a journal or a receipt of a folder names after the folder moved."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.fetch.x.api_pages import pages_folder
from mynah.maintenance.erasers import ErasableItem, homes_of
from mynah.mlflow_client.store import ARTIFACTS, Store, own_folder
from mynah.storage.work_folder import below_artifacts
from mynah.training.state_backends import SCHEME
from mynah.training.state_store import state_locations

SEARCHED = "the work folder "  # begins the place in a receipt's `searched`
OWN_DATABASE = re.compile(r"sqlite:////.+/[^/]+")


def erasable_places(store: Store) -> list[Path]:
    """Return the folders in which `forget` may erase files.

    They are the work folder, the pages of timelines that were cut off, the training states of this environment, and a server's own
    artifacts on this machine.
    """
    states = [Path(place) for place in state_locations(store.folder) if not place.startswith(SCHEME)]
    return [*homes_of(store), pages_folder(), *states]


def recorded_folder(record: Mapping[str, Any]) -> Path | None:
    """Return the work folder in which a journal or a receipt was written; None where it is unknown.

    Earlier versions recorded it only in a receipt's store and places.
    """
    if folder := record.get("folder"):
        return Path(str(folder))
    if OWN_DATABASE.fullmatch(str(record.get("store", ""))):
        return own_folder(str(record["store"]))
    searched = [str(place) for place in record.get("searched", ())]
    return next((Path(place.removeprefix(SEARCHED)) for place in searched if place.startswith(SEARCHED)), None)


def in_folder(items: Sequence[ErasableItem], was: Path | None, store: Store) -> list[ErasableItem]:
    """Return items with the paths that their files have in the work folder as it lies now.

    Args:
        items: The items of a journal or a receipt.
        was: The work folder when it was written; None where that is unknown.
        store: The tracking store, with the work folder.
    """
    folder = store.folder
    if not folder:
        return list(items)
    was = was or (None if store.is_server else _folder_of(items))
    return [
        replace(item, address=str(_moved(Path(item.address), was, folder, store))) if item.kind == "file" else item
        for item in items
    ]


def _moved(path: Path, was: Path | None, folder: Path, store: Store) -> Path:
    if was and path.is_relative_to(was):
        return folder / path.relative_to(was)
    below = None if store.is_server else below_artifacts(path)  # an earlier version followed a copied database to the original
    return path if below is None else folder / ARTIFACTS / below


def _folder_of(items: Sequence[ErasableItem]) -> Path | None:
    """Return the work folder of which items name artifacts."""
    for path in (Path(item.address) for item in items if item.kind == "file"):
        if (below := below_artifacts(path)) is not None:
            return path.parents[len(below.parts)]
    return None
