"""What a run did, in MLflow: one run per pipeline run, and a nested run per step.

Written with `MlflowClient` and explicit run ids, never through the fluent API's hidden active run: a step is a process of its
own, and leaving `mlflow.start_run()` would mark the parent FINISHED. A step without a parent run records nothing. A step that
is tried again goes on in the run of its first attempt.
"""

import contextlib
import importlib.metadata
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.energy import estimate
from components.errors import MynahError, PlatformError
from components.events import say
from components.files import digest
from components.machine import Meter, node_kind, price_per_hour
from components.outbox import Operation, Outbox, apply, keep_for_later
from components.store import BOT_TAG, Store, client, experiment, store_errors

PARENT_TAG, STEP_TAG = "mlflow.parentRunId", "mynah.step"
FOLDER_TAG = "mynah.folder"  # of a pipeline run: its folder in runs/ of the work folder
COST_TAG, SECONDS_TAG = "mynah.cost_usd", "mynah.seconds"
NODE_TAG, ENERGY_TAG = "mynah.node", "mynah.energy_wh"
UNSENT_FOLDER = "MYNAH_UNSENT"  # where a step leaves records that it could not send; set by the launcher
LONGEST_PARAM = 500  # characters; MLflow refuses more than 6,000, and nobody reads more than this
MOST_STEPS = 10_000  # of a pipeline run, a sweep's trials among them; MLflow takes 50,000
LONGEST_TAG = 5000  # characters; MLflow refuses more than 8,000
PATIENCE = 60.0  # seconds that a step's end waits for a tracking store that is away
PATIENCE_WITH_FOLDER = 5.0  # the same, where what is left can be sent later


def start_parent(store: Store, name: str, tags: Mapping[str, str], params: Mapping[str, Any] | None = None) -> str:
    """Create the run of a pipeline run, tagged with the code's version, and return its id; whoever launched it ends it with `end_run`."""
    api = client(store.tracking_uri)
    tags = {BOT_TAG: name, "mynah.code_version": importlib.metadata.version("mynah"), **image_tag(), **tags}
    with store_errors(store.tracking_uri):
        run_id = str(api.create_run(experiment(store), run_name=name, tags=tags).info.run_id)
        if params:
            apply(store, {"run": run_id, "do": "params", "values": _texts(params, LONGEST_PARAM)})
    return run_id


def image_tag() -> dict[str, str]:
    """The digest of the image that this process runs in, where the pod is told it (MYNAH_IMAGE by digest)."""
    _, at, found = os.environ.get("MYNAH_IMAGE", "").partition("@")
    return {"mynah.image_digest": found} if at else {}


def end_run(store: Store, run_id: str, status: str) -> None:
    """Set the terminal status (FINISHED, FAILED or KILLED) of a run and of its steps that still run, and the cost of all of them."""
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        steps = steps_of(store, run_id)
        for step in steps.values():
            if step.info.status == "RUNNING":
                api.set_terminated(step.info.run_id, status)
        for key, value in cost_tags(store, run_id).items():
            api.set_tag(run_id, key, value)
        api.set_terminated(run_id, status)


def steps_of(store: Store, run_id: str) -> dict[str, Any]:
    """The nested runs of a pipeline run by the step's name."""
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        found = api.search_runs(
            [api.get_run(run_id).info.experiment_id], f"tags.`{PARENT_TAG}` = '{run_id}'", max_results=MOST_STEPS
        )
    return {run.data.tags.get(STEP_TAG, run.info.run_id): run for run in reversed(found)}


def cost_tags(store: Store, run_id: str) -> dict[str, str]:
    """Seconds, US dollars and (where it is known) watt-hours of a pipeline run's steps so far, as tags; {} where no step tells its own."""
    tags = [step.data.tags for step in steps_of(store, run_id).values() if SECONDS_TAG in step.data.tags]
    if not tags:
        return {}
    seconds, cost = (sum(number(each.get(key, "")) for each in tags) for key in (SECONDS_TAG, COST_TAG))
    energy = estimate((each.get(NODE_TAG, ""), number(each[SECONDS_TAG])) for each in tags)
    told = {SECONDS_TAG: f"{seconds:.3f}", COST_TAG: f"{cost:.6f}"}
    return told | ({ENERGY_TAG: f"{energy.watt_hours:.4f}"} if energy else {})


class StepRun:
    """The nested run of one step. Nothing it records waits for MLflow or fails because of it; without a run all is ignored."""

    def __init__(self, outbox: Outbox | None = None, opened: "_Opened | None" = None, parent_id: str = "") -> None:
        self._outbox = outbox
        self.run_id = opened.run_id if opened else ""
        self.parent_id = parent_id
        self.attempt = opened.attempt if opened else 1
        self._uri = opened.artifact_uri if opened else ""
        self._spent = opened.spent if opened else {}

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; long values are cut."""
        self._add({"do": "params", "values": _texts(values, LONGEST_PARAM), "attempt": self.attempt})

    def metrics(self, values: Mapping[str, float], *, headline: bool = False) -> None:
        """Record metrics once; a `headline` stands on the parent run too."""
        self.step_metrics(0, values)
        if headline:
            points = [[key, float(value), _now(), self.attempt - 1] for key, value in values.items()]
            self._add({"run": self.parent_id, "do": "metrics", "points": points})

    def step_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record a point of a curve."""
        points = [[key, float(value), _now(), step] for key, value in values.items()]
        self._add({"do": "metrics", "points": points, **({"again": True} if self.attempt > 1 else {})})

    def machine(self, second: int, values: Mapping[str, float]) -> None:
        """Record a sample of the machine; a retried step's seconds begin anew, and its samples stand beside the earlier ones."""
        self._add({"do": "metrics", "points": [[key, float(value), _now(), second] for key, value in values.items()]})

    def artifacts(self, folder: Path, name: str, only: Sequence[str] = ()) -> None:
        """Store the visible files of `folder` under `name`, or `only` some of them."""
        if self._outbox:
            visible = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
            files = {path.name: str(path) for path in visible if not only or path.name in only}
            self._add({"do": "artifacts", "uri": f"{self._uri}/{name}", "files": files})

    def dataset(self, path: Path, name: str, context: str, profile: str = "") -> None:
        """Record the file `path`, which is among the step's artifacts, as a dataset that the pipeline run used, with its digest."""
        if not self._outbox:
            return
        sha256 = digest(path)
        # MLflow takes 36 characters of a digest; the whole one stands in the source.
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
            self._add({"run": run, "do": "tags", "values": _texts(values, LONGEST_TAG)})

    def own_tags(self, values: Mapping[str, str], *, now: bool = False) -> None:
        """Tag the step alone. `now`: before anything else happens, for others who look at it; then raises as `tags_now` does."""
        operation = {"run": self.run_id, "do": "tags", "values": _texts(values, LONGEST_TAG)}
        if self._outbox and now:
            self._outbox.do_now(operation)
        else:
            self._add(operation)

    def tags_now(self, values: Mapping[str, str]) -> None:
        """Tag the step and its pipeline run before anything else happens: what a run must not be without.

        Raises PlatformError when the store cannot take it.
        """
        if self._outbox:
            for run in (self.run_id, self.parent_id):
                self._outbox.do_now({"run": run, "do": "tags", "values": _texts(values, LONGEST_TAG)})

    def end(self, status: str, seconds: float, patience: float) -> None:
        """Record what the step cost and how it ended; then wait until all is sent, or keep the rest for later.

        Raises PlatformError only when the records can neither be sent nor kept, because a disk is full.
        """
        if not self._outbox:
            return
        cost = self._spent.get(COST_TAG, 0.0) + seconds / 3600 * price_per_hour(node_kind())
        seconds += self._spent.get(SECONDS_TAG, 0.0)
        told = {SECONDS_TAG: f"{seconds:.3f}", COST_TAG: f"{cost:.6f}", NODE_TAG: node_kind()}
        self._add({"do": "tags", "values": told})
        self._add({"do": "end", "status": status, "time": _now(), "attempt": self.attempt})
        unsent, folder = self._outbox.close(patience), os.environ.get(UNSENT_FOLDER, "")
        if not unsent:
            return
        if (
            self._outbox.error and "disk is full" in self._outbox.error.problem
        ):  # sqlite's words; there is no later on a full disk
            raise self._outbox.error
        if folder:
            keep_for_later(Path(folder), self.run_id, unsent)
            say(
                "the tracking store is away: the step's records are kept, and sent by the next mynah that finds it back",
                "warning",
            )
        else:
            say(f"the tracking store is away: {len(unsent)} records of the step are lost", "warning")

    def _add(self, operation: Operation) -> None:
        if self._outbox:
            self._outbox.add({"run": self.run_id, **operation})


def _texts(values: Mapping[str, Any], longest: int) -> dict[str, str]:
    return {key: str(value)[:longest] for key, value in values.items()}


def number(text: str) -> float:
    """The number in a tag, 0 at least; 0 where it holds none, for anybody can write tags."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(text))
    return 0.0


def _now() -> int:
    return int(time.time() * 1000)


@contextlib.contextmanager
def step_run(name: str, store: Store | None, parent_id: str) -> Iterator[StepRun]:
    """The nested run of the step `name` in the pipeline run `parent_id`: FINISHED when the block ends well, else FAILED or KILLED.

    Without a parent ("") the step records nothing. Raises PlatformError when the tracking store cannot be reached at the start;
    later the records wait for it.
    """
    if not parent_id or not store:
        yield StepRun()
        return
    price_per_hour(node_kind())  # a kind without a price is told before the work, and a file of powers that is none
    estimate([(node_kind(), 0.0)])
    opened = _open(name, store, parent_id)
    step, began, status = StepRun(Outbox(store), opened, parent_id), time.monotonic(), "FAILED"
    try:
        with Meter(step.machine):
            yield step
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        patience = PATIENCE_WITH_FOLDER if os.environ.get(UNSENT_FOLDER) or status == "KILLED" else PATIENCE
        if status == "FINISHED":
            step.end(status, time.monotonic() - began, patience)
        else:
            with contextlib.suppress(MynahError):  # the step's own error says more
                step.end(status, time.monotonic() - began, patience)


def attempts(tags: Mapping[str, str]) -> int:
    """How often a step was begun, by its run's tags."""
    text = tags.get("mynah.attempts", "1")
    return int(text) if text.isdecimal() and len(text) < 6 else 1


@dataclass(frozen=True, slots=True)
class _Opened:
    """A step's run: the address of its artifacts, which attempt this is, and what the earlier ones spent."""

    run_id: str
    artifact_uri: str
    attempt: int
    spent: dict[str, float]


def _open(name: str, store: Store, parent_id: str) -> _Opened:
    """The step's run, new or that of an earlier attempt."""
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
        if not earlier:
            tags = {PARENT_TAG: parent_id, STEP_TAG: name, **image_tag()}
            run = api.create_run(parent.info.experiment_id, run_name=name, tags=tags)
            return _Opened(str(run.info.run_id), str(run.info.artifact_uri), 1, {})
        attempt = attempts(earlier.data.tags) + 1
        api.set_tag(earlier.info.run_id, "mynah.attempts", str(attempt))
        api.update_run(earlier.info.run_id, status="RUNNING")
    spent = {key: number(earlier.data.tags.get(key, "")) for key in (SECONDS_TAG, COST_TAG)}
    return _Opened(str(earlier.info.run_id), str(earlier.info.artifact_uri), attempt, spent)
