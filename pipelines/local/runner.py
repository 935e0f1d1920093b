"""Runs a pipeline on this machine with Kubeflow's local runner, in a separate process: `python -m pipelines.local.runner SPEC`.

The process is separate because the runner prints to stdout, keeps global state, and must be stopped together with its running step.
SPEC is a JSON file: {"pipeline": "bot" or "sweep", "pipeline_root": …, "arguments": {…}}, and "containers":
{"reads": […], "writes": […]} to run the steps in containers that mount these paths.
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

from mynah.core.errors import INTERRUPTED
from mynah.core.settings import PATH, TMPDIR
from mynah.mlflow_client.store import Store
from mynah.tracking.runs import end_run
from pipelines.kfp_compat import keep_outputs_in_loops, run_local_steps_with
from pipelines.local.containers import runner

# Set after a failure or an interrupt, so that no further step starts: Kubeflow's runner has already queued those of a loop.
_over = threading.Event()


def run(pipeline: str, pipeline_root: str, arguments: dict[str, Any], containers: dict[str, list[str]] | None = None) -> None:
    """Run a pipeline until it ends.

    Args:
        pipeline: bot or sweep.
        pipeline_root: the folder of Kubeflow's runner.
        arguments: the pipeline's arguments.
        containers: the paths that containers mount (see `pipelines.local.containers.runner`); None runs steps as processes.

    Raises:
        RuntimeError: a step failed; its error is in the launcher's events.
    """
    _keep_python3_in_parameters()
    from kfp import local

    if containers:
        local.init(runner(pipeline_root, **containers), pipeline_root=pipeline_root)
    else:
        run_local_steps_with(run_step)
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=pipeline_root)
    keep_outputs_in_loops()
    if pipeline == "sweep":
        from pipelines.definitions.sweep import sweep

        sweep(**arguments)
    else:
        from pipelines.definitions.bot import bot

        bot(**arguments)


def run_step(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
    """Run a step until it ends, and print its output. After an interrupt, wait for its end.

    Kubeflow's function abandons an interrupted step after 0.25 s, which is too short for saving a training state.

    Args:
        full_command: the step's command.
        env_vars: further environment variables.

    Returns:
        The exit code.
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
        sys.stdout.writelines(output)  # until all processes of the step have ended; its shell ends first
        raise


def _keep_python3_in_parameters() -> None:
    """Keep `python3` in paths and parameters, where Kubeflow's runner would replace it by sys.executable.

    Set sys.executable to `python3`, so that the replacement has no effect, and put this interpreter first on PATH.
    """
    os.environ[PATH.name] = os.pathsep.join([str(Path(sys.executable).parent), PATH.get()])
    sys.executable = "python3"


def _end_with_the_launcher() -> None:
    """Interrupt the runner and its step when stdin closes, because the launcher has ended."""
    launcher = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # so that the steps do not inherit it

    def watch() -> None:
        while os.read(launcher, 1):
            pass
        os.killpg(0, signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def _interrupt(*_: object) -> None:
    """Handle SIGINT. Trials of a sweep run in a thread, which an interrupt does not reach, so they check `_over`."""
    _over.set()
    raise KeyboardInterrupt


def _clean_up(spec_file: Path, arguments: dict[str, Any]) -> None:
    """Remove the run's folder and end its MLflow run, as the launcher does after an interrupt unless it was killed."""
    shutil.rmtree(spec_file.parent, ignore_errors=True)
    shutil.rmtree(TMPDIR.get(), ignore_errors=True)
    end_run(Store.from_environment(), arguments["parent_run"], "KILLED")


if __name__ == "__main__":
    # A background job of a shell ignores SIGINT, as do its child processes; but steps are stopped by it.
    signal.signal(signal.SIGINT, _interrupt)
    launcher = os.getppid()
    _end_with_the_launcher()
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        run(**spec)
    except (RuntimeError, KeyboardInterrupt) as error:
        if os.getppid() != launcher:
            _clean_up(Path(sys.argv[1]), spec["arguments"])
        sys.exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else str(error))
