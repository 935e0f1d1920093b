"""What a step has to tell MLflow, sent by a thread of its own: a tracking server that is away delays nothing and loses nothing.

Operations are plain JSON and may be sent twice without harm, so that what could not be sent can be written to a file and sent
by a later process. Metric points carry their own time: MLflow takes equal points for one.
"""

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from components.artifacts import place
from components.errors import InputError, MynahError, PlatformError, StoreRefused
from components.events import say
from components.files import make_folder, storage_errors
from components.store import Store, client, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

Operation = dict[str, Any]  # {"run", "do", …}: see `_DO`
BATCH = 500  # metric points a call; MLflow takes 1,000
SECONDS_BETWEEN_SENDS = 2.0
LONGEST_PAUSE = 15.0  # seconds between two tries
REFUSED = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")


class Outbox:
    """A queue of operations on runs, emptied in order by a thread. `close` must be called."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[Operation] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._gave_up = False
        self._error: MynahError | None = None
        self._thread = threading.Thread(target=self._send_all, daemon=True, name="outbox")
        self._thread.start()

    def add(self, operation: Operation) -> None:
        """Queue an operation; returns at once."""
        with self._changed:
            self._waiting.append(operation)
            if len(self._waiting) >= BATCH or operation["do"] != "metrics":
                self._changed.notify()

    def do_now(self, operation: Operation) -> None:
        """Do an operation at once. Raises PlatformError, or StoreRefused when MLflow does not take it."""
        with store_errors(self._store.tracking_uri):
            _DO[operation["do"]](self._store, client(self._store.tracking_uri), operation)

    def close(self, patience: float) -> list[Operation]:
        """Wait until all is sent, for `patience` seconds at most, and return what was not."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience)
        with self._changed:
            self._gave_up = True
            self._changed.notify()
            return list(self._waiting)

    @property
    def error(self) -> MynahError | None:
        """Why the last try failed."""
        return self._error

    def _send_all(self) -> None:
        pause = 1.0
        while batch := self._next():
            try:
                with store_errors(self._store.tracking_uri):
                    apply(self._store, batch)
            except MynahError as error:
                if not self._error:
                    say(f"{error.problem}; the run's records wait until it is back", "warning")
                self._error = error
                with self._changed:
                    self._changed.wait_for(lambda: self._gave_up, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except Exception as error:  # noqa: BLE001 - a record that cannot be kept must not end the work it is about
                say(f"a record of the run was not kept: {type(error).__name__}: {error}", "warning")
            if self._error:
                say("the tracking store is back, and the records are sent")
            self._error, pause = None, 1.0
            with self._changed:
                for _ in range(batch.pop("count", 1)):
                    self._waiting.popleft()

    def _next(self) -> Operation:
        """The next operation, metric points of one run joined; {} when there will be none."""
        with self._changed:
            while not self._waiting and not self._closing and not self._gave_up:
                self._changed.wait(SECONDS_BETWEEN_SENDS)
            if self._gave_up or not self._waiting:
                return {}
            first = self._waiting[0]
            if first["do"] != "metrics":
                return dict(first)
            if len(self._waiting) < BATCH and not self._closing:
                self._changed.wait(SECONDS_BETWEEN_SENDS)  # more points come; one call for all of them
            return _joined(first, self._waiting)


def _joined(first: Operation, waiting: "deque[Operation]") -> Operation:
    points: list[Any] = []
    count = 0
    for operation in waiting:
        alike = all(operation.get(key) == first.get(key) for key in ("run", "do", "again"))
        if not alike or (points and len(points) + len(operation["points"]) > BATCH):
            break
        points += operation["points"]
        count += 1
    return {**first, "points": points, "count": count}


def apply(store: Store, operation: Operation) -> None:
    """Do one operation. What MLflow refuses for good is told once and dropped; raises PlatformError for all else."""
    from mlflow.exceptions import MlflowException

    try:
        _DO[operation["do"]](store, client(store.tracking_uri), operation)
    except MlflowException as error:
        if error.error_code not in REFUSED:
            raise
        cause = str(error).strip().split("\n")[0][:200]
        say(f"MLflow does not take a record of the run ({operation['do']}): {cause}", "warning")
    except (InputError, StoreRefused) as error:  # a file that is gone; a bucket that does not let us in
        say(f"a record of the run was not kept: {error.problem}", "warning")


def _params(_: Store, api: "MlflowClient", operation: Operation) -> None:
    """A parameter that a retried step gives another value stands beside the first one, with the attempt's number."""
    from mlflow.entities import Param

    run, attempt = operation["run"], operation.get("attempt", 1)
    there = api.get_run(run).data.params if attempt > 1 else {}
    renamed = {
        f"{key}.attempt_{attempt}" if there.get(key, value) != value else key: value for key, value in operation["values"].items()
    }
    api.log_batch(run, params=[Param(key, value) for key, value in renamed.items()])


def _metrics(_: Store, api: "MlflowClient", operation: Operation) -> None:
    """Points of curves: [key, value, milliseconds, step]. Of a retried step only those that its earlier attempts did not send."""
    from mlflow.entities import Metric

    points = operation["points"]
    if operation.get("again"):
        keys = {point[0] for point in points}
        there = {(key, past.step) for key in keys for past in api.get_metric_history(operation["run"], key)}
        points = [point for point in points if (point[0], point[3]) not in there]
    if points:
        api.log_batch(operation["run"], metrics=[Metric(*point) for point in points])


def _tags(_: Store, api: "MlflowClient", operation: Operation) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(key, value) for key, value in operation["values"].items()]
    for start in range(0, len(tags), 100):  # the most a call takes
        api.log_batch(operation["run"], tags=tags[start : start + 100])


def _dataset(_: Store, api: "MlflowClient", operation: Operation) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    found = Dataset(**operation["dataset"])
    api.log_inputs(operation["run"], [DatasetInput(found, [InputTag("mlflow.data.context", operation["context"])])])


def _artifacts(store: Store, api: "MlflowClient", operation: Operation) -> None:
    if api.get_run(operation["run"]).info.lifecycle_stage != "active":  # forgotten or pruned: its files must not come back
        raise InputError(f"the run {operation['run']} was deleted", "")
    target = place(operation["uri"], store.tracking_uri)
    for name, path in operation["files"].items():
        target.put(name, Path(path))


def _end(_: Store, api: "MlflowClient", operation: Operation) -> None:
    from components.tracking import attempts

    if attempts(api.get_run(operation["run"]).data.tags) > operation.get("attempt", 1):
        return  # a later attempt has the last word
    api.set_terminated(operation["run"], operation["status"], operation["time"])


_DO: dict[str, Callable[[Store, "MlflowClient", Operation], None]] = {
    "params": _params, "metrics": _metrics, "tags": _tags, "dataset": _dataset, "artifacts": _artifacts, "end": _end,
}  # fmt: skip


def keep_for_later(folder: Path, run: str, operations: list[Operation]) -> None:
    """Write `operations` into `folder`, with copies of their files, for `send_kept` of a later process."""
    import shutil

    target = folder / f"{run}-{time.time_ns()}"
    make_folder(target)
    with storage_errors(target):
        for number, operation in enumerate(operations):
            for name, path in list(operation.get("files", {}).items()):
                kept = target / f"{number}-{name.replace('/', '-')}"
                try:
                    shutil.copyfile(path, kept)
                    operation["files"] = {**operation["files"], name: str(kept)}
                except FileNotFoundError:
                    operation["files"] = {each: where for each, where in operation["files"].items() if each != name}
        (target / "operations.tmp").write_text("".join(json.dumps(each) + "\n" for each in operations), "utf-8")
        (target / "operations.tmp").replace(target / "operations.jsonl")


def send_kept(store: Store, folder: Path) -> None:
    """Send what earlier processes kept in `folder`, oldest first. A store that fails again leaves the rest for the next time."""
    if not folder.is_dir():
        return
    import shutil

    with contextlib.suppress(Timeout), FileLock(folder / ".lock", timeout=0):
        for target in sorted(folder.glob("*/operations.jsonl"), key=lambda path: path.parent.stat().st_mtime):
            try:
                with store_errors(store.tracking_uri):
                    for line in target.read_text("utf-8").split("\n"):
                        if line:
                            apply(store, json.loads(line))
            except PlatformError as error:
                say(f"records of a run still wait: {error.problem}", "warning")
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                target.rename(target.with_name("damaged.jsonl"))  # kept for whoever looks, and not tried again
                say(f"records of a run in {target.parent} are damaged, and are not sent ({type(error).__name__})", "warning")
                continue
            shutil.rmtree(target.parent)
            say("records of a run that waited for the tracking store are sent")
