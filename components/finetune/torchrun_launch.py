"""Trains one model with several processes of one machine, one per GPU, by torchrun, and passes on what they report.

https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.errors import BY_NAME, MynahError
from mynah.core.files import write_json
from mynah.core.json_reader import JsonField
from mynah.core.settings import OMP_NUM_THREADS, WORLD_SIZE
from mynah.core.threads import cores_to_use
from mynah.training.training_record import TrainingRecord

if TYPE_CHECKING:
    from components.finetune.settings import FinetuneSettings

NVIDIA = ("/dev/nvidiactl", "/dev/dxg")  # the driver's device on Linux, and its counterpart in WSL
POLL_SECONDS = 0.1
STOP_SECONDS = 60.0  # for the processes to save their state


def under_torchrun() -> bool:
    """Whether torchrun started this process as one of several."""
    return WORLD_SIZE.get() > 1


def gpu_count() -> int:
    """Return the number of visible GPUs; without an NVIDIA driver torch is not imported, which takes seconds."""
    if not any(map(os.path.exists, NVIDIA)):
        return 0
    import torch

    return torch.cuda.device_count()


def finetune_with_torchrun(
    data: Path, out: Path, settings: "FinetuneSettings", on_step: Callable[[int, dict[str, float]], None] | None = None
) -> TrainingRecord:
    """Run `finetune` in `settings.processes` processes; arguments, result and errors are those of `finetune`.

    Raises:
        MynahError: also when one of the processes dies.
    """

    def forward(event: dict[str, Any]) -> None:
        if "step" in event and on_step:
            on_step(event["step"], event["metrics"])

    launch = ["--standalone", f"--nproc-per-node={settings.processes}"]
    outcome, code = run_torchrun(launch, settings.processes, data, out, settings, forward)
    return record_of(outcome, f"the {settings.processes} training processes ended with code {code}")


def run_torchrun(
    launch: Sequence[str],
    processes: int,
    data: Path,
    out: Path,
    settings: "FinetuneSettings",
    on_event: Callable[[dict[str, Any]], None],
) -> tuple[dict[str, Any], int | None]:
    """Run `finetune` in the processes of this machine.

    Args:
        launch: torchrun's arguments; without any, its variables (PET_NNODES and others) say how many processes and nodes train together.
        processes: the processes of this machine, which share its cores.
        data: as for `finetune`.
        out: as for `finetune`; the first process writes it.
        settings: as for `finetune`.
        on_event: called with each event of the first process: a step's metrics, the record, or an error.

    Returns:
        The events' keys and values, the last of each, and torchrun's exit code. There are none where the first process is elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix="mynah-") as scratch:
        job, events_file = Path(scratch, "order.json"), Path(scratch, "news.jsonl")
        events_file.touch()
        write_json(job, {"data": str(data), "out": str(out), "news": str(events_file), "settings": asdict(settings)})
        threads = max(1, cores_to_use(os.cpu_count() or 1) // processes)
        command = [
            sys.executable, "-m", "components.finetune.torchrun_main", *launch,
            "-m", "components.finetune.torchrun_worker", str(job),
        ]  # fmt: skip
        environment = {OMP_NUM_THREADS.name: str(threads), **os.environ}
        # The processes end when their stdin does, so also when this process is killed. In a session of their own they receive
        # Ctrl-C only from this process.
        child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
        try:
            outcome = _forward_events(events_file, child, on_event)
        finally:
            _stop(child)
    return outcome, child.returncode


def record_of(outcome: Mapping[str, Any], otherwise: str) -> TrainingRecord:
    """Return the record among the events of a training run.

    Args:
        outcome: The events' keys and values.
        otherwise: The problem to report where there is neither a record nor an error.

    Raises:
        MynahError: The error among the events, by its own kind; or there is no record.
    """
    if "error" in outcome:
        raise BY_NAME[outcome["error"]["kind"]](outcome["error"]["problem"], outcome["error"]["fix"])
    if "record" not in outcome:
        raise MynahError(otherwise, "See their messages above.")
    return TrainingRecord.from_json(JsonField(Path("news.jsonl"), "finetune", outcome["record"]))


def _forward_events(
    events_file: Path, child: "subprocess.Popen[bytes]", on_event: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Pass on each event as it is reported until the processes end; return the last of each kind."""
    outcome: dict[str, Any] = {}
    with events_file.open(encoding="utf-8") as file:
        line, finished = "", False
        while not finished:
            finished = child.poll() is not None  # read before the last poll, so that no event is missed
            while part := file.readline():
                line += part
                if not line.endswith("\n"):
                    break
                event, line = json.loads(line), ""
                outcome |= event
                on_event(event)
            if not finished:
                time.sleep(POLL_SECONDS)
    return outcome


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)  # torchrun passes it on
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.stdin:
        child.stdin.close()
