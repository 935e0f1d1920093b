"""Trains one model on several nodes of a cluster: the step creates a TrainJob, follows it, and takes the model from Mynah's bucket."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from components.finetune.node_exchange import Channel, offer
from components.finetune.settings import FinetuneSettings
from components.finetune.torchrun_launch import record_of
from components.finetune.train_job import TrainJob, train_job
from components.handover import Handover, is_remote
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import MARKER, atomic_folder, storage_errors
from mynah.core.progress import notify
from mynah.kubernetes.cluster import Cluster
from mynah.kubernetes.errors import http_status
from mynah.kubernetes.lease import own_namespace
from mynah.training.training_record import TrainingRecord

OnStep = Callable[[int, dict[str, float]], None]
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_FOR_LAST_EVENTS = 20.0  # of the first node, after Kubernetes called the TrainJob failed
SECONDS_OF_A_BROKEN_API = 600.0  # for which a TrainJob that cannot be read is taken to go on


def finetune_on_nodes(data: Path, out: Path, settings: FinetuneSettings, on_step: OnStep | None = None) -> TrainingRecord:
    """Fine-tune on `settings.nodes`; arguments, result and errors are those of `finetune`.

    The TrainJob is deleted when this ends. Where this process is killed, its nodes end themselves, because they no longer get a sign
    of life, and Kubernetes removes the TrainJob with this pod; the next attempt resumes from the training state that they saved.

    Raises:
        InputError: this process runs in no cluster, hands on nothing through a bucket, or Kubeflow Trainer is not installed.
        PlatformError: Kubernetes or S3 refuses, or the TrainJob fails without an error of its own.
        MynahError: the error of the training run.
    """
    cluster, nodes = Cluster.connect(), settings.nodes
    if not cluster or not nodes or not is_remote(settings.home):
        raise InputError(
            "several nodes train on a cluster only, where a bucket is named", "Use mynah submit --nodes N --bucket B."
        )
    with tempfile.TemporaryDirectory(prefix="mynah-nodes-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        home = f"{settings.home}/{scratch.name}"
        channel = Channel(home)
        with (
            channel.signs_of_life(),
            train_job(cluster, own_namespace(), nodes, offer(home, data, settings, scratch / "offered")) as job,
        ):
            notify(f"{nodes.nodes} nodes train in the TrainJob {job.name}; their logs: mynah logs RUN finetune")
            outcome = _Follower(job, channel, on_step or (lambda *_: None)).run()
        record = record_of(outcome, f"the TrainJob {job.name} completed without a model")
        _take(Handover(home, scratch).open(outcome["model"]), out)
    return record


def _take(model: Path, out: Path) -> None:
    with atomic_folder(out) as folder, storage_errors(out):
        for path in model.iterdir():
            if path.name != MARKER:
                shutil.move(path, folder / path.name)


class _Follower:
    """Follows a TrainJob until it ends, and passes on its steps; `outcome` has the last event of each kind."""

    def __init__(self, job: TrainJob, channel: Channel, on_step: OnStep) -> None:
        self._job, self._channel, self._on_step = job, channel, on_step
        self._answered, self._waits = time.monotonic(), ""
        self.outcome: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Return the outcome of a TrainJob that completed, or whose nodes report an error. Raises PlatformError for another failure."""
        while True:
            state = self._state()
            self._pass_on(required=_holds(state, "Complete"))
            if _holds(state, "Complete"):
                return self.outcome
            if _holds(state, "Failed"):
                return self._failed(state["Failed"])
            self._tell_waiting(state)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _state(self) -> dict[str, Any]:
        """Return the TrainJob's conditions; {} while the API is away, which nodes outlive. Raises PlatformError when that lasts."""
        try:
            state = self._job.state()
        except PlatformError as error:
            is_final = error.__cause__ is None or http_status(error) in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            if is_final or time.monotonic() - self._answered > SECONDS_OF_A_BROKEN_API:
                raise
            return {}
        self._answered = time.monotonic()
        return state

    def _pass_on(self, *, required: bool = False) -> None:
        try:
            events = self._channel.new_events()
        except PlatformError:
            if required:
                raise
            return
        for event in events:
            self.outcome |= event
            if "step" in event:
                self._on_step(event["step"], event["metrics"])

    def _failed(self, condition: dict[str, Any]) -> dict[str, Any]:
        """Return the outcome with the error of the first node, which may still be on its way. Raises PlatformError without one."""
        until = time.monotonic() + SECONDS_FOR_LAST_EVENTS
        while "ended" not in self.outcome and time.monotonic() < until:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self._pass_on()
        if "error" in self.outcome:
            return self.outcome
        said = " ".join(str(condition.get("message") or condition.get("reason") or "without a message").split())
        raise PlatformError(
            f"the TrainJob {self._job.name} failed: {said[:300]}",
            "Its nodes' logs say more: mynah logs RUN finetune; an evicted node, or one without memory, leaves none.",
        )

    def _tell_waiting(self, state: dict[str, Any]) -> None:
        """Tell once what the nodes wait for."""
        waits = ""
        if _holds(state, "Suspended"):
            waits = "it is suspended, as Kueue does until its queue has room (kubectl describe workloads)"
        elif not self.outcome:
            with contextlib.suppress(PlatformError):
                waits = self._job.waits_for()
        if waits not in ("", self._waits):
            self._waits = waits
            notify(f"the TrainJob {self._job.name} waits: {waits}")


def _holds(state: dict[str, Any], kind: str) -> bool:
    return bool(state.get(kind, {}).get("status") == "True")
