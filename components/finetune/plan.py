"""What a recipe leaves open, derived from the model, the texts and the machine."""

import math
from dataclasses import replace
from typing import Any

from components.errors import InputError
from components.finetune.recipe import Recipe

BLOCK = 128  # tokens a row: a few posts, and attention costs little
STEPS_AN_EPOCH = 32  # about: fewer learn too little from few posts, more leave the machine idle
FEWEST_TOKENS, MOST_TOKENS = 256, 2048  # a step
RATE, WIDTH = (
    1e-3,
    192,
)  # the learning rate for that width, measured on the fledgling; in proportion to 1 / width, as Yang et al. 2022 have it
LORA_RATE = 5.0  # times that for adapters, which begin at nothing
# Bytes that a training step keeps per token, layer and width, measured with GPT-2 124M; and per weight: gradient, two moments, bf16 copy
# of weight and gradient, and the best epoch's.
ACTIVATIONS = {"bf16": 60, "fp32": 110}
PER_WEIGHT = 20
OF_FREE_MEMORY = 0.8


def derive(recipe: Recipe, config: Any, tokens: int, free: int | None, precision: str) -> Recipe:  # noqa: ANN401 - transformers' own
    """`recipe` with nothing left open, for a GPT-2 of `config` and texts of `tokens` predicted tokens an epoch.

    `free`: bytes of memory for training; None where that is not known. `precision`: bf16 or fp32. Raises InputError for a block
    longer than the model's context.
    """
    context, width = int(config.n_positions), int(config.n_embd)
    if recipe.block > context:
        raise InputError(
            f"recipe: block is {recipe.block}, and the model's context has {context} tokens", f"Use at most {context}."
        )
    block = recipe.block or (context if recipe.packing == "stream" else min(BLOCK, context))
    power = round(math.log2(max(1, tokens) / STEPS_AN_EPOCH)) if tokens > STEPS_AN_EPOCH else 0
    batch = recipe.batch_tokens or min(max(2**power, FEWEST_TOKENS), MOST_TOKENS)
    rate = RATE * WIDTH / width * (LORA_RATE if recipe.lora_rank else 1.0)
    return replace(
        recipe, block=block, batch_tokens=batch, learning_rate=recipe.learning_rate or float(f"{rate:.3g}"),
        micro_batch_tokens=recipe.micro_batch_tokens or _micro_batch(batch, block, config, free, precision),
    )  # fmt: skip


def _micro_batch(batch: int, block: int, config: Any, free: int | None, precision: str) -> int:  # noqa: ANN401
    """How many tokens of a batch fit into memory at once: all of them, or a power of two of rows."""
    if free is None:
        return batch
    layers, width = int(config.n_layer), int(config.n_embd)
    weights = 12 * layers * width**2 + int(config.vocab_size) * width
    tokens = (free * OF_FREE_MEMORY - weights * PER_WEIGHT) / (ACTIVATIONS[precision] * layers * width)
    fit = batch
    while fit > tokens and fit > block:
        fit = max(block, fit // 2)
    return fit


def told(recipe: Recipe, steps: int, precision: str, processes: int) -> str:
    """The plan in a line for the person who waits."""
    tokens = f"{recipe.batch_tokens:,} tokens a step"
    if recipe.micro_batch_tokens < recipe.batch_tokens:
        tokens += f" ({recipe.micro_batch_tokens:,} at once)"
    parts = [
        f"effort {recipe.effort}" if recipe.preset == "default" else f"preset {recipe.preset}",
        f"{recipe.epochs} epochs of {steps:,} steps", tokens,
        f"learning rate {recipe.learning_rate:g} ({recipe.schedule}, warm-up {recipe.warmup:.0%})",
        f"ends after {recipe.patience} epochs without gain" if recipe.patience else "no early end",
        precision, f"LoRA of rank {recipe.lora_rank}" if recipe.lora_rank else "all weights",
        *([f"{processes} processes"] if processes > 1 else []),
    ]  # fmt: skip
    return ", ".join(parts)
