"""One of the processes that torchrun starts to train a model together: `python -m components.finetune.worker ORDER`, see together.py."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from torch import distributed

from components.errors import MynahError, interrupt_on_sigterm
from components.events import EVENTS_FILE
from components.finetune import FinetuneSettings, finetune
from components.finetune.recipe import Recipe


def _end_with_the_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """One of the processes: the first reports and writes, the others only learn."""
    interrupt_on_sigterm()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    order = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    settings = FinetuneSettings(**{**order["settings"], "recipe": Recipe(**order["settings"]["recipe"])})
    first = os.environ["RANK"] == "0"
    if not first:
        os.environ.pop(EVENTS_FILE, None)
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
    with Path(order["news"]).open("a" if first else "r", buffering=1, encoding="utf-8") as news:

        def tell(event: dict[str, Any]) -> None:
            if first:
                news.write(json.dumps(event) + "\n")

        try:
            record = finetune(
                Path(order["data"]), Path(order["out"]), settings, lambda step, metrics: tell({"step": step, "metrics": metrics})
            )
            tell({"record": record})
        except MynahError as error:
            tell({"error": {"kind": type(error).__name__, "problem": error.problem, "fix": error.fix}})
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()


if __name__ == "__main__":
    main()
