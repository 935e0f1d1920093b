"""Open the tracking store of a work folder or of the server that the environment names."""

from pathlib import Path

from filelock import FileLock, Timeout

from mynah.core.errors import PlatformError
from mynah.core.file_system import require_file_system
from mynah.core.files import is_writable, make_folder, storage_errors
from mynah.mlflow_client.client import check_responds, client, experiment, store_errors
from mynah.mlflow_client.store import DATABASE, Store, server_address, unsent_folder
from mynah.storage.open import open_artifact_store
from mynah.storage.work_folder import require_own_parts
from mynah.tracking.moved_folder import adopt
from mynah.tracking.outbox import send_unsent


def open_store(workdir: Path) -> Store:
    """Open the server that the environment names, else the store of `workdir`, and create the experiment if it does not exist.

    Call it once per process. For sqlite it holds a lock: a new store does not survive two processes that open it at the same time. A work
    folder that was moved or copied is adopted. A folder that this process may not write is opened for reading, as it is.
    Raises PlatformError within about ten seconds, or after MYNAH_WAIT_SECONDS (a minute in a pod), when the store does not respond or is locked.
    """
    if uri := server_address():
        store = Store(uri, folder=workdir.resolve())
        experiment(store)
        _send_unsent(store)
        return store
    store = Store.in_folder(workdir)
    if _is_read_only(workdir):
        return store
    if not (workdir / DATABASE).exists():
        require_own_parts(store)  # a link to nothing would have the database made elsewhere
    make_folder(workdir)
    try:
        if not (workdir / DATABASE).exists():
            require_file_system(workdir)
        with storage_errors(workdir), FileLock(workdir / ".mlflow.lock", timeout=60):
            check_responds(store.tracking_uri)
            adopt(store)
            experiment(store)
    except Timeout as error:
        raise PlatformError(f"another mynah has been opening {workdir} for a minute", "Wait for it, or stop it.") from error
    _send_unsent(store)
    return store


def _is_read_only(workdir: Path) -> bool:
    """Return whether a work folder holds a store that this process may only read."""
    database = workdir / DATABASE
    return database.is_file() and not (is_writable(workdir) and is_writable(database))


def check_artifacts(store: Store) -> None:
    """Check before the work that its results can be stored.

    Raises PlatformError when the store's artifacts cannot be reached, and InputError for an unsupported kind of store, and for a work
    folder with a part that is elsewhere.
    """
    require_own_parts(store)
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        root = str(api.get_experiment(experiment(store)).artifact_location)
    open_artifact_store(root, store.tracking_uri).check()


def _send_unsent(store: Store) -> None:
    if store.folder and unsent_folder(store.folder).is_dir():
        send_unsent(store, unsent_folder(store.folder))
