"""A sweep: short training runs with different recipes (trials), to find the best recipe for an author's posts.

Each trial is a nested MLflow run of the pipeline run. The trials share nothing else: each reads its siblings' results, asks Optuna for
a promising recipe, and records its own result. So they can run one after another on a laptop, or concurrently in pods.
"""

import importlib.util
import math
from dataclasses import dataclass

from mynah.core.errors import InputError
from mynah.core.names import nearest

SPACES = ("default", "huggingtweets")  # one for each preset
MAX_TRIALS = 1000  # an Argo workflow is one Kubernetes object, whose size is limited


@dataclass(frozen=True, slots=True)
class Sweep:
    """The settings of a sweep, validated when they are built."""

    trials: int = 12
    space: str = ""  # "": that of the recipe's preset
    minutes: float = 0.0  # for the whole pipeline run, including the steps after the trials; 0: no limit

    def __post_init__(self) -> None:
        if self.space:
            require_space(self.space)
        if not 1 <= self.trials <= MAX_TRIALS:
            raise InputError(f"a sweep cannot have {self.trials} trials", f"Give --trials from 1 to {MAX_TRIALS:,}.")
        if not 0 <= self.minutes < math.inf:
            raise InputError(f"a sweep cannot take {self.minutes} minutes", "Give --minutes from 0, which sets no limit.")

    @property
    def numbers(self) -> list[int]:
        """The trials' numbers, over which the pipeline loops."""
        return list(range(1, self.trials + 1))


def require_space(name: str) -> None:
    """Raise InputError for an unknown space, naming the nearest known one."""
    if name not in SPACES:
        raise InputError(f"there is no space {name[:40]!r}", nearest(name, SPACES))


def require_optuna() -> None:
    """Raise InputError when Optuna, which proposes the recipes, is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise InputError("a sweep needs Optuna, and it is not installed", "Install it: pip install 'mynah[sweep]'.")
