"""The lock for moving one bot's aliases. It holds across processes, and across machines where the store is shared.

MLflow's aliases have no compare-and-set: of five concurrent writers none gets an error, and the last one wins. So a writer holds this
lock and reads the aliases again inside it.

    sqlite in a work folder     a file lock beside it
    an MLflow server            an advisory lock in the PostgreSQL of MLFLOW_BACKEND_STORE_URI (or of MYNAH_LOCK)
    a pod of a cluster          a Lease of Kubernetes in the pod's namespace, or MYNAH_LOCK=lease:NAMESPACE

Only functions import psycopg2, which is of the extra `tracking`: the other locks do without it.
"""

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import storage_errors
from mynah.core.lock_types import StillHeld, held_too_long
from mynah.core.settings import KUBERNETES_SERVICE_HOST, MYNAH_KUBE_CONTEXT, MYNAH_LOCK
from mynah.core.wait_for_server import when_reachable
from mynah.kubernetes.cluster import Cluster
from mynah.kubernetes.lease import lease_lock
from mynah.mlflow_client.store import Store, public, scrub
from mynah.storage.work_folder import require_own_parts

SECONDS_TO_WAIT = 60.0
SECONDS_BETWEEN_TRIES = 0.05


def lock_location(store: Store) -> str:
    """Return where the lock of a store is: file:FOLDER, postgresql://… or lease:NAMESPACE.

    Raises InputError where promotions from two machines would not exclude each other.
    """
    configured = MYNAH_LOCK.get()
    if configured:
        if not configured.startswith(("file:", "postgresql", "lease:")):
            raise InputError(
                f"MYNAH_LOCK is {public(configured)[:80]!r}",
                "Use postgresql://USER:PASSWORD@HOST/DATABASE, lease:NAMESPACE or file:FOLDER.",
            )
        return configured
    if store.database.startswith("sqlite:///"):
        return f"file:{Path(store.database.removeprefix('sqlite:///')).parent}"
    if store.database.startswith("postgresql"):
        return store.database
    if KUBERNETES_SERVICE_HOST.get():
        return "lease:"
    raise InputError(
        f"no lock is configured that promotions through {store.shown} share",
        "Set MLFLOW_BACKEND_STORE_URI to the server's PostgreSQL, MYNAH_LOCK=lease:NAMESPACE in Kubernetes, "
        "or MYNAH_LOCK=file:FOLDER where only this machine promotes.",
    )


@contextlib.contextmanager
def alias_lock(name: str, store: Store, timeout: float = SECONDS_TO_WAIT) -> Iterator[StillHeld]:
    """Hold the lock of the bot `name`.

    Args:
        name: The bot.
        store: The store whose aliases move.
        timeout: Seconds to wait for another holder.

    Yields:
        A function to call right before an operation that must not happen twice; it raises PlatformError when the lock was lost.

    Raises:
        InputError: A part of the work folder is elsewhere, where nothing may be written.
        PlatformError: Another process holds the lock for `timeout` seconds, or the lock cannot be reached.
    """
    location = lock_location(store)
    if location.startswith("file:"):
        require_own_parts(store)
        lock = _file_lock(Path(location.removeprefix("file:")) / f".mynah-promote-{name}.lock", timeout)
    elif location.startswith("postgresql"):
        lock = _postgres_lock(location, name, timeout)
    else:
        cluster = Cluster.connect(MYNAH_KUBE_CONTEXT.get())
        lock = lease_lock(cluster, location.removeprefix("lease:"), f"mynah-promote-{name}", lock_holder(), timeout)
    with lock as still_held:
        yield still_held


def lock_holder() -> str:
    """Return the name of this process, for those that wait for it."""
    return f"{socket.gethostname()}-{os.getpid()}"


@contextlib.contextmanager
def _file_lock(path: Path, timeout: float) -> Iterator[StillHeld]:
    try:
        with storage_errors(path), FileLock(path, timeout=timeout):
            yield lambda: None  # the kernel releases it only when the process ends
    except Timeout as error:
        raise held_too_long(str(path), timeout) from error


@contextlib.contextmanager
def _postgres_lock(url: str, name: str, timeout: float) -> Iterator[StillHeld]:
    """Hold a session-level advisory lock, which ends with the connection.

    https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    """
    import psycopg2

    # One key per bot, the same on every machine; other users of the database share the key space.
    key = int.from_bytes(hashlib.sha256(f"mynah:promote:{name}".encode()).digest()[:8], "big", signed=True)
    with _postgres_errors(url):
        connection = when_reachable(
            lambda: psycopg2.connect(_plain(url), connect_timeout=5, application_name="mynah", keepalives_idle=10),
            f"the database {public(url)}",
        )
    try:
        connection.autocommit = True
        with _postgres_errors(url), connection.cursor() as cursor:
            _wait_for_lock(cursor, key, url, timeout)

        def still_held() -> None:
            with _postgres_errors(url), connection.cursor() as cursor:
                cursor.execute("SELECT 1")  # the lock lives as long as the session

        yield still_held
    finally:
        connection.close()


def _wait_for_lock(cursor: Any, key: int, url: str, timeout: float) -> None:  # noqa: ANN401 - psycopg2 has no types
    deadline = time.monotonic() + timeout
    while True:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
        if cursor.fetchone()[0]:
            return
        if time.monotonic() > deadline:
            raise held_too_long(f"the lock in {public(url)}", timeout)
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
    """Return SQLAlchemy's URL in libpq's form, without the driver's name."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"
