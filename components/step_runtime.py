"""What every Kubeflow step has around its work: a nested MLflow run, and news for whoever launched the pipeline."""

import contextlib
from collections.abc import Iterator

from mynah.core.errors import MynahError, interrupt_on_sigterm
from mynah.core.gc_settings import relax_gc
from mynah.core.progress import emit_event
from mynah.mlflow_client.store import step_store
from mynah.registry.forgotten_bots import refuse_forgotten_run
from mynah.tracking.step_run import StepRun, step_run


@contextlib.contextmanager
def step(name: str, parent_run: str, **outputs: str) -> Iterator[StepRun]:
    """Run a step's work: its run in MLflow, its start and end for the launcher, and its error in words that the launcher can show.

    A step of a bot that was forgotten ends at once with an InputError.

    `outputs` are the folders that the work writes, by name.
    """
    relax_gc()
    interrupt_on_sigterm()
    emit_event("start", step=name)
    try:
        refuse_forgotten_run(step_store(), parent_run)
        with step_run(name, step_store(), parent_run) as run:
            yield run
    except MynahError as error:
        emit_event("error", step=name, kind=type(error).__name__, problem=error.problem, fix=error.fix)
        raise
    emit_event("end", step=name, outputs=outputs)
