"""The search spaces of a sweep: which settings of the recipe vary, and within which bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.sweep.settings import require_space
from mynah.core.errors import InputError
from mynah.training.recipe import PRESETS, Recipe, build, read

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = Mapping[str, Any]  # Optuna's samples, by the recipe's key


@dataclass(frozen=True, slots=True)
class FloatDimension:
    """A number between two bounds; with `log`, its logarithm is sampled uniformly. Values are rounded to four digits."""

    key: str
    low: float
    high: float
    log: bool = False

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's distribution."""
        from optuna.distributions import FloatDistribution  # optuna is an optional dependency: pip install mynah[sweep]

        return FloatDistribution(self.low, self.high, log=self.log)

    def value(self, sampled: float) -> float:
        """Return the recipe's value of a sample."""
        return float(f"{sampled:.4g}")

    def sampled(self, value: float) -> float:
        """Return the sample that gives `value`."""
        return value


@dataclass(frozen=True, slots=True)
class IntDimension:
    """An integer between two bounds, both included."""

    key: str
    low: int
    high: int

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's distribution."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high)

    def value(self, sampled: int) -> int:
        """Return the recipe's value of a sample."""
        return int(sampled)

    def sampled(self, value: int) -> int:
        """Return the sample that gives `value`."""
        return value


@dataclass(frozen=True, slots=True)
class PowerOfTwoDimension(IntDimension):
    """A power of two, whose exponent is sampled from `low` to `high`."""

    def value(self, sampled: int) -> int:
        """Return the recipe's value of a sample."""
        return int(2 ** int(sampled))

    def sampled(self, value: int) -> int:
        """Return the sample that gives the nearest value."""
        return min(max(round(math.log2(value)), self.low), self.high)


@dataclass(frozen=True, slots=True)
class ChoiceDimension:
    """One of several unordered values."""

    key: str
    values: tuple[Any, ...]

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's distribution."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def value(self, sampled: Any) -> Any:  # noqa: ANN401 - a recipe has values of several types
        """Return the recipe's value of a sample."""
        return sampled

    def sampled(self, value: Any) -> Any:  # noqa: ANN401 - a recipe has values of several types
        """Return the sample that gives `value`."""
        return value


Dimension = FloatDimension | IntDimension | PowerOfTwoDimension | ChoiceDimension


@dataclass(frozen=True, slots=True)
class Space:
    """A search space around a recipe, which is the first trial."""

    recipe: Recipe
    dimensions: Sequence[Dimension]

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Return Optuna's distributions by the recipe's keys."""
        return {dimension.key: dimension.distribution() for dimension in self.dimensions}

    def initial(self) -> dict[str, Any]:
        """Return the samples that give the recipe itself."""
        return {dimension.key: dimension.sampled(getattr(self.recipe, dimension.key)) for dimension in self.dimensions}

    def recipe_of(self, params: Params) -> Recipe:
        """Return the recipe with sampled values.

        Args:
            params: the samples, by the recipe's key.

        Raises:
            InputError: they are from another space.
        """
        if set(params) != {dimension.key for dimension in self.dimensions}:
            raise InputError(f"{', '.join(sorted(params))} were sampled from another space", "")
        record = self.recipe.to_record()
        preset = record.pop("preset")
        return build(
            preset, {**record, **{dimension.key: dimension.value(params[dimension.key]) for dimension in self.dimensions}}
        )


def space(name: str, recipe: Recipe, derived: Recipe) -> Space:
    """Return a search space around a recipe.

    Settings that differ from the recipe's preset and effort were set by the user and do not vary.

    Args:
        name: the name of the space, one of SPACES.
        recipe: the recipe.
        derived: the recipe with all derived settings filled in (`derived_settings.derive`).

    Returns:
        The space.

    Raises:
        InputError: the space does not exist or belongs to another preset, or nothing is left to vary.
    """
    require_space(name)
    if recipe.preset != name:
        raise InputError(
            f"the space {name!r} belongs to the preset {name!r}, and the recipe's preset is {recipe.preset!r}", "Name one preset."
        )
    defaults = build(recipe.preset, {"effort": recipe.effort})
    all_dimensions = _huggingtweets() if name == "huggingtweets" else _default(derived)
    dimensions_left = [
        dimension for dimension in all_dimensions if getattr(recipe, dimension.key) == getattr(defaults, dimension.key)
    ]
    if not dimensions_left:
        raise InputError("the recipe leaves nothing to search: every value of the space is set", "Set fewer with --set.")
    return Space(_fill(recipe, derived, dimensions_left), dimensions_left)


def recipe_for(
    name: str, path: Path | None, sets: Sequence[str] | None, effort: str | None, weights: Sequence[str] | None
) -> Recipe:
    """Return the recipe that a command line describes.

    Args:
        name: the search space, whose preset the recipe gets; "" keeps the recipe's own.
        path: a YAML file, or None.
        sets: `key=value` texts.
        effort: the effort, or None.
        weights: `author=share` texts.

    Returns:
        The recipe.

    Raises:
        InputError: one of them is invalid.
    """
    if not name:
        return read(path, sets, effort, weights)
    require_space(name)
    return read(path, [*(sets or []), f"preset={name}"], effort, weights)


def _fill(recipe: Recipe, derived: Recipe, dimensions: Sequence[Dimension]) -> Recipe:
    """Return the recipe with the derived values of the dimensions; trials derive their other unset settings themselves."""
    record = recipe.to_record() | {dimension.key: getattr(derived, dimension.key) for dimension in dimensions}
    preset = record.pop("preset")
    return build(preset, record)


def _huggingtweets() -> list[Dimension]:
    """Return the space of huggingtweets' sweep.yaml, https://github.com/borisdayma/huggingtweets; batches of 1, 4 or 8 blocks."""
    return [
        IntDimension("epochs", 1, 10),
        ChoiceDimension("schedule", ("constant", "linear", "cosine")),
        ChoiceDimension("warmup", (0.0, 0.1, 0.2)),
        FloatDimension("learning_rate", math.exp(-14), math.exp(-6), log=True),
        ChoiceDimension("batch_tokens", tuple(PRESETS["huggingtweets"]["batch_tokens"] * blocks for blocks in (1, 4, 8))),
    ]


def _default(derived: Recipe) -> list[Dimension]:
    """Return the space around the derived settings, with regularisation that can keep a model from memorising few posts."""
    rate, exponent, epochs = derived.learning_rate, round(math.log2(derived.batch_tokens)), derived.epochs
    return [
        FloatDimension("learning_rate", rate / 8, rate * 4, log=True),
        PowerOfTwoDimension("batch_tokens", max(exponent - 2, 5), exponent + 2),
        IntDimension("epochs", max(1, epochs // 2), 2 * epochs),
        FloatDimension("dropout", 0.0, 0.3),
        FloatDimension("weight_decay", 1e-3, 1.0, log=True),
        FloatDimension("warmup", 0.0, 0.2),
        ChoiceDimension("schedule", ("cosine", "linear", "constant")),
    ]
