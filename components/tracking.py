"""What a run did, in MLflow: one run per pipeline run, and a nested run per step.

Written with `MlflowClient` and explicit run ids, never through the fluent API's hidden active run: a step is a process of its
own, and leaving `mlflow.start_run()` would mark the parent FINISHED. (Logging a model has no other door: `register` opens
its own step's run so.) A step without a parent run records nothing.
"""

import contextlib
import importlib.metadata
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from components.errors import InputError, PlatformError
from components.files import make_folder, storage_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

EXPERIMENT = "mynah"
PARENT_TAG = "mlflow.parentRunId"
LONGEST_PARAM = 500  # characters; MLflow refuses more than 6,000, and nobody reads more than this
BATCH = 500  # metrics a call; MLflow takes 1,000


@dataclass(frozen=True, slots=True)
class Store:
    """Where MLflow keeps runs, and where it keeps their files."""

    tracking_uri: str
    artifact_root: str = ""  # "" lets the server decide

    @classmethod
    def in_folder(cls, workdir: Path) -> "Store":
        """The laptop's: sqlite and a folder. Raises InputError for a path that sqlite's address cannot hold."""
        root = workdir.resolve()
        if "?" in str(root):
            raise InputError(f"{str(root)!r} holds '?', which cannot stand in the address of a store", "Name another --workdir.")
        return cls(f"sqlite:///{root / 'mlflow.db'}", (root / "mlartifacts").as_uri())

    @classmethod
    def from_environment(cls) -> "Store":
        """The one that MLFLOW_TRACKING_URI names: how a pipeline's step is told. Raises InputError when it is not set."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri:
            raise InputError("MLFLOW_TRACKING_URI is not set, so there is no registry", "Set it to the MLflow server's address.")
        return cls(uri)


def client(tracking_uri: str) -> "MlflowClient":
    """A client of the store, with waits that end: MLflow's own defaults retry a dead server for four minutes."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):  # after the import, which sets levels of its own
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with store_errors(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def open_store(workdir: Path) -> Store:
    """The store of `workdir`, made when it is not there: once, under a lock, for a new sqlite store does not survive two openers."""
    store = Store.in_folder(workdir)
    make_folder(workdir)
    with storage_errors(workdir), FileLock(workdir / ".mlflow.lock"):
        experiment(store)
    return store


def experiment(store: Store) -> str:
    """The id of Mynah's experiment, made when it is not there."""
    mlflow_client = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        found = mlflow_client.get_experiment_by_name(EXPERIMENT)
        if found:
            return str(found.experiment_id)
        return str(mlflow_client.create_experiment(EXPERIMENT, store.artifact_root or None))


def start_parent(store: Store, name: str, tags: Mapping[str, str], params: Mapping[str, Any] | None = None) -> str:
    """Create the run of a pipeline run, tagged with the code's version, and return its id; whoever launched it ends it with `end_run`."""
    mlflow_client = client(store.tracking_uri)
    tags = {"mynah.bot": name, "mynah.code_version": importlib.metadata.version("mynah"), **tags}
    with store_errors(store.tracking_uri):
        run_id = str(mlflow_client.create_run(experiment(store), run_name=name, tags=tags).info.run_id)
        StepRun(mlflow_client, run_id, "").params(params or {})
    return run_id


def end_run(store: Store, run_id: str, status: str) -> None:
    """Set the terminal status (FINISHED, FAILED or KILLED) of a run and of its steps that are still running."""
    mlflow_client, running = client(store.tracking_uri), f"tags.`{PARENT_TAG}` = '{run_id}' and attributes.status = 'RUNNING'"
    with store_errors(store.tracking_uri):
        for step in mlflow_client.search_runs([experiment(store)], running):
            mlflow_client.set_terminated(step.info.run_id, status)
        mlflow_client.set_terminated(run_id, status)


class StepRun:
    """The nested run of one step. Without a run id every call does nothing."""

    def __init__(self, mlflow_client: "MlflowClient | None", run_id: str, parent_id: str) -> None:
        self._client = mlflow_client
        self.run_id = run_id
        self.parent_id = parent_id
        self._metrics: list[Metric] = []

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; long values are cut."""
        if self._client:
            for key, value in values.items():
                self._client.log_param(self.run_id, key, str(value)[:LONGEST_PARAM])

    def metrics(self, values: Mapping[str, float], *, headline: bool = False) -> None:
        """Record metrics once; a `headline` stands on the parent run too."""
        for key, value in values.items():
            self._add(key, value, 0)
        self.flush()
        if self._client and headline:
            for key, value in values.items():
                self._client.log_metric(self.parent_id, key, value)

    def step_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record a point of a curve; points are sent in batches."""
        for key, value in values.items():
            self._add(key, value, step)
        if len(self._metrics) >= BATCH:
            self.flush()

    def artifacts(self, folder: Path, name: str, only: Sequence[str] = ()) -> None:
        """Store the visible files of `folder` under `name`, or `only` some of them."""
        if self._client:
            for path in sorted(folder.iterdir()):
                if path.is_file() and not path.name.startswith(".") and (not only or path.name in only):
                    self._client.log_artifact(self.run_id, str(path), name)

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the step and its pipeline run."""
        if self._client:
            for key, value in values.items():
                self._client.set_tag(self.run_id, key, value)
                self._client.set_tag(self.parent_id, key, value)

    def flush(self) -> None:
        """Send the metrics that wait."""
        if self._client and self._metrics:
            self._client.log_batch(self.run_id, metrics=self._metrics)
        self._metrics = []

    def _add(self, key: str, value: float, step: int) -> None:
        if self._client:
            from mlflow.entities import Metric

            self._metrics.append(Metric(key, float(value), int(time.time() * 1000), step))


@contextlib.contextmanager
def step_run(name: str, tracking_uri: str, parent_id: str) -> Iterator[StepRun]:
    """The nested run of the step `name` in the pipeline run `parent_id`: FINISHED when the block ends well, else FAILED or KILLED.

    Without a parent ("") the step records nothing. Raises PlatformError when the tracking server cannot be reached.
    """
    if not parent_id:
        yield StepRun(None, "", "")
        return
    mlflow_client = client(tracking_uri)
    with store_errors(tracking_uri):
        parent = mlflow_client.get_run(parent_id)
        run = mlflow_client.create_run(parent.info.experiment_id, run_name=name, tags={PARENT_TAG: parent_id, "mynah.step": name})
    step = StepRun(mlflow_client, run.info.run_id, parent_id)
    try:
        with store_errors(tracking_uri):
            yield step
            step.flush()
            mlflow_client.set_terminated(run.info.run_id, "FINISHED")
    except BaseException as error:
        with contextlib.suppress(PlatformError), store_errors(tracking_uri):  # the step's own error says more
            mlflow_client.set_terminated(run.info.run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


@contextlib.contextmanager
def store_errors(tracking_uri: str) -> Iterator[None]:
    """MLflow's exceptions, and its database's, as a PlatformError; whatever else the block raises passes through."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        cause = str(error).strip().split("\n")[0][:200]
        raise PlatformError(
            f"the tracking store {_public(tracking_uri)} failed: {cause}", "Is it running, and is there space on its disk?"
        ) from error


def _public(uri: str) -> str:
    """A URI without the user name and password that it may hold."""
    scheme, slashes, rest = uri.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
