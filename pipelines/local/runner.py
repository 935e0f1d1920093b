"""Run a pipeline on this machine by Kubeflow's own local runner. A process of its own: `python -m pipelines.local SPEC`.

A process of its own because the runner prints to stdout, keeps global state, and must be ended together with the step it
waits for. SPEC is a JSON file: {"pipeline": "bot" or "sweep", "pipeline_root": …, "arguments": {…}}, and "containers":
{"reads": […], "writes": […]} when the steps are to run in containers that see these paths.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, cast

from components.errors import INTERRUPTED

# A step failed, or somebody interrupted: no further one begins, though Kubeflow's runner has a queue of a loop's.
_over = threading.Event()


def run(pipeline: str, pipeline_root: str, arguments: dict[str, Any], containers: dict[str, list[str]] | None = None) -> None:
    """Run a pipeline to its end. Raises RuntimeError when a step fails (its own error went to the launcher's events)."""
    _keep_python3_in_parameters()
    from kfp import local
    from kfp.local import subprocess_task_handler

    if containers:
        from pipelines.containers import runner

        local.init(runner(pipeline_root, **containers), pipeline_root=pipeline_root)
    else:
        subprocess_task_handler.run_local_subprocess = run_step
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=pipeline_root)
    if pipeline == "sweep":
        from pipelines.sweep import sweep

        sweep(**arguments)
    else:
        from pipelines.bot import bot

        bot(**arguments)


def run_step(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
    """Run a step to its end, print what it says, and return its exit code; interrupted, it has its time to end.

    In place of Kubeflow's own, which leaves an interrupted step after a quarter of a second: a step that trains saves its state.
    """
    if _over.is_set():
        return INTERRUPTED
    step = subprocess.Popen(
        full_command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | (env_vars or {}),
    )
    output = cast("IO[str]", step.stdout)
    try:
        sys.stdout.writelines(output)
        if code := step.wait():
            _over.set()
        return code
    except KeyboardInterrupt:
        sys.stdout.writelines(output)  # until the last process of it is gone: its shell goes first
        raise


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


def _interrupt(*_: object) -> None:
    """Trials of a sweep run in a thread of Kubeflow's runner, which an interrupt does not reach."""
    _over.set()
    raise KeyboardInterrupt


def _put_away(order: Path, arguments: dict[str, Any]) -> None:
    """What the launcher does after an interrupt, for one that was killed and could not."""
    from components.store import Store
    from components.tracking import end_run

    shutil.rmtree(order.parent, ignore_errors=True)
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    end_run(Store.from_environment(), arguments["parent_run"], "KILLED")


if __name__ == "__main__":
    # A shell's background job ignores SIGINT, and so does all that it starts; the steps are ended by it.
    signal.signal(signal.SIGINT, _interrupt)
    launcher = os.getppid()
    _end_with_the_launcher()
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        run(**spec)
    except (RuntimeError, KeyboardInterrupt) as error:
        if os.getppid() != launcher:
            _put_away(Path(sys.argv[1]), spec["arguments"])
        sys.exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else str(error))
