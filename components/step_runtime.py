"""What every Kubeflow step has around its work: the run's specification and folders, a nested MLflow run, and news for the launcher."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.handover import Handover, handover
from components.run_inputs import RunInputs, read_inputs
from components.step_log import step_log
from mynah.core.errors import InputError, MynahError, PlatformError, interrupt_on_sigterm
from mynah.core.gc_settings import relax_gc
from mynah.core.progress import emit_event
from mynah.maintenance.handed_on import bot_of
from mynah.mlflow_client.store import Store, step_store
from mynah.registry.forgotten_bots import refuse_forgotten_bot, refuse_forgotten_run
from mynah.storage.run_files import parse
from mynah.tracking.kfp_runs import start_run
from mynah.tracking.step_run import StepRun, step_run


@dataclass(frozen=True, slots=True)
class Step:
    """What the work of a step is given."""

    inputs: RunInputs
    files: Handover
    parent_run: str  # the pipeline run's id in MLflow; "": nothing is recorded
    run: StepRun = field(default_factory=StepRun)  # the step's own nested run


@contextlib.contextmanager
def step(name: str, spec: str, kfp_run: str, parent_run: str) -> Iterator[Step]:
    """Run a step that is one thing: its run in MLflow, its start and end for the launcher, and its error in words.

    Args:
        name: The step, as MLflow and the launcher call it.
        spec: The reference of the run's specification.
        kfp_run: The id of the Kubeflow run; "" on a laptop.
        parent_run: The pipeline run's id in MLflow; "" starts it, on a cluster.
    """
    with steps(name, spec, kfp_run, parent_run) as at, part(name, at.parent_run) as run:
        yield Step(at.inputs, at.files, at.parent_run, run)


@contextlib.contextmanager
def steps(name: str, spec: str, kfp_run: str, parent_run: str) -> Iterator[Step]:
    """Run a step of several parts, each of which has its own run in MLflow (`part`). The arguments are those of `step`.

    Raises InputError for a bot that was forgotten, whatever still starts its runs.
    """
    with process(name):
        refuse_forgotten_run(step_store(), spec)  # before the log: nothing is written below an id that was erased
        with step_log(spec, kfp_run, name), handover(spec, kfp_run) as files:
            with _recorded(name, spec, kfp_run, parent_run):
                inputs = read_inputs(spec)
            refuse_forgotten_bot(step_store(), inputs.name)  # not recorded: nothing of the bot is written again
            with _recorded(name, spec, kfp_run, parent_run):
                run = parent_run or _started(inputs, kfp_run)
            yield Step(inputs, files, run)


@contextlib.contextmanager
def process(name: str) -> Iterator[None]:
    """Set up a step's process, and tell its error in words that the launcher can show."""
    relax_gc()
    interrupt_on_sigterm()
    try:
        yield
    except MynahError as error:
        emit_event("error", step=name, kind=type(error).__name__, problem=error.problem, fix=error.fix)
        raise


@contextlib.contextmanager
def part(name: str, parent_run: str) -> Iterator[StepRun]:
    """Run a step, or a part of one, in a nested run of MLflow, and tell the launcher its start and its end."""
    emit_event("start", step=name)
    with step_run(name, step_store(), parent_run) as run:
        yield run
    emit_event("end", step=name)


def _started(inputs: RunInputs, kfp_run: str) -> str:
    """Return the MLflow run of a bot in a Kubeflow run, which the first step starts; "" on a laptop that records nothing."""
    if not kfp_run:
        return ""
    from mynah.training.recipe import build

    params = {"base_model": Path(inputs.base_model).name, "rules": inputs.rules, "limit": inputs.limit, "budget": inputs.budget}
    return start_run(inputs.name, kfp_run, Store.from_environment(), {**params, **build(**inputs.recipe).to_record()})


@contextlib.contextmanager
def _recorded(name: str, spec: str, kfp_run: str, parent_run: str) -> Iterator[None]:
    """Record an error in the input that arises before the step's own run, as that run would: Kubeflow's further attempts end with it at once.

    Args:
        name: The step.
        spec: The reference of the run's specification.
        kfp_run: The id of the Kubeflow run; "" on a laptop.
        parent_run: The pipeline run's id in MLflow; "" where it is not started yet.
    """
    try:
        yield
    except InputError:
        with contextlib.suppress(PlatformError):  # the error in the input is more informative
            run = parent_run or _started_for_error(spec, kfp_run)
            with step_run(name, step_store(), run):
                raise
        raise


def _started_for_error(spec: str, kfp_run: str) -> str:
    """Return the MLflow run of a bot whose specification cannot be used; "" where that does not tell the bot, or the bot was forgotten."""
    files = parse(spec)
    bot = bot_of(files) if files and kfp_run else ""
    if not bot:
        return ""
    with contextlib.suppress(InputError):
        refuse_forgotten_bot(step_store(), bot)
        return start_run(bot, kfp_run, Store.from_environment(), {})
    return ""
