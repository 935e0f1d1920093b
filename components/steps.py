"""What every Kubeflow step has around its work: a nested MLflow run, and news for whoever launched the pipeline."""

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator

from components.errors import MynahError, interrupt_on_sigterm
from components.events import send
from components.garbage import collect_seldom
from components.store import Store
from components.tracking import StepRun, step_run


def image(target: str) -> str:
    """The image of a target of images/Containerfile (data, train or serve): MYNAH_DATA_IMAGE and so on, or this version's tag.

    Read when a component is imported. It holds mynah and kfp (`pip install --no-deps kfp`), so that no step installs anything when
    it starts; on a laptop the steps run in this Python instead.
    """
    return os.environ.get(f"MYNAH_{target.upper()}_IMAGE") or f"mynah-{target}:{importlib.metadata.version('mynah')}"


DATA_IMAGE = image("data")  # without torch
TRAIN_IMAGE = image("train")


@contextlib.contextmanager
def step(name: str, parent_run: str, **outputs: str) -> Iterator[StepRun]:
    """Run a step's work: its run in MLflow, its start and end for the launcher, and its error in words that the launcher can show.

    `outputs` are the folders that the work writes, by name.
    """
    collect_seldom()
    interrupt_on_sigterm()
    send("start", step=name)
    try:
        with step_run(name, step_store(), parent_run) as run:
            yield run
    except MynahError as error:
        send("error", step=name, kind=type(error).__name__, problem=error.problem, fix=error.fix)
        raise
    send("end", step=name, outputs=outputs)


def step_store() -> Store | None:
    """The store that the step's environment names; None where it names none."""
    return Store.from_environment() if os.environ.get("MLFLOW_TRACKING_URI") else None
