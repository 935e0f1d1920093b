"""What every Kubeflow step has around its work: a nested MLflow run, and news for whoever launched the pipeline."""

import contextlib
import os
import signal
from collections.abc import Iterator

from components.errors import MynahError
from components.events import send
from components.tracking import StepRun, step_run

# The image that the steps run in on a cluster and in containers; on a laptop they run in this Python. It holds mynah and
# kfp (`pip install --no-deps kfp`), so that no step installs anything when it starts.
IMAGE = os.environ.get("MYNAH_IMAGE", "mynah/python:0.1.0")


@contextlib.contextmanager
def step(name: str, parent_run: str, **outputs: str) -> Iterator[StepRun]:
    """Run a step's work: its run in MLflow, its start and end for the launcher, and its error in words that the launcher can show.

    `outputs` are the folders that the work writes, by name.
    """
    # Kubernetes ends a pod with SIGTERM: end as on Ctrl-C, so that half-written folders go and the run is marked KILLED.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    send("start", step=name)
    try:
        with step_run(name, os.environ.get("MLFLOW_TRACKING_URI", ""), parent_run) as run:
            yield run
    except MynahError as error:
        send("error", step=name, kind=type(error).__name__, problem=error.problem, fix=error.fix)
        raise
    send("end", step=name, outputs=outputs)


def _interrupt() -> None:
    raise KeyboardInterrupt
