"""Adopt a work folder that was moved, copied, restored from a backup or mounted elsewhere: its database names where it lies now.

Mynah itself reads each address as one in the folder (mynah/storage/work_folder.py). The database is changed for MLflow, whose page and
loaders follow the addresses, and which derives those of new runs and models from the experiment's.

https://github.com/mlflow/mlflow/issues/3144
"""

import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mynah.core.errors import PlatformError
from mynah.mlflow_client.client import SECONDS_TO_OPEN, client, experiment, store_errors
from mynah.mlflow_client.store import ARTIFACTS, DATABASE, EXPERIMENT, Store
from mynah.storage.work_folder import below_artifacts, file_path, path_in

ADDRESSES = (
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
    ("model_versions", "source"), ("model_versions", "storage_location"),
)  # fmt: skip
MOVED_TAG = "mynah.moved_from"  # on the experiment: where the work folder's artifacts were earlier, the latest first
MAX_ROOTS = 10  # in the tag


def adopt(store: Store) -> None:
    """Change the addresses in a work folder's database to those of where the folder lies, in one transaction.

    Only addresses below the experiment's own are changed. Call it under the lock of the work folder.

    Args:
        store: The store of a work folder.

    Raises:
        PlatformError: The database is locked, or fails.
    """
    if not store.folder or not (path := store.folder / DATABASE).is_file():
        return
    if not path.resolve().is_relative_to(store.folder):  # a link out: the database of another folder
        return
    try:
        _give_own_copy(path)
        with contextlib.closing(sqlite3.connect(path, timeout=SECONDS_TO_OPEN)) as database:
            was = _recorded_root(database)
            if was and was != store.artifact_root:
                _change_all(database, was, store.artifact_root)
    except sqlite3.Error as error:
        raise PlatformError(
            f"{path} cannot be changed to where it lies now: {error}", "Stop what uses it, and run again; is its disk full?"
        ) from error


def left_behind(store: Store, uris: Iterable[str]) -> list[Path]:
    """Return the folders of recorded artifacts that are not in the work folder, but still where the work folder was earlier.

    An earlier version of Mynah wrote them there after the folder had been moved; nothing outside the folder is read or erased.

    Args:
        store: The tracking store.
        uris: The addresses that it recorded.
    """
    if not store.folder or store.is_server:
        return []
    api, found = client(store.tracking_uri), dict[Path, None]()
    with store_errors(store.tracking_uri):
        roots = [file_path(root) for root in _roots(api.get_experiment(experiment(store)).tags.get(MOVED_TAG, ""))]
    for path in (path_in(store.folder, uri) for uri in uris if roots and file_path(uri) is not None):
        below = below_artifacts(path)
        if below and path.is_relative_to(store.folder) and not path.exists():
            found |= dict.fromkeys(root / below for root in roots if root and (root / below).exists())
    return list(found)


def _give_own_copy(path: Path) -> None:
    """Replace a database that is a hard link by a copy: as `cp -al` makes it, the original's would change with it."""
    if path.stat().st_nlink == 1:
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        with contextlib.closing(sqlite3.connect(path)) as shared, contextlib.closing(sqlite3.connect(name)) as own:
            shared.backup(own)
        Path(name).chmod(path.stat().st_mode & 0o777)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _recorded_root(database: sqlite3.Connection) -> str:
    """Return the address of the work folder's artifacts when the database was written; "" where it names no work folder."""
    try:
        found = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
    except sqlite3.DatabaseError:  # MLflow has not created the table yet, or reports what is wrong
        return ""
    uri = str(found[0] or "") if found else ""
    path = file_path(uri)
    return uri if path is not None and path.name == ARTIFACTS else ""


def _change_all(database: sqlite3.Connection, was: str, now: str) -> None:
    """Change every address that begins with `was` so that it begins with `now`, and note `was`."""
    with database:
        database.execute("BEGIN IMMEDIATE")
        for table, column in ADDRESSES:
            if column in {str(row[1]) for row in database.execute(f"PRAGMA table_info({table})")}:
                change = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) IN (?, ?)"  # noqa: S608
                database.execute(change, (now, len(was) + 1, len(was) + 1, was, f"{was}/"))
        _note(database, was, now)


def _note(database: sqlite3.Connection, was: str, now: str) -> None:
    [identity] = database.execute("SELECT experiment_id FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
    select = "SELECT value FROM experiment_tags WHERE experiment_id = ? AND key = ?"
    noted = database.execute(select, (identity, MOVED_TAG)).fetchone()
    roots = [root for root in _roots(noted[0] if noted else "") if root not in (was, now)]
    value = json.dumps([was, *roots][:MAX_ROOTS])
    database.execute("DELETE FROM experiment_tags WHERE experiment_id = ? AND key = ?", (identity, MOVED_TAG))
    database.execute("INSERT INTO experiment_tags (experiment_id, key, value) VALUES (?, ?, ?)", (identity, MOVED_TAG, value))


def _roots(tag: str) -> list[str]:
    """Return the addresses in the tag; [] for an invalid one: anybody can write tags."""
    try:
        roots = json.loads(tag or "[]")
    except (ValueError, RecursionError):
        return []
    return [root for root in roots if isinstance(root, str) and file_path(root)] if isinstance(roots, list) else []
