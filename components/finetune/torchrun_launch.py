"""Trains one model with several processes on one machine, one per GPU, by torchrun, and passes on what they report.

https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
    with tempfile.TemporaryDirectory(prefix="mynah-") as scratch:
        job, events_file = Path(scratch, "order.json"), Path(scratch, "news.jsonl")
        events_file.touch()
        write_json(job, {"data": str(data), "out": str(out), "news": str(events_file), "settings": asdict(settings)})
        threads = max(1, cores_to_use(os.cpu_count() or 1) // settings.processes)
        command = [
            sys.executable, "-m", "components.finetune.torchrun_main", "--standalone", f"--nproc-per-node={settings.processes}",
            "-m", "components.finetune.torchrun_worker", str(job),
        ]  # fmt: skip
        environment = {OMP_NUM_THREADS.name: str(threads), **os.environ}
        # The processes end when their stdin does, so also when this process is killed. In a session of their own they receive
        # Ctrl-C only from this process.
        child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
        try:
            outcome = _forward_events(events_file, child, on_step)
        finally:
            _stop(child)
    if "error" in outcome:
        raise BY_NAME[outcome["error"]["kind"]](outcome["error"]["problem"], outcome["error"]["fix"])
    if "record" not in outcome:
        raise MynahError(
            f"the {settings.processes} training processes ended with code {child.returncode}", "See their messages above."
        )
    return TrainingRecord.from_json(JsonField(events_file, "finetune", outcome["record"]))


def _forward_events(
    events_file: Path, child: "subprocess.Popen[bytes]", on_step: Callable[[int, dict[str, float]], None] | None
) -> dict[str, Any]:
    """Pass on each step as it is reported until the processes end; return their record or their error."""
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
                if "step" in event and on_step:
                    on_step(event["step"], event["metrics"])
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
