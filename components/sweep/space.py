"""The spaces that a sweep searches: which values of the recipe vary, and between which bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError
from components.finetune.recipe import PRESETS, Recipe, build, read
from components.sweep import require_space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = Mapping[str, Any]  # what Optuna draws, by the recipe's key


@dataclass(frozen=True, slots=True)
class Fraction:
    """A number between two bounds; `log`: its logarithm is drawn uniformly. Kept to four digits, so that people can read it."""

    key: str
    low: float
    high: float
    log: bool = False

    def distribution(self) -> "BaseDistribution":
        """For Optuna."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log)

    def value(self, drawn: float) -> float:
        """What the recipe gets."""
        return float(f"{drawn:.4g}")

    def drawn(self, value: float) -> float:
        """The reverse of `value`."""
        return value


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds, both included."""

    key: str
    low: int
    high: int

    def distribution(self) -> "BaseDistribution":
        """For Optuna."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high)

    def value(self, drawn: int) -> int:
        """What the recipe gets."""
        return int(drawn)

    def drawn(self, value: int) -> int:
        """The reverse of `value`."""
        return value


@dataclass(frozen=True, slots=True)
class PowerOfTwo:
    """A power of two; its exponent is drawn, from `low` to `high`."""

    key: str
    low: int
    high: int

    def distribution(self) -> "BaseDistribution":
        """For Optuna."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high)

    def value(self, drawn: int) -> int:
        """What the recipe gets."""
        return int(2 ** int(drawn))

    def drawn(self, value: int) -> int:
        """The reverse of `value`, to the nearest."""
        return min(max(round(math.log2(value)), self.low), self.high)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values that have no order."""

    key: str
    values: tuple[Any, ...]

    def distribution(self) -> "BaseDistribution":
        """For Optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def value(self, drawn: Any) -> Any:  # noqa: ANN401 - a recipe's value is any of its types
        """What the recipe gets."""
        return drawn

    def drawn(self, value: Any) -> Any:  # noqa: ANN401
        """The reverse of `value`."""
        return value


Dimension = Fraction | Whole | PowerOfTwo | Choice


@dataclass(frozen=True, slots=True)
class Space:
    """What varies around a recipe, which is itself the first to be tried."""

    recipe: Recipe
    dimensions: Sequence[Dimension]

    def distributions(self) -> "dict[str, BaseDistribution]":
        """For Optuna, by the recipe's keys."""
        return {each.key: each.distribution() for each in self.dimensions}

    def middle(self) -> dict[str, Any]:
        """What Optuna would have drawn for the recipe itself."""
        return {each.key: each.drawn(getattr(self.recipe, each.key)) for each in self.dimensions}

    def recipe_of(self, params: Params) -> Recipe:
        """The recipe with what was drawn. Raises InputError for what is no draw from this space."""
        if set(params) != {each.key for each in self.dimensions}:
            raise InputError(f"{', '.join(sorted(params))} were drawn from another space", "")
        record = self.recipe.to_record()
        preset = record.pop("preset")
        return build(preset, {**record, **{each.key: each.value(params[each.key]) for each in self.dimensions}})


def space(name: str, recipe: Recipe, derived: Recipe) -> Space:
    """The space `name` around `recipe`, of which `derived` is the same with nothing left open (`plan.derive`).

    What the recipe has other than its preset and effort do is a person's wish, and does not vary. Raises InputError for a space that
    does not exist or is around another preset, and when nothing is left to vary.
    """
    require_space(name)
    if recipe.preset != name:
        raise InputError(f"the space {name!r} is around the preset {name!r}, and the recipe's is {recipe.preset!r}", "Name one.")
    plain = build(recipe.preset, {"effort": recipe.effort})
    every = _huggingtweets() if name == "huggingtweets" else _default(derived)
    open_ = [each for each in every if getattr(recipe, each.key) == getattr(plain, each.key)]
    if not open_:
        raise InputError("the recipe leaves nothing to search: every value of the space is set", "Set fewer with --set.")
    return Space(_filled(recipe, derived, open_), open_)


def recipe_for(
    name: str, path: Path | None, sets: Sequence[str] | None, effort: str | None, weights: Sequence[str] | None
) -> Recipe:
    """The recipe that a command line describes, whose preset is that of the space `name`; with "" the recipe's own decides.

    Raises InputError for what it cannot use.
    """
    if not name:
        return read(path, sets, effort, weights)
    require_space(name)
    return read(path, [*(sets or []), f"preset={name}"], effort, weights)


def _filled(recipe: Recipe, derived: Recipe, dimensions: Sequence[Dimension]) -> Recipe:
    """The recipe with a value for each dimension; what else it leaves open, the training of each trial derives."""
    record = recipe.to_record() | {each.key: getattr(derived, each.key) for each in dimensions}
    preset = record.pop("preset")
    return build(preset, record)


def _huggingtweets() -> list[Dimension]:
    """The original's: sweep.yaml of borisdayma/huggingtweets; accumulation over 1, 4 or 8 blocks of 1,024 tokens."""
    return [
        Whole("epochs", 1, 10),
        Choice("schedule", ("constant", "linear", "cosine")),
        Choice("warmup", (0.0, 0.1, 0.2)),
        Fraction("learning_rate", math.exp(-14), math.exp(-6), log=True),
        Choice("batch_tokens", tuple(PRESETS["huggingtweets"]["batch_tokens"] * blocks for blocks in (1, 4, 8))),
    ]


def _default(derived: Recipe) -> list[Dimension]:
    """Around what is derived, and what may keep few posts from being learnt by heart."""
    rate, exponent, epochs = derived.learning_rate, round(math.log2(derived.batch_tokens)), derived.epochs
    return [
        Fraction("learning_rate", rate / 8, rate * 4, log=True),
        PowerOfTwo("batch_tokens", max(exponent - 2, 5), exponent + 2),
        Whole("epochs", max(1, epochs // 2), 2 * epochs),
        Fraction("dropout", 0.0, 0.3),
        Fraction("weight_decay", 1e-3, 1.0, log=True),
        Fraction("warmup", 0.0, 0.2),
        Choice("schedule", ("cosine", "linear", "constant")),
    ]
