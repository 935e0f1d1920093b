"""Several processes that train one model in one pod, one per GPU, by torchrun; what they report comes back to whoever started them.

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

from components.errors import BY_NAME, MynahError
from components.files import write_json
from components.machine import cores_to_use

if TYPE_CHECKING:
    from components.finetune import FinetuneSettings

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_STOP = 60.0  # for the processes to save their state


def under_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def gpus() -> int:
    """How many GPUs this process sees, without torch, whose import takes seconds where there is none."""
    if not Path("/dev/nvidiactl").exists():
        return 0
    import torch

    return torch.cuda.device_count()


def finetune_together(
    data: Path, out: Path, settings: "FinetuneSettings", on_step: Callable[[int, dict[str, float]], None] | None = None
) -> dict[str, Any]:
    """`finetune` by `settings.processes` processes; it returns and raises the same, and MynahError when one of them dies."""
    with tempfile.TemporaryDirectory(prefix="mynah-") as scratch:
        order, news = Path(scratch, "order.json"), Path(scratch, "news.jsonl")
        news.touch()
        write_json(order, {"data": str(data), "out": str(out), "news": str(news), "settings": asdict(settings)})
        threads = max(1, cores_to_use(os.cpu_count() or 1) // settings.processes)
        command = [
            sys.executable, "-m", "components.finetune.launcher", "--standalone", f"--nproc-per-node={settings.processes}",
            "-m", "components.finetune.worker", str(order),
        ]  # fmt: skip
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        # Their stdin ends when this process does, whatever ended it: then they end too. A session of their own: Ctrl-C comes by us.
        child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
        try:
            found = _follow(news, child, on_step)
        finally:
            _stop(child)
    if "error" in found:
        raise BY_NAME[found["error"]["kind"]](found["error"]["problem"], found["error"]["fix"])
    if "record" not in found:
        raise MynahError(
            f"the {settings.processes} processes that train ended with code {child.returncode}", "See what they said above."
        )
    return dict(found["record"])


def _follow(
    news: Path, child: "subprocess.Popen[bytes]", on_step: Callable[[int, dict[str, float]], None] | None
) -> dict[str, Any]:
    """Pass on each step as it comes, until the processes end: their record or their error."""
    found: dict[str, Any] = {}
    with news.open(encoding="utf-8") as file:
        line, over = "", False
        while not over:
            over = child.poll() is not None  # before the last look, so that nothing is missed
            while part := file.readline():
                line += part
                if not line.endswith("\n"):
                    break
                event, line = json.loads(line), ""
                found |= event
                if "step" in event and on_step:
                    on_step(event["step"], event["metrics"])
            if not over:
                time.sleep(SECONDS_BETWEEN_LOOKS)
    return found


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)  # torchrun passes it on
        try:
            child.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.stdin:
        child.stdin.close()
