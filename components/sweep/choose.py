"""The end of a sweep: the best trial's recipe, a table of all trials, and a picture of the search."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from components.errors import MynahError
from components.files import atomic_folder, write_json, write_text
from components.store import Store
from components.sweep.picture import draw
from components.sweep.records import COMPLETED, FAILED, PRUNED, RUNNING, SKIPPED, Trial, trials_of
from components.sweep.search import importances

TRIALS_FILE, PICTURE_FILE, RECIPE_FILE = "trials.json", "search.png", "recipe.yaml"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best trial, and all of them."""

    best: Trial
    trials: list[Trial]
    importance: dict[str, float]  # share of each parameter in how much the loss varied; {} where too few trials tell

    @property
    def recipe(self) -> dict[str, Any]:
        """As the finetune step takes it."""
        return {"preset": self.best.preset, "changes": dict(self.best.recipe)}

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"best": self.best.number, "trials": [_row(each) for each in self.trials], "importance": self.importance}


def choose(out: Path, store: Store, parent_run: str) -> Chosen:
    """Choose among the trials of a pipeline run by their lowest held-out loss; write trials.json, search.png and recipe.yaml to `out`.

    Only where none was completed may one be chosen that was stopped early. Raises MynahError naming the last cause when none trained
    at all, and PlatformError.
    """
    trials = [_over(each) for each in trials_of(store, parent_run)]
    best = next((found for state in (COMPLETED, PRUNED) if (found := _best(trials, state))), None)
    if not best:
        raise _nothing(trials)
    tried = [each for each in trials if each.state != SKIPPED]
    chosen = Chosen(best, trials, importances(list(best.params), tried))
    with atomic_folder(out) as folder:
        write_json(folder / TRIALS_FILE, chosen.to_record())
        write_text(folder / RECIPE_FILE, yaml.safe_dump({"preset": best.preset, **best.recipe}, sort_keys=False))
        draw(tried, best, folder / PICTURE_FILE)
    return chosen


def _over(trial: Trial) -> Trial:
    """A trial that still says it runs was ended from outside."""
    return replace(trial, state=FAILED, cause="it was ended from outside") if trial.state == RUNNING else trial


def _best(trials: list[Trial], state: str) -> Trial | None:
    """The lowest loss, the first of equals."""
    found = [(each.loss, each.number, each) for each in trials if each.state == state and each.loss is not None]
    return min(found)[2] if found else None


def _nothing(trials: list[Trial]) -> MynahError:
    failed = [each for each in trials if each.state == FAILED]
    if failed:
        last = failed[-1]
        return MynahError(
            f"all {len(failed)} trials failed, the last of them ({last.number}): {last.cause}",
            "Search lower learning rates, or fewer values.",
        )
    if trials:
        return MynahError("there was no room for a single trial", "Give it more with --budget or --minutes.")
    return MynahError("no trial of this sweep is recorded in MLflow", "Were its runs deleted?")


def _row(trial: Trial) -> dict[str, Any]:
    """A trial for machines."""
    return {
        "number": trial.number, "state": trial.state, "held_out_loss": trial.loss, "losses": list(trial.losses), "before": trial.before,
        "seconds": trial.seconds, "cause": trial.cause, "searched": trial.values(),
    }  # fmt: skip
