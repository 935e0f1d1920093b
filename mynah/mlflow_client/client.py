"""A client of the tracking store with bounded waits, and its errors as Mynah's."""

import contextlib
import functools
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.errors import PlatformError
from mynah.core.settings import (
    MLFLOW_DISABLE_TELEMETRY,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)
from mynah.core.wait_for_server import BUSY, when_reachable
from mynah.mlflow_client.store import EXPERIMENT, Store, is_server, public, scrub

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS_TO_OPEN = 8.0  # for a lock on sqlite


def client(tracking_uri: str) -> "MlflowClient":
    """Return a client of the store with bounded waits: MLflow's own defaults retry an unreachable server for four minutes."""
    check_responds(tracking_uri)
    for variable in (
        MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT, MLFLOW_DISABLE_TELEMETRY, MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    ):  # fmt: skip
        os.environ.setdefault(variable.name, variable.default)
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):  # after the import, which sets its own levels
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs the trace of an error that it raises
    with store_errors(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def experiment(store: Store) -> str:
    """Return the id of Mynah's experiment, and create it if it does not exist.

    Does not use `set_experiment`: the losers of its race silently log to experiment 0.
    """
    from mlflow.exceptions import MlflowException

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        existing = api.get_experiment_by_name(EXPERIMENT)
        if not existing:
            try:
                return str(api.create_experiment(EXPERIMENT, store.artifact_root or None))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                existing = api.get_experiment_by_name(EXPERIMENT)  # another process was first
    if existing and existing.lifecycle_stage == "active":
        return str(existing.experiment_id)
    raise PlatformError(
        f"the experiment {EXPERIMENT!r} was deleted from {store.shown}",
        f"Restore it: mlflow experiments restore --experiment-id {existing.experiment_id if existing else '…'}",
    )


@contextlib.contextmanager
def store_errors(tracking_uri: str) -> Iterator[None]:
    """Convert exceptions of MLflow and its database to a PlatformError; other exceptions pass through."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        cause = scrub(str(error).strip().split("\n")[0])[:200]
        if "readonly database" in str(error):
            raise PlatformError(
                f"the tracking store {public(tracking_uri)} cannot be written: its folder or its disk is read-only",
                "Copy the work folder to where you may write, and name the copy with --workdir.",
            ) from error
        raise PlatformError(
            f"the tracking store {public(tracking_uri)} failed: {cause}", "Is it running, and is there space on its disk?"
        ) from error


@functools.lru_cache(maxsize=8)
def check_responds(tracking_uri: str) -> None:
    """Raise PlatformError when the store does not respond. Checked once per process, since MLflow itself waits for minutes."""
    if is_server(tracking_uri):
        _check_server(tracking_uri)
    elif tracking_uri.startswith("sqlite:///"):
        _check_sqlite(Path(tracking_uri.removeprefix("sqlite:///")))


def _check_server(uri: str) -> None:
    import requests

    def health() -> requests.Response:
        answer = requests.get(f"{uri.rstrip('/')}/health", timeout=(3, 4), allow_redirects=False)
        if answer.status_code in BUSY:
            answer.raise_for_status()
        return answer

    try:
        response = when_reachable(health, f"the MLflow server {public(uri)}")
    except requests.HTTPError as error:
        response = error.response
    except requests.RequestException as error:
        raise PlatformError(
            f"the MLflow server {public(uri)} does not answer ({type(error).__name__})",
            "Is it running? MLFLOW_TRACKING_URI names it.",
        ) from error
    if response.status_code == 403:
        raise PlatformError(
            f"the MLflow server {public(uri)} refuses this address (403)", "Add host and port to its --allowed-hosts."
        )
    if response.status_code != 200:
        raise PlatformError(
            f"{public(uri)} answers /health with {response.status_code}", "Is it an MLflow server? MLFLOW_TRACKING_URI names it."
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
                    f"{path} has been locked by another process for {SECONDS_TO_OPEN:.0f} s", "Stop that process, or wait for it."
                ) from error


def all_pages(fetch: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield every item of a paginated MLflow search; `fetch`: the search by the token of a page, None for the first."""
    token = None
    while True:
        page = fetch(token)
        yield from page
        token = page.token
        if not token:
            return
