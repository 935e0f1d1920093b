"""One of the processes that torchrun starts to train a model: `python -m components.finetune.torchrun_worker JOB`, see torchrun_launch.py."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from torch import distributed

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import MynahError, interrupt_on_sigterm
from mynah.core.settings import MYNAH_EVENTS, RANK
from mynah.training.recipe import Recipe


def _exit_with_parent() -> None:
    """Wait for the end of stdin, which means that the launching process ended, and end this one."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Train in one process of the group: the first process reports and writes, the others only compute."""
    interrupt_on_sigterm()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    settings = FinetuneSettings(**{**job["settings"], "recipe": Recipe(**job["settings"]["recipe"])})
    is_first = RANK.get() == 0
    if not is_first:
        os.environ.pop(MYNAH_EVENTS.name, None)
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
    with Path(job["news"]).open("a" if is_first else "r", buffering=1, encoding="utf-8") as events_file:

        def write_event(event: dict[str, Any]) -> None:
            if is_first:
                events_file.write(json.dumps(event) + "\n")

        try:
            record = finetune(
                Path(job["data"]),
                Path(job["out"]),
                settings,
                lambda step, metrics: write_event({"step": step, "metrics": metrics}),
            )
            write_event({"record": record.to_record()})
        except MynahError as error:
            write_event({"error": {"kind": type(error).__name__, "problem": error.problem, "fix": error.fix}})
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()


if __name__ == "__main__":
    main()
