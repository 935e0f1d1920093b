"""Run the bot pipeline on this machine by Kubeflow's own local runner. A process of its own: `python -m pipelines.local SPEC`.

A process of its own because the runner prints to stdout, keeps global state, and must be ended together with the step it
waits for. SPEC is a JSON file: {"pipeline_root": …, "arguments": {…}}, and "containers": {"reads": […], "writes": […]} when the
steps are to run in containers that see these paths.
"""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def run(pipeline_root: str, arguments: dict[str, Any], containers: dict[str, list[str]] | None = None) -> None:
    """Run the pipeline to its end. Raises RuntimeError when a step fails (its own error went to the launcher's events)."""
    _keep_python3_in_parameters()
    from kfp import local

    from pipelines.bot import bot

    if containers:
        from pipelines.containers import runner

        local.init(runner(pipeline_root, **containers), pipeline_root=pipeline_root)
    else:
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=pipeline_root)
    bot(**arguments)


def _keep_python3_in_parameters() -> None:
    """Kubeflow's runner replaces `python3` by sys.executable in all of a step's command, paths and parameters included.

    Make the replacement change nothing: call this interpreter `python3`, and put it first on PATH.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    sys.executable = "python3"


def _end_with_the_launcher() -> None:
    """Interrupt the runner and its step when stdin ends: the launcher is gone, and nobody waits for the result."""
    launcher = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the steps are not to inherit it

    def watch() -> None:
        while os.read(launcher, 1):
            pass
        os.killpg(0, signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def _put_away(order: Path, arguments: dict[str, Any]) -> None:
    """What the launcher does after an interrupt, for one that was killed and could not."""
    from components.store import Store
    from components.tracking import end_run

    shutil.rmtree(order.parent, ignore_errors=True)
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    end_run(Store.from_environment(), arguments["parent_run"], "KILLED")


if __name__ == "__main__":
    # A shell's background job ignores SIGINT, and so does all that it starts; the steps are ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    launcher = os.getppid()
    _end_with_the_launcher()
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        run(**spec)
    except (RuntimeError, KeyboardInterrupt) as error:
        if os.getppid() != launcher:
            _put_away(Path(sys.argv[1]), spec["arguments"])
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else str(error))
