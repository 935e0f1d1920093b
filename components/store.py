"""Where runs and the registry lie: a work folder's sqlite, or an MLflow server; and a client of it whose waits end.

Which one is a matter of configuration alone. MLflow's own variables say it: MLFLOW_TRACKING_URI (a server),
MLFLOW_BACKEND_STORE_URI (the server's database, for locks and for what only a database can erase) and
MLFLOW_ARTIFACTS_DESTINATION (the bucket behind a server that hands artifacts through).
"""

import contextlib
import functools
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from components.errors import InputError, PlatformError
from components.files import make_folder, storage_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "mynah"
BOT_TAG = "mynah.bot"  # whose a pipeline run is; and tells Mynah's registered models from others in the same registry
SECONDS_TO_OPEN = 8.0  # for a server's first answer, or for a lock on sqlite: a person hears of a dead store within ten


@dataclass(frozen=True, slots=True)
class Store:
    """Where MLflow keeps runs, and where it keeps their files."""

    tracking_uri: str
    artifact_root: str = ""  # "" lets the server decide
    folder: Path | None = None  # the work folder, for caches and files of this machine; None in a pod

    @classmethod
    def in_folder(cls, workdir: Path) -> "Store":
        """The laptop's: sqlite and a folder. Raises InputError for a path that sqlite's address cannot hold."""
        root = workdir.resolve()
        if "?" in str(root):
            raise InputError(f"{str(root)!r} holds '?', which cannot stand in the address of a store", "Name another --workdir.")
        return cls(f"sqlite:///{root / 'mlflow.db'}", (root / "mlartifacts").as_uri(), root)

    @classmethod
    def from_environment(cls) -> "Store":
        """The one that MLFLOW_TRACKING_URI names: how a pipeline's step is told. Raises InputError when it is not set."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri:
            raise InputError("MLFLOW_TRACKING_URI is not set, so there is no registry", "Set it to the MLflow server's address.")
        if uri.startswith("sqlite:///"):
            return cls.in_folder(Path(uri.removeprefix("sqlite:///")).parent)
        return cls(uri)

    @property
    def is_server(self) -> bool:
        """Whether an MLflow server stands between us and the database."""
        return is_server(self.tracking_uri)

    @property
    def database(self) -> str:
        """SQLAlchemy's address of the database itself; "" where nobody told it."""
        return os.environ.get("MLFLOW_BACKEND_STORE_URI", "") if self.is_server else self.tracking_uri

    @property
    def shown(self) -> str:
        """The address without the user name and password that it may hold."""
        return public(self.tracking_uri)


def server_address() -> str:
    """The MLflow server that the environment names, or "". Raises InputError for an address that is none of a server."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or is_server(uri):
        return uri
    raise InputError(
        f"MLFLOW_TRACKING_URI is {public(uri)!r}, which is no MLflow server",
        "Set it to http://… or https://…, or unset it: then --workdir holds the store.",
    )


def is_server(uri: str) -> bool:
    """Whether `uri` is an MLflow server's."""
    return uri.startswith(("http://", "https://"))


def scrub(text: str) -> str:
    """`text` without the user names and passwords of the addresses in it: the words of libraries quote them whole."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def public(uri: str) -> str:
    """A URI without the user name and password that it may hold."""
    scheme, slashes, rest = uri.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def open_store(workdir: Path) -> Store:
    """The server that the environment names, else the store of `workdir`; the experiment is made when it is not there.

    Once, and for sqlite under a lock: a new store does not survive two that open it at the same time.
    Raises PlatformError within about ten seconds when it does not answer or is locked.
    """
    if uri := server_address():
        store = Store(uri, folder=workdir.resolve())
        experiment(store)
        _send_kept(store)
        return store
    store = Store.in_folder(workdir)
    make_folder(workdir)
    try:
        with storage_errors(workdir), FileLock(workdir / ".mlflow.lock", timeout=60):
            experiment(store)
    except Timeout as error:
        raise PlatformError(f"another mynah has been opening {workdir} for a minute", "Wait for it, or end it.") from error
    _send_kept(store)
    return store


def check_artifacts(store: Store) -> None:
    """Raise PlatformError when the store's artifacts cannot be reached, or InputError for a kind that Mynah does not know."""
    from components.artifacts import place

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        root = str(api.get_experiment(experiment(store)).artifact_location)
    place(root, store.tracking_uri).check()


def unsent_folder(workdir: Path) -> Path:
    """Where steps of a work folder keep the records that they could not send."""
    return workdir / ".unsent"


def cards_folder(workdir: Path) -> Path:
    """Where the cards of a work folder's bots are written that nobody named a folder for: a folder per bot."""
    return workdir / "cards"


def _send_kept(store: Store) -> None:
    if store.folder and unsent_folder(store.folder).is_dir():
        from components.outbox import send_kept

        send_kept(store, unsent_folder(store.folder))


def client(tracking_uri: str) -> "MlflowClient":
    """A client of the store, with waits that end: MLflow's own defaults retry a dead server for four minutes."""
    _check_answers(tracking_uri)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for results
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):  # after the import, which sets levels of its own
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with store_errors(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def experiment(store: Store) -> str:
    """The id of Mynah's experiment, made when it is not there.

    Never by `set_experiment`, whose losers of a race log to experiment 0 in silence.
    """
    from mlflow.exceptions import MlflowException

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        found = api.get_experiment_by_name(EXPERIMENT)
        if not found:
            try:
                return str(api.create_experiment(EXPERIMENT, store.artifact_root or None))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = api.get_experiment_by_name(EXPERIMENT)  # another was first
    if found and found.lifecycle_stage == "active":
        return str(found.experiment_id)
    raise PlatformError(
        f"the experiment {EXPERIMENT!r} was deleted from {store.shown}",
        f"Restore it: mlflow experiments restore --experiment-id {found.experiment_id if found else '…'}",
    )


@contextlib.contextmanager
def store_errors(tracking_uri: str) -> Iterator[None]:
    """MLflow's exceptions, and its database's, as a PlatformError; whatever else the block raises passes through."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        cause = scrub(str(error).strip().split("\n")[0])[:200]
        raise PlatformError(
            f"the tracking store {public(tracking_uri)} failed: {cause}", "Is it running, and is there space on its disk?"
        ) from error


@functools.lru_cache(maxsize=8)
def _check_answers(tracking_uri: str) -> None:
    """Raise PlatformError when the store does not answer: asked once a process, for MLflow itself waits for minutes."""
    if is_server(tracking_uri):
        _check_server(tracking_uri)
    elif tracking_uri.startswith("sqlite:///"):
        _check_sqlite(Path(tracking_uri.removeprefix("sqlite:///")))


def _check_server(uri: str) -> None:
    import requests

    began = time.monotonic()
    while True:
        try:
            answer = requests.get(f"{uri.rstrip('/')}/health", timeout=(3, 4), allow_redirects=False)
        except requests.RequestException as error:
            if time.monotonic() - began < SECONDS_TO_OPEN / 2 and not isinstance(error, requests.Timeout):
                time.sleep(1)  # it may be starting again
                continue
            raise PlatformError(
                f"the MLflow server {public(uri)} does not answer ({type(error).__name__})",
                "Is it running? MLFLOW_TRACKING_URI names it.",
            ) from error
        break
    if answer.status_code == 403:
        raise PlatformError(
            f"the MLflow server {public(uri)} refuses this address (403)", "Add host and port to its --allowed-hosts."
        )
    if answer.status_code != 200:
        raise PlatformError(
            f"{public(uri)} answers /health with {answer.status_code}", "Is it an MLflow server? MLFLOW_TRACKING_URI names it."
        )


def _check_sqlite(path: Path) -> None:
    if not path.is_file() or not path.stat().st_size:
        return
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        contextlib.closing(sqlite3.connect(path, timeout=SECONDS_TO_OPEN)) as database,
    ):
        try:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise PlatformError(
                    f"{path} has been locked by another process for {SECONDS_TO_OPEN:.0f} s", "End that process, or wait for it."
                ) from error
