"""A queue of records for MLflow, sent by a thread of its own: an unreachable tracking server delays nothing and loses nothing.

Operations are plain JSON and may be sent twice without harm, so unsent ones can be written to a file and sent by a later process.
Metric points carry their own time, so MLflow treats repeated points as one.

Importing mlflow takes seconds, so only functions import it.
"""

import contextlib
import json
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mynah.core.errors import InputError, MynahError, PlatformError, StoreRefused
from mynah.core.files import make_folder, storage_errors
from mynah.core.progress import notify
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import Store
from mynah.storage.open import open_artifact_store
from mynah.tracking.tags import attempts

if TYPE_CHECKING:
    from mlflow import MlflowClient

Operation = dict[str, Any]  # {"run", "do", …}: see `_DO`
BATCH = 500  # metric points per call; MLflow allows 1,000
SECONDS_BETWEEN_SENDS = 2.0
MAX_PAUSE = 15.0  # seconds between two attempts
REFUSED = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")


class Outbox:
    """A queue of operations on runs, sent in order by a thread. Call `close` at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[Operation] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._stopped = False
        self._error: MynahError | None = None
        self._thread = threading.Thread(target=self._send_all, daemon=True, name="outbox")
        self._thread.start()

    def add(self, operation: Operation) -> None:
        """Queue an operation; returns immediately."""
        with self._changed:
            self._queue.append(operation)
            if len(self._queue) >= BATCH or operation["do"] != "metrics":
                self._changed.notify()

    def do_now(self, operation: Operation) -> None:
        """Send an operation immediately. Raises PlatformError, or StoreRefused when MLflow rejects it."""
        with store_errors(self._store.tracking_uri):
            _DO[operation["do"]](self._store, client(self._store.tracking_uri), operation)

    def close(self, timeout: float) -> list[Operation]:
        """Wait until everything is sent, for at most `timeout` seconds, and return the unsent operations."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            self._stopped = True
            self._changed.notify()
            return list(self._queue)

    @property
    def error(self) -> MynahError | None:
        """The error of the last attempt, or None."""
        return self._error

    def _send_all(self) -> None:
        pause = 1.0
        while batch := self._next():
            try:
                with store_errors(self._store.tracking_uri):
                    apply(self._store, batch)
            except MynahError as error:
                if not self._error:
                    notify(f"{error.problem}; the run's records are queued until it is back", "warning")
                self._error = error
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped, pause)
                pause = min(2 * pause, MAX_PAUSE)
                continue
            except Exception as error:  # noqa: BLE001 - a record that cannot be sent must not end the step
                notify(f"a record of the run was not stored: {type(error).__name__}: {error}", "warning")
            if self._error:
                notify("the tracking store is back, and the records are sent")
            self._error, pause = None, 1.0
            with self._changed:
                for _ in range(batch.pop("count", 1)):
                    self._queue.popleft()

    def _next(self) -> Operation:
        """Return the next operation, with metric points of one run joined; {} at the end."""
        with self._changed:
            while not self._queue and not self._closing and not self._stopped:
                self._changed.wait(SECONDS_BETWEEN_SENDS)
            if self._stopped or not self._queue:
                return {}
            first = self._queue[0]
            if first["do"] != "metrics":
                return dict(first)
            if len(self._queue) < BATCH and not self._closing:
                self._changed.wait(SECONDS_BETWEEN_SENDS)  # wait for more points, to send them in one call
            return _joined(first, self._queue)


def _joined(first: Operation, queue: "deque[Operation]") -> Operation:
    points: list[Any] = []
    count = 0
    for operation in queue:
        alike = all(operation.get(key) == first.get(key) for key in ("run", "do", "again"))
        if not alike or (points and len(points) + len(operation["points"]) > BATCH):
            break
        points += operation["points"]
        count += 1
    return {**first, "points": points, "count": count}


def apply(store: Store, operation: Operation) -> None:
    """Send one operation. Operations that MLflow rejects are dropped with a warning; raises PlatformError for other failures."""
    from mlflow.exceptions import MlflowException

    try:
        _DO[operation["do"]](store, client(store.tracking_uri), operation)
    except MlflowException as error:
        if error.error_code not in REFUSED:
            raise
        cause = str(error).strip().split("\n")[0][:200]
        notify(f"MLflow rejects a record of the run ({operation['do']}): {cause}", "warning")
    except (InputError, StoreRefused) as error:  # a missing file, or a bucket that denies access
        notify(f"a record of the run was not stored: {error.problem}", "warning")


def _params(_: Store, api: "MlflowClient", operation: Operation) -> None:
    """Record parameters. Where a retried step changes a value, the new one gets the attempt's number in its name."""
    from mlflow.entities import Param

    run, attempt = operation["run"], operation.get("attempt", 1)
    recorded = api.get_run(run).data.params if attempt > 1 else {}
    renamed = {
        f"{key}.attempt_{attempt}" if recorded.get(key, value) != value else key: value
        for key, value in operation["values"].items()
    }
    api.log_batch(run, params=[Param(key, value) for key, value in renamed.items()])


def _metrics(_: Store, api: "MlflowClient", operation: Operation) -> None:
    """Record points of curves: [key, value, milliseconds, step]. A retried step sends only points that its earlier attempts did not."""
    from mlflow.entities import Metric

    points = operation["points"]
    if operation.get("again"):
        keys = {point[0] for point in points}
        recorded = {(key, past.step) for key in keys for past in api.get_metric_history(operation["run"], key)}
        points = [point for point in points if (point[0], point[3]) not in recorded]
    if points:
        api.log_batch(operation["run"], metrics=[Metric(*point) for point in points])


def _tags(_: Store, api: "MlflowClient", operation: Operation) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(key, value) for key, value in operation["values"].items()]
    for start in range(0, len(tags), 100):  # MLflow's maximum per call
        api.log_batch(operation["run"], tags=tags[start : start + 100])


def _dataset(_: Store, api: "MlflowClient", operation: Operation) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**operation["dataset"])
    api.log_inputs(operation["run"], [DatasetInput(dataset, [InputTag("mlflow.data.context", operation["context"])])])


def _artifacts(store: Store, api: "MlflowClient", operation: Operation) -> None:
    if api.get_run(operation["run"]).info.lifecycle_stage != "active":  # forgotten or pruned: do not store its files again
        raise InputError(f"the run {operation['run']} was deleted", "")
    target = open_artifact_store(operation["uri"], store.tracking_uri)
    for name, path in operation["files"].items():
        target.put(name, Path(path))


def _end(_: Store, api: "MlflowClient", operation: Operation) -> None:
    if attempts(api.get_run(operation["run"]).data.tags) > operation.get("attempt", 1):
        return  # the latest attempt sets the status
    api.set_terminated(operation["run"], operation["status"], operation["time"])


_DO: dict[str, Callable[[Store, "MlflowClient", Operation], None]] = {
    "params": _params, "metrics": _metrics, "tags": _tags, "dataset": _dataset, "artifacts": _artifacts, "end": _end,
}  # fmt: skip


def save_unsent(folder: Path, run: str, operations: list[Operation]) -> None:
    """Write operations into a folder, with copies of their files, for `send_unsent` in a later process.

    Args:
        folder: Where to write them, in a folder of their own.
        run: The id of the run, part of that folder's name.
        operations: The operations; their file paths are changed to the copies' names: the folder may be moved before they are sent.

    Raises:
        PlatformError: The disk is full or not writable.
    """
    target = folder / f"{run}-{time.time_ns()}"
    make_folder(target)
    with storage_errors(target):
        for number, operation in enumerate(operations):
            for name, path in list(operation.get("files", {}).items()):
                copy = target / f"{number}-{name.replace('/', '-')}"
                try:
                    shutil.copyfile(path, copy)
                    operation["files"] = {**operation["files"], name: copy.name}
                except FileNotFoundError:
                    operation["files"] = {other: source for other, source in operation["files"].items() if other != name}
        (target / "operations.tmp").write_text("".join(json.dumps(operation) + "\n" for operation in operations), "utf-8")
        (target / "operations.tmp").replace(target / "operations.jsonl")


def _with_copies(operation: Operation, folder: Path) -> Operation:
    """Return an operation with the copies of its files in `folder`; earlier versions recorded where the folder was then."""
    if "files" not in operation:
        return operation
    return {**operation, "files": {name: str(folder / Path(path).name) for name, path in operation["files"].items()}}


def send_unsent(store: Store, folder: Path) -> None:
    """Send what earlier processes saved in `folder`, oldest first. After a failure the rest stays for the next time."""
    if not folder.is_dir():
        return
    with contextlib.suppress(Timeout), FileLock(folder / ".lock", timeout=0):
        for target in sorted(folder.glob("*/operations.jsonl"), key=lambda path: path.parent.stat().st_mtime):
            try:
                with store_errors(store.tracking_uri):
                    for line in target.read_text("utf-8").split("\n"):
                        if line:
                            apply(store, _with_copies(json.loads(line), target.parent))
            except PlatformError as error:
                notify(f"records of a run still wait: {error.problem}", "warning")
                continue
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                target.rename(target.with_name("damaged.jsonl"))  # kept for diagnosis, not retried
                notify(f"records of a run in {target.parent} are damaged, and are not sent ({type(error).__name__})", "warning")
                continue
            shutil.rmtree(target.parent)
            notify("records of a run that waited for the tracking store are sent")
