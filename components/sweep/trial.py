"""One trial of a sweep: proposes a recipe, trains with it, stops early when it is unpromising, and records the result."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.finetune import derived_settings
from components.finetune.data_packing import encode_texts
from components.finetune.device import require_gpu_of_node
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from components.sweep.earlier_trials import bot_of, describe_start, earlier_trials, is_finished, search_inputs
from components.sweep.proposals import propose, should_prune
from components.sweep.search_space import Space, space
from components.sweep.trial_records import (
    COMPLETED,
    FAILED,
    PRUNED,
    RUNNING,
    SKIPPED,
    Trial,
    record_end,
    record_start,
    step_name,
    trials_of,
)
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.machine import node_kind, price_per_hour
from mynah.core.progress import notify
from mynah.data.datasets import read_by_author
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import Store
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING, resolve
from mynah.tracking.costs import seconds_within_budget, spent_so_far
from mynah.tracking.step_run import StepRun
from mynah.training.recipe import Recipe

KEPT_TAG = "mynah.kept_from"  # on a trial that an earlier search trained: the run that did
MAX_ATTEMPTS = 3  # of a trial that kills its pod; then it counts as failed, and the sweep continues


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """The settings of a trial: its number, and what all trials of a sweep share."""

    number: int
    space: str = "default"
    base_model: str = FLEDGLING
    recipe: Recipe = field(default_factory=Recipe)
    budget: float = 0.0  # US dollars for the whole pipeline run, including the steps after the trials; 0: no limit
    minutes: float = 0.0  # time limit of the whole pipeline run; 0: no limit


class TrialPruned(Exception):  # noqa: N818 - an outcome, not an error
    """Raised during training to stop an unpromising trial."""


def trial(data: Path, settings: TrialSettings, store: Store, run: StepRun) -> Trial:
    """Run a trial and record it in its MLflow run.

    A retry of an interrupted trial uses the same parameters; a retry of a finished trial does nothing. A trial that finished in an
    earlier search with the same inputs is kept, and one that was under way there is trained with the same parameters. A trial whose
    loss diverges is recorded as failed.

    Args:
        data: the folder that the filter step wrote.
        settings: the trial's settings.
        store: the store with the trials' runs.
        run: the trial's run in MLflow.

    Returns:
        The finished trial.

    Raises:
        InputError, PlatformError: an error that would fail every trial, such as a GPU node without a usable GPU.
    """
    require_gpu_of_node()
    siblings = trials_of(store, run.parent_id)
    current = next((other for other in siblings if other.number == settings.number), None)
    if current and current.state != RUNNING:
        return current
    earlier = _earlier(data, settings, store, run)
    if (kept := earlier.get(settings.number)) and is_finished(kept):
        return _keep(run, settings, kept)
    finished = [other for other in earlier.values() if is_finished(other)]
    others = _others(siblings, finished, settings.number)
    if current and run.attempt > MAX_ATTEMPTS:
        return _finish(
            run, replace(current, state=FAILED, cause=f"it killed its process {MAX_ATTEMPTS} times, possibly for lack of memory")
        )
    seconds = _time_limit(settings, others, store, run.parent_id)
    if seconds is not None and seconds <= 0:
        return _finish(
            run, Trial(settings.number, SKIPPED, cause="the remaining budget or time is needed for the steps after the trials")
        )
    search_space = search_space_for(data, settings)
    begun = current or kept
    if begun and set(begun.params) == set(search_space.distributions()):
        params = dict(begun.params)
    else:
        params = propose(search_space, others, settings.recipe.seed, settings.number)
    initial = _initial(settings.number, search_space, params)
    record_start(run, initial)
    _record_params(run, settings, initial.built())
    monitor = _TrialMonitor(search_space, finished, store, run, initial)
    return _finish(run, _train(data, FinetuneSettings(settings.base_model, initial.built(), seconds), monitor))


def _initial(number: int, search_space: Space, params: Mapping[str, Any]) -> Trial:
    """Return a trial as it starts."""
    recipe = search_space.recipe_of(params)
    changes = {key: value for key, value in recipe.to_record().items() if key != "preset"}
    return Trial(number, RUNNING, params, changes, recipe.preset)


def _record_params(run: StepRun, settings: TrialSettings, recipe: Recipe) -> None:
    run.params({"space": settings.space, "base_model": Path(settings.base_model).name, **recipe.to_record()})


def _earlier(data: Path, settings: TrialSettings, store: Store, run: StepRun) -> dict[int, Trial]:
    """Tag the run with the search's inputs, and return the trials of earlier searches with the same; the first trial reports them."""
    inputs = search_inputs(bot_of(store, run.parent_id), data, settings.space, settings.base_model, settings.recipe)
    earlier = earlier_trials(store, run.parent_id, inputs)
    if settings.number == 1 and (line := describe_start(store, inputs, earlier)):
        notify(line)
    run.tags_now(inputs.tags())
    return earlier


def _others(siblings: Sequence[Trial], kept: Sequence[Trial], number: int) -> list[Trial]:
    """Return all trials but one: those of this search, and those of earlier ones that it has yet to record."""
    recorded = {other.number for other in siblings}
    known = [*siblings, *(other for other in kept if other.number not in recorded)]
    return sorted((other for other in known if other.number != number), key=lambda other: other.number)


def search_space_for(data: Path, settings: TrialSettings) -> Space:
    """Return the search space, which is the same for all trials of a sweep: it is derived from the model and the texts.

    Args:
        data: the folder that the filter step wrote.
        settings: the trial's settings.
    """
    loaded = checkpoint.load(resolve(settings.base_model).folder)
    texts = encode_texts(loaded, read_by_author(data, "train"))
    tokens = sum(len(text.ids) + 1 for author_texts in texts.values() for text in author_texts)
    derived = derived_settings.derive(settings.recipe, loaded.architecture, tokens, None, "fp32")
    return space(settings.space, settings.recipe, derived)


class _TrialMonitor:
    """Records the metrics of a trial's training, and stops it when it is unpromising."""

    def __init__(self, search_space: Space, kept: Sequence[Trial], store: Store, run: StepRun, initial: Trial) -> None:
        self._space, self._kept, self._store, self._run = search_space, kept, store, run
        self.trial = initial
        self._started = time.monotonic()

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics; the callback of `finetune`.

        Args:
            step: the optimizer step.
            metrics: the metrics, by name; losses are in nats per token.

        Raises:
            TrialPruned: after an epoch, when the trial is unpromising.
        """
        self._run.step_metrics(step, metrics)
        if (loss := metrics.get("held_out_loss")) is None:
            return
        if self.trial.before is None:
            self.trial = replace(self.trial, before=loss)
            return
        self.trial = replace(self.trial, losses=(*self.trial.losses, loss))
        if len(self.trial.losses) < int(self.trial.recipe["epochs"]) and self._should_prune():
            raise TrialPruned

    def as_ended(self, state: str, cause: str = "") -> Trial:
        """Return the finished trial.

        Args:
            state: how it ended.
            cause: why it failed or stopped, or "".
        """
        return replace(self.trial, state=state, cause=cause, seconds=round(time.monotonic() - self._started, 2))

    def _should_prune(self) -> bool:
        try:
            others = _others(trials_of(self._store, self._run.parent_id), self._kept, self.trial.number)
        except PlatformError:  # MLflow is unreachable for now, which must not stop training
            return False
        return should_prune(self._space, others, dict(self.trial.params), self.trial.losses)


def _train(data: Path, settings: FinetuneSettings, monitor: _TrialMonitor) -> Trial:
    with tempfile.TemporaryDirectory(prefix="mynah-trial-") as scratch:
        try:
            record = finetune(data, Path(scratch) / "model", settings, monitor.step)
        except TrialPruned:
            return monitor.as_ended(PRUNED)
        except (InputError, PlatformError):
            raise
        except (MynahError, RuntimeError) as error:  # the loss diverges; torch raises RuntimeError when the GPU is too small
            return monitor.as_ended(FAILED, str(error).strip().split("\n")[0])
    return monitor.as_ended(COMPLETED, "stopped at the budget or time limit" if record.out_of_time else "")


def _keep(run: StepRun, settings: TrialSettings, trial: Trial) -> Trial:
    """Record a trial of an earlier search as one of this; its curves stay in the run that trained it."""
    _record_params(run, settings, trial.built())
    run.own_tags({KEPT_TAG: trial.kept_from})
    return _finish(run, trial)


def _finish(run: StepRun, trial: Trial) -> Trial:
    record_end(run, trial)
    if trial.loss is not None:
        run.metrics({"best_held_out_loss": trial.loss})
    epochs = f"after {len(trial.losses)} epochs" if len(trial.losses) != 1 else "after the first epoch"
    reached = {
        COMPLETED: "held-out loss {:.3f}", PRUNED: f"stopped {epochs}, held-out loss {{:.3f}}", FAILED: "failed", SKIPPED: "skipped",
    }[trial.state]  # fmt: skip
    kept = ", kept from an earlier search" if trial.kept_from else ""
    notify(f"{step_name(trial.number)}: {reached.format(trial.loss)}{f' ({trial.cause})' if trial.cause else ''}{kept}")
    return trial


def _time_limit(settings: TrialSettings, others: list[Trial], store: Store, parent_run: str) -> float | None:
    """Return the time limit of a trial in seconds; 0 when no further trial should start, None without a limit.

    The limit is half of the remaining time, because the best recipe is trained again after the trials. Running trials share a budget.

    Args:
        settings: the trial's settings.
        others: the other trials of the sweep.
        store: the store with the pipeline run.
        parent_run: the pipeline run's id in MLflow.
    """
    limits = []
    if settings.budget and price_per_hour(node_kind()):  # for a node without a price, the final training step reports it
        try:
            remaining = seconds_within_budget(settings.budget, spent_so_far(parent_run) or 0.0)
        except InputError:
            remaining = 0.0
        if remaining is not None:
            limits.append(remaining / 2 / (1 + sum(other.state == RUNNING for other in others)))
    if settings.minutes:
        with store_errors(store.tracking_uri):
            started = client(store.tracking_uri).get_run(parent_run).info.start_time / 1000
        limits.append((settings.minutes * 60 - (time.time() - started)) / 2)
    if not limits:
        return None
    durations = [other.seconds for other in others if other.seconds]
    mean_duration = sum(durations) / len(durations) if durations else 0.0
    return min(limits) if min(limits) >= mean_duration else 0.0
