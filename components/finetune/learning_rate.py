"""The learning rate of each step: warm-up and schedule."""

import math

from mynah.training.recipe import Recipe


def learning_rate_factor(recipe: Recipe, step: int, steps: int) -> float:
    """Return the factor on the recipe's learning rate at a step: linear warm-up, then the schedule.

    Args:
        recipe: its warm-up and schedule.
        step: from 0.
        steps: steps of the whole training run, more than `step`.
    """
    assert 0 <= step < steps, f"step {step} of {steps}"
    warmup = round(recipe.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    remaining = 1 - (step - warmup) / max(1, steps - warmup)
    if recipe.schedule == "cosine":
        return 0.5 * (1 - math.cos(math.pi * remaining))
    return remaining if recipe.schedule == "linear" else 1.0
