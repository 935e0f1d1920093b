"""sweep: short trainings with different recipes (trials), to find the recipe that suits a person's posts.

Each trial is a nested MLflow run of the pipeline run. The trials share nothing else: each reads what its siblings found so far, asks
Optuna for a recipe that promises more, and records what came of it. So they run one after another on a laptop, and in pods at once.
"""

import importlib.util
import math
from dataclasses import dataclass
from typing import Any

from components.errors import InputError
from components.names import nearest

SPACES = ("default", "huggingtweets")  # a space around each preset
MOST_TRIALS = 1000  # a workflow of Argo's is one object of Kubernetes


@dataclass(frozen=True, slots=True)
class Sweep:
    """How many recipes to try, from which space, and for how long; refuses nonsense when it is built."""

    trials: int = 12
    space: str = "default"
    minutes: float = 0.0  # for the whole run, what comes after the trials included; 0: no limit

    def __post_init__(self) -> None:
        require_space(self.space)
        if not 1 <= self.trials <= MOST_TRIALS:
            raise InputError(f"a sweep cannot have {self.trials} trials", f"Give --trials from 1 to {MOST_TRIALS:,}.")
        if not 0 <= self.minutes < math.inf:
            raise InputError(f"a sweep cannot take {self.minutes} minutes", "Give --minutes from 0, which sets no limit.")

    def arguments(self) -> dict[str, Any]:
        """The pipeline's own parameters: it loops over the trials' numbers."""
        return {"trials": list(range(1, self.trials + 1)), "space": self.space, "minutes": self.minutes}


def require_space(name: str) -> None:
    """Raise InputError for a space that does not exist, naming the nearest that does."""
    if name not in SPACES:
        raise InputError(f"there is no space {name[:40]!r}", nearest(name, SPACES))


def require_optuna() -> None:
    """Raise InputError where Optuna, which proposes the recipes, is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise InputError("a sweep needs Optuna, and it is not installed", "Install it: pip install 'mynah[sweep]'.")
