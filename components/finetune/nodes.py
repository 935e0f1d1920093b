"""Trains one model on several nodes of a cluster: the step creates a TrainJob, follows it, and takes the model from Mynah's bucket."""

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
            outcome = _follow(job, channel, on_step or (lambda *_: None))
        record = record_of(outcome, f"the TrainJob {job.name} completed without a model")
        _take(Handover(home, scratch).open(outcome["model"]), out)
    return record


def _take(model: Path, out: Path) -> None:
    with atomic_folder(out) as folder, storage_errors(out):
        for path in model.iterdir():
            if path.name != MARKER:
                shutil.move(path, folder / path.name)


def _follow(job: TrainJob, channel: Channel, on_step: OnStep) -> dict[str, Any]:
    """Follow a TrainJob until it ends, and pass on its steps; return the last event of each kind."""
    outcome: dict[str, Any] = {}
    waits, answered = "", time.monotonic()
    while True:
        try:
            state = job.state()
            answered = time.monotonic()
        except PlatformError as error:
            is_refused = (
                error.__cause__ is None or HTTPStatus.BAD_REQUEST <= http_status(error) < HTTPStatus.INTERNAL_SERVER_ERROR
            )
            if is_refused or time.monotonic() - answered > SECONDS_OF_A_BROKEN_API:
                raise
            time.sleep(SECONDS_BETWEEN_LOOKS)
            continue
        has_ended = [kind for kind in ("Complete", "Failed") if _holds(state, kind)]  # read before the last events
        for event in _events(channel, required=bool(has_ended)):
            outcome |= event
            if "step" in event:
                on_step(event["step"], event["metrics"])
        if has_ended:
            if has_ended == ["Failed"] and "error" not in outcome:
                raise _failure(job, state["Failed"])
            return outcome
        if (not outcome or _holds(state, "Suspended")) and (now := _waits_for(job, state)) not in ("", waits):
            waits = now
            notify(f"the TrainJob {job.name} waits: {waits}")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _holds(state: dict[str, Any], kind: str) -> bool:
    return bool(state.get(kind, {}).get("status") == "True")


def _events(channel: Channel, *, required: bool) -> list[dict[str, Any]]:
    try:
        return channel.new_events()
    except PlatformError:
        if required:
            raise
        return []


def _waits_for(job: TrainJob, state: dict[str, Any]) -> str:
    """Return what a TrainJob that reports nothing yet waits for; "" when it is not known."""
    if _holds(state, "Suspended"):
        return "it is suspended, as Kueue does until its queue has room (kubectl describe workloads)"
    try:
        return job.waits_for()
    except PlatformError:
        return ""


def _failure(job: TrainJob, condition: dict[str, Any]) -> PlatformError:
    said = " ".join(str(condition.get("message") or condition.get("reason") or "without a message").split())
    return PlatformError(
        f"the TrainJob {job.name} failed: {said[:300]}",
        "Its nodes' logs say more: mynah logs RUN finetune; an evicted node, or one without memory, leaves none.",
    )
