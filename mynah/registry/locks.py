"""The lock under which one bot's aliases move: it holds across processes, and across machines where the store is shared.

MLflow's aliases have no compare-and-set: of five writers at once none gets an error, and the last one wins. So whoever moves
them holds this lock and reads them again inside it.

    sqlite in a work folder     a file lock beside it
    an MLflow server            an advisory lock in the PostgreSQL of MLFLOW_BACKEND_STORE_URI (or of MYNAH_LOCK)
    a pod of a cluster          a Lease of Kubernetes in the pod's namespace, or MYNAH_LOCK=lease:NAMESPACE
"""

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.errors import InputError, PlatformError
from components.files import storage_errors
from components.store import Store, public, scrub

PATIENCE = 60.0  # seconds
SECONDS_BETWEEN_TRIES = 0.05
StillHeld = Callable[[], None]  # raises PlatformError when the lock was lost


def place_of_lock(store: Store) -> str:
    """Where the lock of a store is: file:FOLDER, postgresql://… or lease:NAMESPACE.

    Raises InputError where promotions from two machines could not see each other.
    """
    chosen = os.environ.get("MYNAH_LOCK", "")
    if chosen:
        if not chosen.startswith(("file:", "postgresql", "lease:")):
            raise InputError(
                f"MYNAH_LOCK is {public(chosen)[:80]!r}",
                "Use postgresql://USER:PASSWORD@HOST/DATABASE, lease:NAMESPACE or file:FOLDER.",
            )
        return chosen
    if store.database.startswith("sqlite:///"):
        return f"file:{Path(store.database.removeprefix('sqlite:///')).parent}"
    if store.database.startswith("postgresql"):
        return store.database
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "lease:"
    raise InputError(
        f"nothing tells where promotions through {store.shown} can lock each other out",
        "Set MLFLOW_BACKEND_STORE_URI to the server's PostgreSQL, MYNAH_LOCK=lease:NAMESPACE in Kubernetes, "
        "or MYNAH_LOCK=file:FOLDER where only this machine promotes.",
    )


@contextlib.contextmanager
def alias_lock(name: str, store: Store, patience: float = PATIENCE) -> Iterator[StillHeld]:
    """Hold the lock of the bot `name`; yields a check to make right before what must not happen twice.

    Raises PlatformError when another holds it for `patience` seconds, or the place of the lock cannot be reached.
    """
    where = place_of_lock(store)
    if where.startswith("file:"):
        lock = _file_lock(Path(where.removeprefix("file:")) / f".mynah-promote-{name}.lock", patience)
    elif where.startswith("postgresql"):
        lock = _postgres_lock(where, name, patience)
    else:
        from components.cluster import Cluster
        from components.lease import lease_lock

        cluster = Cluster.connect(os.environ.get("MYNAH_KUBE_CONTEXT", ""))
        lock = lease_lock(cluster, where.removeprefix("lease:"), f"mynah-promote-{name}", who_holds(), patience)
    with lock as still_held:
        yield still_held


def who_holds() -> str:
    """This process, for whoever waits for it."""
    return f"{socket.gethostname()}-{os.getpid()}"


@contextlib.contextmanager
def _file_lock(path: Path, patience: float) -> Iterator[StillHeld]:
    try:
        with storage_errors(path), FileLock(path, timeout=patience):
            yield lambda: None  # the kernel takes it from a process only by ending it
    except Timeout as error:
        raise held_too_long(str(path), patience) from error


@contextlib.contextmanager
def _postgres_lock(url: str, name: str, patience: float) -> Iterator[StillHeld]:
    """An advisory lock of a session: gone with the connection, whatever ends it.

    https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    """
    import psycopg2

    # One key a bot, the same on every machine: the lock's space is shared with whatever else uses the database.
    key = int.from_bytes(hashlib.sha256(f"mynah:promote:{name}".encode()).digest()[:8], "big", signed=True)
    with _postgres_errors(url):
        connection = psycopg2.connect(_plain(url), connect_timeout=5, application_name="mynah", keepalives_idle=10)
    try:
        connection.autocommit = True
        with _postgres_errors(url), connection.cursor() as cursor:
            _wait_for_lock(cursor, key, url, patience)

        def still_held() -> None:
            with _postgres_errors(url), connection.cursor() as cursor:
                cursor.execute("SELECT 1")  # the session lives, and so its lock does

        yield still_held
    finally:
        connection.close()


def _wait_for_lock(cursor: Any, key: int, url: str, patience: float) -> None:  # noqa: ANN401 - psycopg2 has no types
    deadline = time.monotonic() + patience
    while True:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
        if cursor.fetchone()[0]:
            return
        if time.monotonic() > deadline:
            raise held_too_long(f"the lock in {public(url)}", patience)
        time.sleep(SECONDS_BETWEEN_TRIES)


@contextlib.contextmanager
def _postgres_errors(url: str) -> Iterator[None]:
    import psycopg2

    try:
        yield
    except psycopg2.Error as error:
        cause = scrub(str(error).strip().split("\n")[0])[:200] or type(error).__name__
        raise PlatformError(
            f"the lock in {public(url)} failed: {cause}", "Is PostgreSQL running, and are user and password right?"
        ) from error


def _plain(url: str) -> str:
    """SQLAlchemy's address as libpq takes it, without the driver's name."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def held_too_long(what: str, patience: float) -> PlatformError:
    """The error for a lock that another did not let go."""
    return PlatformError(f"another promotion has held {what} for {patience:.0f} s", "Wait for it, and try again.")
