"""Record the run of a step, nested in that of its pipeline run.

Recording neither waits for MLflow nor fails with it: an outbox sends what is recorded. A step without a parent run records nothing. A
retried step continues the run of its first attempt. Importing mlflow takes seconds, so only functions import it.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mynah.core.errors import MynahError, PlatformError
from mynah.core.files import digest
from mynah.core.machine import node_kind, price_per_hour
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_UNSENT
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import MAX_TAG, Store
from mynah.tracking.energy import estimate
from mynah.tracking.kfp_runs import KFP_RUN_TAG
from mynah.tracking.outbox import Operation, Outbox, save_unsent
from mynah.tracking.runs import MAX_PARAM, as_texts, image_tags, steps_of
from mynah.tracking.step_errors import error_tags, require_not_refused
from mynah.tracking.tags import COST_TAG, NODE_TAG, PARENT_TAG, SECONDS_TAG, STARTED_TAG, STEP_TAG, attempts, number
from mynah.tracking.unrecorded import spent_tags
from mynah.tracking.usage_meter import UsageMeter

SECONDS_TO_SEND = 60.0  # that a step's end waits for an unreachable tracking store
SECONDS_TO_SEND_WITH_FOLDER = 5.0  # the same, where the rest can be sent later


class StepRun:
    """The nested run of one step. Recording neither waits for MLflow nor fails with it; without a run, everything is ignored."""

    def __init__(self, outbox: Outbox | None = None, opened: "_Opened | None" = None, parent_id: str = "") -> None:
        self._outbox = outbox
        self.run_id = opened.run_id if opened else ""
        self.parent_id = parent_id
        self.attempt = opened.attempt if opened else 1
        self._uri = opened.artifact_uri if opened else ""
        self._spent = opened.spent if opened else {}
        self.price = 0.0  # US dollars per hour of this node

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; long values are truncated."""
        self._add({"do": "params", "values": as_texts(values, MAX_PARAM), "attempt": self.attempt})

    def metrics(self, values: Mapping[str, float], *, headline: bool = False) -> None:
        """Record metrics once; `headline` also records them on the parent run."""
        self.step_metrics(0, values)
        if headline:
            points = [[key, float(value), _now(), self.attempt - 1] for key, value in values.items()]
            self._add({"run": self.parent_id, "do": "metrics", "points": points})

    def step_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record one point of each curve."""
        points = [[key, float(value), _now(), step] for key, value in values.items()]
        self._add({"do": "metrics", "points": points, **({"again": True} if self.attempt > 1 else {})})

    def machine(self, second: int, values: Mapping[str, float]) -> None:
        """Record a sample of the machine; a retried step's seconds start again at 0, and its samples are added to the earlier ones."""
        self._add({"do": "metrics", "points": [[key, float(value), _now(), second] for key, value in values.items()]})

    def artifacts(self, folder: Path, name: str, only: Sequence[str] = ()) -> None:
        """Store the visible files of a folder.

        Args:
            folder: The folder.
            name: The folder among the run's artifacts.
            only: The names of the files to store; all when empty.
        """
        if self._outbox:
            visible = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
            files = {path.name: str(path) for path in visible if not only or path.name in only}
            self._add({"do": "artifacts", "uri": f"{self._uri}/{name}", "files": files})

    def dataset(self, path: Path, name: str, context: str, profile: str = "") -> None:
        """Record a file among the step's artifacts as a dataset of the pipeline run.

        Args:
            path: The file.
            name: The dataset's name.
            context: MLflow's context, such as training.
            profile: A JSON summary.
        """
        if not self._outbox:
            return
        sha256 = digest(path)
        # MLflow allows 36 characters for a digest; the source has the complete one.
        record = {
            "name": name,
            "digest": sha256[:36],
            "source_type": "local",
            "source": f'{{"sha256": "{sha256}"}}',
            "profile": profile,
        }
        for run in (self.run_id, self.parent_id):
            self._add({"run": run, "do": "dataset", "dataset": record, "context": context})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the step and its pipeline run."""
        for run in (self.run_id, self.parent_id):
            self._add({"run": run, "do": "tags", "values": as_texts(values, MAX_TAG)})

    def own_tags(self, values: Mapping[str, str], *, now: bool = False) -> None:
        """Tag the step, but not its pipeline run.

        With `now` the tags are sent immediately, for other processes that read them; then it raises like `tags_now`.
        """
        operation = {"run": self.run_id, "do": "tags", "values": as_texts(values, MAX_TAG)}
        if self._outbox and now:
            self._outbox.do_now(operation)
        else:
            self._add(operation)

    def tags_now(self, values: Mapping[str, str]) -> None:
        """Tag the step and its pipeline run immediately: for tags that a run must never be without.

        Raises PlatformError when the store fails.
        """
        if self._outbox:
            for run in (self.run_id, self.parent_id):
                self._outbox.do_now({"run": run, "do": "tags", "values": as_texts(values, MAX_TAG)})

    def end(self, status: str, seconds: float, timeout: float) -> None:
        """Record the step's cost and status; then wait until everything is sent, or save the rest for later.

        Args:
            status: FINISHED, FAILED or KILLED.
            seconds: The duration of this attempt.
            timeout: Seconds to wait for the tracking store.

        Raises:
            PlatformError: The records can neither be sent nor saved, because a disk is full.
        """
        if not self._outbox:
            return
        cost = self._spent.get(COST_TAG, 0.0) + seconds / 3600 * self.price
        seconds += self._spent.get(SECONDS_TAG, 0.0)
        totals = {SECONDS_TAG: f"{seconds:.3f}", COST_TAG: f"{cost:.6f}", NODE_TAG: node_kind()}
        self._add({"do": "tags", "values": totals})
        self._add({"do": "end", "status": status, "time": _now(), "attempt": self.attempt})
        unsent, folder = self._outbox.close(timeout), MYNAH_UNSENT.get()
        if not unsent:
            return
        if (
            self._outbox.error and "disk is full" in self._outbox.error.problem
        ):  # sqlite's message; nothing can be saved on a full disk
            raise self._outbox.error
        if folder:
            save_unsent(folder, self.run_id, unsent)
            notify(
                "the tracking store is unreachable: the step's records are saved, and sent by a later mynah command",
                "warning",
            )
        else:
            notify(f"the tracking store is unreachable: {len(unsent)} records of the step are lost", "warning")

    def _add(self, operation: Operation) -> None:
        if self._outbox:
            self._outbox.add({"run": self.run_id, **operation})


def _now() -> int:
    return int(time.time() * 1000)


@contextlib.contextmanager
def step_run(name: str, store: Store | None, parent_id: str) -> Iterator[StepRun]:
    """Record a step of a pipeline run: FINISHED when the block succeeds, else FAILED or KILLED.

    Args:
        name: The step.
        store: The tracking store; None to record nothing.
        parent_id: The pipeline run; "" to record nothing.

    Yields:
        The step's run.

    Raises:
        PlatformError: The tracking store cannot be reached at the start; later records are queued until it can.
        InputError: An attempt that Kubeflow repeats; the one before it ended with this error.
    """
    if not parent_id or not store:
        yield StepRun()
        return
    opened = _open(name, store, parent_id)
    step, began, status = StepRun(Outbox(store), opened, parent_id), time.monotonic(), "FAILED"
    try:
        step.price = price_per_hour(node_kind())  # a kind without a price, or an invalid table, is reported before the work
        estimate([(node_kind(), 0.0)])
        with UsageMeter(step.machine):
            yield step
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Exception as error:
        step.own_tags(error_tags(error))
        raise
    finally:
        timeout = SECONDS_TO_SEND_WITH_FOLDER if MYNAH_UNSENT.get() or status == "KILLED" else SECONDS_TO_SEND
        if status == "FINISHED":
            step.end(status, time.monotonic() - began, timeout)
        else:
            with contextlib.suppress(MynahError):  # the step's own error is more informative
                step.end(status, time.monotonic() - began, timeout)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A step's run: the URI of its artifacts, the number of this attempt, and what earlier ones spent."""

    run_id: str
    artifact_uri: str
    attempt: int
    spent: dict[str, float]


def _open(name: str, store: Store, parent_id: str) -> _Opened:
    """Return the step's run: a new one, or that of an earlier attempt."""
    from mlflow.exceptions import MlflowException

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        try:
            parent = api.get_run(parent_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise PlatformError(f"there is no run {parent_id!r} in {store.shown}", "Was it deleted while it ran?") from error
        earlier = steps_of(store, parent_id).get(name)
        begun = {STARTED_TAG: str(_now()), NODE_TAG: node_kind()}
        if not earlier:
            tags = {PARENT_TAG: parent_id, STEP_TAG: name, **begun, **image_tags()}
            run = api.create_run(parent.info.experiment_id, run_name=name, tags=tags)
            return _Opened(str(run.info.run_id), str(run.info.artifact_uri), 1, {})
        if KFP_RUN_TAG in parent.data.tags:  # on a laptop a person starts the next attempt, with other input
            require_not_refused(earlier.data.tags)
        attempt = attempts(earlier.data.tags) + 1
        tags = earlier.data.tags | (spent_tags(api, earlier) if earlier.info.status == "RUNNING" else {})
        for key, value in {**begun, "mynah.attempts": str(attempt)}.items():
            api.set_tag(earlier.info.run_id, key, value)
        api.update_run(earlier.info.run_id, status="RUNNING")
    spent = {key: number(tags.get(key, "")) for key in (SECONDS_TAG, COST_TAG)}
    return _Opened(str(earlier.info.run_id), str(earlier.info.artifact_uri), attempt, spent)
