"""What lies in a work folder, or is reached from it, and is not searched when something is forgotten: the receipt names it."""

from collections.abc import Iterator
from pathlib import Path

from components.forget.local_files import is_foreign, is_work_folder
from mynah.core.walking import leads_out, listed, walk
from mynah.mlflow_client.store import ARTIFACTS, Store
from mynah.storage.work_folder import file_path, path_in
from mynah.tracking.database import Database

MODELS = "models"  # in the folder of artifacts, where MLflow has the files of logged models


def unsearched(store: Store, database: Database) -> Iterator[str]:
    """Yield the places that `find` leaves out, each with the reason.

    They are links that lead out, other work folders, and what no part of Mynah put into the folder or leads to: files of a run that the
    database of a backup does not know.

    Raises PlatformError when a folder cannot be listed.
    """
    folder = store.folder
    if not folder:
        return
    for path in walk(folder, lambda each: not is_foreign(each, folder)):
        if path.is_symlink():
            if leads_out(path, folder):
                yield f"{path}, a link that leads out of the work folder"
        elif is_work_folder(path):
            yield f"{path}, another work folder: name it with --workdir"
        elif is_foreign(path, folder):
            yield f"{path}, which is no part of the work folder"
    if not store.is_server:
        yield from (f"{path}, which no run and no model of the store names" for path in _unnamed(folder, database))


def _unnamed(folder: Path, database: Database) -> Iterator[Path]:
    """Yield what lies among the artifacts and belongs to no row of the database."""
    rows = [
        *(row["artifact_uri"] for row in database.rows_from("runs", "run_uuid", "")),
        *(row["artifact_location"] for row in database.rows_from("logged_models", "model_id", "")),
    ]
    paths = [path_in(folder, str(uri)) for uri in rows if uri and file_path(str(uri)) is not None]
    named = {place for path in paths for place in (path, *path.parents)}
    artifacts = folder / ARTIFACTS
    yield from (path for path in (*listed(artifacts), *listed(artifacts / MODELS)) if path not in named and path.name != MODELS)
