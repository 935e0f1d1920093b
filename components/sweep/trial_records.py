"""What trials leave in MLflow, and how others read it: a nested run each, whose tag `mynah.trial` holds all that a sibling needs."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from components.errors import InputError
from components.finetune.recipe import Recipe, build
from components.store import Store
from components.tracking import StepRun, steps_of

TRIAL_TAG, STATE_TAG = "mynah.trial", "mynah.trial_state"
RUNNING, COMPLETED, PRUNED, FAILED, SKIPPED = STATES = ("running", "completed", "pruned", "failed", "skipped")
MOST_LOSSES = 300  # of a trial that are told: a tag holds 5,000 characters


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: what was drawn, the whole recipe, and the held-out loss after each epoch in nats per token."""

    number: int
    state: str
    params: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)  # what it has other than its preset
    preset: str = "default"
    losses: Sequence[float] = ()
    before: float | None = None  # held-out loss of the base model
    seconds: float = 0.0
    cause: str = ""  # why it failed, was skipped or cut short

    @property
    def loss(self) -> float | None:
        """The lowest held-out loss; None where no epoch was finished."""
        return min(self.losses, default=None)

    def built(self) -> Recipe:
        """The recipe. Raises InputError when it is none."""
        return build(self.preset, dict(self.recipe))

    def values(self) -> dict[str, Any]:
        """What was searched, as the recipe has it."""
        return {key: self.recipe[key] for key in self.params}


def trials_of(store: Store, parent_run: str) -> list[Trial]:
    """The trials of a pipeline run by number, as far as they are. Nested runs that are none are passed over. Raises PlatformError."""
    found = [_read(name, run) for name, run in steps_of(store, parent_run).items()]
    return sorted((trial for trial in found if trial), key=lambda trial: trial.number)


def step_name(number: int) -> str:
    """Of a trial's run: mynah.step."""
    return f"trial-{number}"


def tell_now(run: StepRun, trial: Trial) -> None:
    """Record at once that a trial runs and with what: siblings that begin now take it into account. Raises PlatformError."""
    run.own_tags(_tags(trial), now=True)


def tell(run: StepRun, trial: Trial) -> None:
    """Record what came of a trial; it waits for MLflow as all records do."""
    run.own_tags(_tags(trial))


def _tags(trial: Trial) -> dict[str, str]:
    record = asdict(trial) | {"losses": [float(f"{loss:.6g}") for loss in trial.losses[:MOST_LOSSES]], "cause": trial.cause[:300]}
    return {TRIAL_TAG: json.dumps(record, separators=(",", ":"), allow_nan=False), STATE_TAG: trial.state}


def _read(name: str, run: Any) -> Trial | None:  # noqa: ANN401 - MLflow's run
    """The trial of a nested run; None where it is none, or nonsense: anybody can write tags."""
    number = re.fullmatch(r"trial-([1-9]\d{0,5})", name)
    if not number or TRIAL_TAG not in run.data.tags:
        return None
    try:
        trial = Trial(**json.loads(run.data.tags[TRIAL_TAG]))
        trial.built()
        sound = (
            trial.number == int(number[1])
            and trial.state in STATES
            and set(trial.params) <= set(trial.recipe)
            and all(
                _is_number(value) for value in (*trial.losses, trial.seconds, *([] if trial.before is None else [trial.before]))
            )
            and (trial.state != COMPLETED or len(trial.losses) > 0)
            and isinstance(trial.cause, str)
        )
    except (ValueError, TypeError, RecursionError, InputError):
        return None
    return trial if sound else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
