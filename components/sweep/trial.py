"""One trial of a sweep: propose a recipe, train with it, stop early where that is hopeless, and record what came of it."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

from components import checkpoint
from components.costs import seconds_within, spent
from components.errors import InputError, MynahError, PlatformError
from components.events import say
from components.filter import read_by_author
from components.finetune import FinetuneSettings, finetune
from components.finetune.base_model import FLEDGLING, resolve
from components.finetune.recipe import Recipe
from components.machine import node_kind, price_per_hour
from components.store import Store, client, store_errors
from components.sweep.records import (
    COMPLETED,
    FAILED,
    PRUNED,
    RUNNING,
    SKIPPED,
    Trial,
    step_name,
    tell,
    tell_now,
    trials_of,
)
from components.sweep.search import is_hopeless, propose
from components.sweep.space import Space, space
from components.tracking import StepRun

MOST_ATTEMPTS = 3  # of a trial that ends its pod: then it failed, and the sweep goes on without it


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What all trials of a sweep have in common, and the number of this one."""

    number: int
    space: str = "default"
    base_model: str = FLEDGLING
    recipe: Recipe = field(default_factory=Recipe)
    budget: float = 0.0  # US dollars for the whole run, with what comes after the trials; 0: no limit
    minutes: float = 0.0  # the same in minutes


class Hopeless(Exception):  # noqa: N818 - a verdict, not a fault
    """Raised in the middle of a training that is not worth its end."""


def trial(data: Path, settings: TrialSettings, store: Store, run: StepRun) -> Trial:
    """Run the trial that `settings` number, record it in its MLflow run and return it.

    An attempt after one that was ended takes the same parameters; one after a trial that is done does nothing. A loss that explodes
    is a failed trial. Raises InputError and PlatformError for what would fail every trial alike.
    """
    siblings = trials_of(store, run.parent_id)
    mine = next((each for each in siblings if each.number == settings.number), None)
    others = [each for each in siblings if each.number != settings.number]
    if mine and mine.state != RUNNING:
        return mine
    if mine and run.attempt > MOST_ATTEMPTS:
        return _told(
            run, replace(mine, state=FAILED, cause=f"it ended its process {MOST_ATTEMPTS} times: too little memory, perhaps")
        )
    seconds = _room(settings, others, store, run.parent_id)
    if seconds is not None and seconds <= 0:
        return _told(
            run, Trial(settings.number, SKIPPED, cause="the budget or the time is needed for what comes after the trials")
        )
    searched = space_of(data, settings)
    params = dict(mine.params) if mine else propose(searched, others, settings.recipe.seed, settings.number)
    recipe = searched.recipe_of(params)
    changes = {key: value for key, value in recipe.to_record().items() if key != "preset"}
    begun = Trial(settings.number, RUNNING, params, changes, recipe.preset)
    tell_now(run, begun)
    run.params({"space": settings.space, "base_model": Path(settings.base_model).name, **recipe.known()})
    watch = _Watch(searched, settings, store, run, begun)
    return _told(run, _train(data, FinetuneSettings(settings.base_model, recipe, seconds), watch))


def space_of(data: Path, settings: TrialSettings) -> Space:
    """The space around what is derived from the model and the texts; the same for all trials of a sweep."""
    from components.finetune import plan
    from components.finetune.batches import encode_texts

    loaded = checkpoint.load(resolve(settings.base_model).folder)
    texts = encode_texts(loaded, read_by_author(data, "train"))
    tokens = sum(len(text.ids) + 1 for theirs in texts.values() for text in theirs)
    config = SimpleNamespace(**loaded.model.config.to_dict())
    return space(settings.space, settings.recipe, plan.derive(settings.recipe, config, tokens, None, "fp32"))


class _Watch:
    """Sees every step of a trial's training: records it, and ends what is hopeless."""

    def __init__(self, searched: Space, settings: TrialSettings, store: Store, run: StepRun, begun: Trial) -> None:
        self._space, self._settings, self._store, self._run = searched, settings, store, run
        self.trial = begun
        self._began = time.monotonic()

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """After an optimiser step, and with the held-out loss before the first and after each epoch. Raises Hopeless."""
        self._run.step_metrics(step, metrics)
        if (loss := metrics.get("held_out_loss")) is None:
            return
        if self.trial.before is None:
            self.trial = replace(self.trial, before=loss)
            return
        self.trial = replace(self.trial, losses=(*self.trial.losses, loss))
        if len(self.trial.losses) < int(self.trial.recipe["epochs"]) and self._is_hopeless():
            raise Hopeless

    def ended(self, state: str, cause: str = "") -> Trial:
        """The trial as it ended."""
        return replace(self.trial, state=state, cause=cause, seconds=round(time.monotonic() - self._began, 2))

    def _is_hopeless(self) -> bool:
        try:
            others = [each for each in trials_of(self._store, self._run.parent_id) if each.number != self.trial.number]
        except PlatformError:  # away for a while: that ends no training
            return False
        return is_hopeless(self._space, others, dict(self.trial.params), self.trial.losses)


def _train(data: Path, settings: FinetuneSettings, watch: _Watch) -> Trial:
    with tempfile.TemporaryDirectory(prefix="mynah-trial-") as scratch:
        try:
            record = finetune(data, Path(scratch) / "model", settings, watch.step)
        except Hopeless:
            return watch.ended(PRUNED)
        except (InputError, PlatformError):
            raise
        except (MynahError, RuntimeError) as error:  # the loss explodes; torch's own for a GPU that is too small
            return watch.ended(FAILED, str(error).strip().split("\n")[0])
    return watch.ended(COMPLETED, "cut short by the budget or the time" if record["out_of_time"] else "")


def _told(run: StepRun, trial: Trial) -> Trial:
    tell(run, trial)
    if trial.loss is not None:
        run.metrics({"best_held_out_loss": trial.loss})
    epochs = f"after {len(trial.losses)} epochs" if len(trial.losses) != 1 else "after the first epoch"
    reached = {
        COMPLETED: "held-out loss {:.3f}", PRUNED: f"stopped {epochs}, held-out loss {{:.3f}}", FAILED: "failed", SKIPPED: "skipped",
    }[trial.state]  # fmt: skip
    say(f"{step_name(trial.number)}: {reached.format(trial.loss)}{f' ({trial.cause})' if trial.cause else ''}")
    return trial


def _room(settings: TrialSettings, others: list[Trial], store: Store, parent_run: str) -> float | None:
    """Seconds that this trial may take; 0 when none is to begin any more; None: no limit.

    Half of what is left, for the best recipe is trained again after the trials. Of a budget the trials that run now take their share.
    """
    limits = []
    if settings.budget and price_per_hour(node_kind()):  # where a node costs nothing, the training of the best says so
        try:
            left = seconds_within(settings.budget, spent(parent_run) or 0.0)
        except InputError:
            left = 0.0
        if left is not None:
            limits.append(left / 2 / (1 + sum(each.state == RUNNING for each in others)))
    if settings.minutes:
        with store_errors(store.tracking_uri):
            began = client(store.tracking_uri).get_run(parent_run).info.start_time / 1000
        limits.append((settings.minutes * 60 - (time.time() - began)) / 2)
    if not limits:
        return None
    took = [each.seconds for each in others if each.seconds]
    usual = sum(took) / len(took) if took else 0.0
    return min(limits) if min(limits) >= usual else 0.0
