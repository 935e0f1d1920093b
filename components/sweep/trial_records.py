"""Records trials in MLflow and reads them: each is a nested run, whose tag `mynah.trial` holds all that its siblings need."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mynah.core.errors import InputError
from mynah.mlflow_client.store import Store
from mynah.tracking.runs import steps_of
from mynah.tracking.step_run import StepRun
from mynah.training.recipe import Recipe, build

TRIAL_TAG, STATE_TAG = "mynah.trial", "mynah.trial_state"
RUNNING, COMPLETED, PRUNED, FAILED, SKIPPED = STATES = ("running", "completed", "pruned", "failed", "skipped")
MAX_LOSSES = 300  # per trial: a tag holds 5,000 characters


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: sampled parameters, the whole recipe, and the held-out loss after each epoch in nats per token."""

    number: int
    state: str
    params: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)  # the changes to its preset
    preset: str = "default"
    losses: Sequence[float] = ()
    before: float | None = None  # held-out loss of the base model
    seconds: float = 0.0
    cause: str = ""  # why it failed, was skipped or stopped
    kept_from: str = ""  # the run of an earlier search that trained it; "" for this one

    @property
    def loss(self) -> float | None:
        """The lowest held-out loss; None when no epoch was finished."""
        return min(self.losses, default=None)

    def built(self) -> Recipe:
        """Return the recipe. Raises InputError when it is invalid."""
        return build(self.preset, dict(self.recipe))

    def values(self) -> dict[str, Any]:
        """Return the recipe's values of the searched parameters."""
        return {key: self.recipe[key] for key in self.params}


def trials_of(store: Store, parent_run: str) -> list[Trial]:
    """Return the recorded trials of a pipeline run, sorted by number, without other nested runs.

    Args:
        store: the store with the runs.
        parent_run: the pipeline run's id in MLflow.

    Raises:
        PlatformError: MLflow is unreachable.
    """
    trials = [read_trial(name, run) for name, run in steps_of(store, parent_run).items()]
    return sorted((trial for trial in trials if trial), key=lambda trial: trial.number)


def step_name(number: int) -> str:
    """Return the step name (the tag mynah.step) of a trial's run."""
    return f"trial-{number}"


def record_start(run: StepRun, trial: Trial) -> None:
    """Record a started trial and its parameters immediately, so that its siblings can consider it.

    Args:
        run: the trial's run.
        trial: the trial.

    Raises:
        PlatformError: MLflow is unreachable.
    """
    run.own_tags(_tags(trial), now=True)


def record_end(run: StepRun, trial: Trial) -> None:
    """Record a finished trial. When MLflow is unreachable, the record is sent later.

    Args:
        run: the trial's run.
        trial: the trial.
    """
    run.own_tags(_tags(trial))


def _tags(trial: Trial) -> dict[str, str]:
    record = asdict(trial) | {"losses": [float(f"{loss:.6g}") for loss in trial.losses[:MAX_LOSSES]], "cause": trial.cause[:300]}
    return {TRIAL_TAG: json.dumps(record, separators=(",", ":"), allow_nan=False), STATE_TAG: trial.state}


def read_trial(name: str, run: Any) -> Trial | None:  # noqa: ANN401 - MLflow's run
    """Return the trial of a nested run; None when it is none or its tag is invalid, since anybody can write tags.

    Args:
        name: the step's name.
        run: MLflow's run.
    """
    number = re.fullmatch(r"trial-([1-9]\d{0,5})", name)
    if not number or TRIAL_TAG not in run.data.tags:
        return None
    try:
        trial = Trial(**json.loads(run.data.tags[TRIAL_TAG]))
        trial.built()
        is_valid = (
            trial.number == int(number[1])
            and trial.state in STATES
            and set(trial.params) <= set(trial.recipe)
            and all(
                _is_number(value) for value in (*trial.losses, trial.seconds, *([] if trial.before is None else [trial.before]))
            )
            and (trial.state != COMPLETED or len(trial.losses) > 0)
            and isinstance(trial.cause, str)
            and isinstance(trial.kept_from, str)
        )
    except (ValueError, TypeError, RecursionError, InputError):
        return None
    return trial if is_valid else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
