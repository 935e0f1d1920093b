"""The end of a sweep: chooses the best trial and writes its recipe, a table of all trials and a plot of the search."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from components.sweep.proposals import importances
from components.sweep.search_plot import draw
from components.sweep.trial_records import COMPLETED, FAILED, PRUNED, RUNNING, SKIPPED, Trial, trials_of
from mynah.core.errors import MynahError
from mynah.core.files import atomic_folder, write_json, write_text
from mynah.mlflow_client.store import Store, work_folders
from mynah.training.recipe import RECIPE_FILE

TRIALS_FILE, PICTURE_FILE = "trials.json", "search.png"


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best trial of a sweep, with all of its trials."""

    best: Trial
    trials: list[Trial]
    importance: dict[str, float]  # share of each parameter in the variation of the loss; {} after too few trials

    def to_record(self) -> dict[str, Any]:
        """Return the trials as a JSON object."""
        return {"best": self.best.number, "trials": [_row(trial) for trial in self.trials], "importance": self.importance}


def choose(out: Path, store: Store, parent_run: str) -> BestTrial:
    """Choose the trial with the lowest held-out loss and write trials.json, search.png and recipe.yaml.

    A trial that was stopped early is chosen only when no trial completed.

    Args:
        out: the folder to write.
        store: the store with the trials' runs.
        parent_run: the pipeline run's id in MLflow.

    Returns:
        The best trial, with all trials.

    Raises:
        MynahError: no trial was trained; the message names the last cause.
        PlatformError: MLflow or the disk fails.
    """
    trials = [_as_failed_if_running(trial) for trial in trials_of(store, parent_run)]
    best = next((candidate for state in (COMPLETED, PRUNED) if (candidate := _best(trials, state))), None)
    if not best:
        raise _no_trial_error(trials)
    attempted = [trial for trial in trials if trial.state != SKIPPED]
    chosen = BestTrial(best, trials, importances(list(best.params), attempted))
    with atomic_folder(out, around=work_folders(store)) as folder:
        write_json(folder / TRIALS_FILE, chosen.to_record())
        write_text(folder / RECIPE_FILE, yaml.safe_dump({"preset": best.preset, **best.recipe}, sort_keys=False))
        draw(attempted, best, folder / PICTURE_FILE)
    return chosen


def _as_failed_if_running(trial: Trial) -> Trial:
    """Mark a trial that is still recorded as running as failed: its process was killed."""
    return replace(trial, state=FAILED, cause="its process was killed") if trial.state == RUNNING else trial


def _best(trials: list[Trial], state: str) -> Trial | None:
    """Return the trial with the lowest loss, the earliest of equal ones."""
    candidates = [(trial.loss, trial.number, trial) for trial in trials if trial.state == state and trial.loss is not None]
    return min(candidates)[2] if candidates else None


def _no_trial_error(trials: list[Trial]) -> MynahError:
    failed = [trial for trial in trials if trial.state == FAILED]
    if failed:
        last_failed = failed[-1]
        return MynahError(
            f"all {len(failed)} trials failed, the last of them ({last_failed.number}): {last_failed.cause}",
            "Search lower learning rates, or fewer values.",
        )
    if trials:
        return MynahError("the budget or the time did not suffice for a single trial", "Raise --budget or --minutes.")
    return MynahError("no trial of this sweep is recorded in MLflow", "Check whether its runs were deleted.")


def _row(trial: Trial) -> dict[str, Any]:
    """Return a trial as a JSON object."""
    return {
        "number": trial.number, "state": trial.state, "held_out_loss": trial.loss, "losses": list(trial.losses), "before": trial.before,
        "seconds": trial.seconds, "cause": trial.cause, "kept_from": trial.kept_from, "searched": trial.values(),
    }  # fmt: skip
