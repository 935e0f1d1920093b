"""Derives the settings that a recipe leaves open from the model, the texts and the machine."""

import math
from dataclasses import replace

from mynah.core.errors import InputError
from mynah.models.adapter import numbers_of
from mynah.models.architecture import Architecture
from mynah.training.recipe import Recipe

DEFAULT_BLOCK = 128  # tokens per row: a few posts, and attention stays cheap
TARGET_STEPS_PER_EPOCH = 32  # approximate: with fewer, a few posts teach too little; with more, the machine idles
MIN_BATCH_TOKENS, MAX_BATCH_TOKENS = 256, 2048  # per step
# The learning rate for a model of this width, measured on the fledgling. It scales with 1 / width: Yang et al. 2022, "Tensor Programs V",
# https://arxiv.org/abs/2203.03466
REFERENCE_LEARNING_RATE, REFERENCE_WIDTH = 1e-3, 192
# That of large models, whose pre-training is worth keeping, measured on SmolLM2-135M with three authors: of 1e-4, 1.5e-4 and 2e-4 the best
# differs with the number of posts and the seed, and 1.5e-4 is within 1 % of it on average (docs/base-models.md).
LARGE = 50_000_000  # parameters
LARGE_LEARNING_RATE, LARGE_WIDTH = 1.5e-4, 576
# Epochs by effort. What a large model gains by the posts it gains in the first two epochs (docs/base-models.md).
EPOCHS = {"quick": 2, "standard": 4, "best": 12}
LARGE_EPOCHS = {"quick": 1, "standard": 2, "best": 4}
# Of AdamW. Gradients of large models have spikes; after one, the ordinary 0.999 keeps steps small for hundreds of steps, which a
# few posts do not have. 0.95 is that of Brown et al. 2020, https://arxiv.org/abs/2005.14165 (measured: docs/base-models.md).
BETA2, LARGE_BETA2 = 0.999, 0.95
# Factor on the learning rate for adapters, which start at zero: measured on SmolLM2-135M at rank 16 (docs/finetuning.md). It is that of
# Schulman et al. 2025, "LoRA Without Regret", too: https://thinkingmachines.ai/blog/lora/
LORA_RATE_FACTOR = 10.0
# Bytes that a training step keeps per token, layer and width, measured with GPT-2 124M; and per weight: gradient, two moments, bf16 copies
# of weight and gradient.
ACTIVATION_BYTES = {"bf16": 60, "fp32": 110}
BYTES_PER_WEIGHT = 16
BYTES_PER_FROZEN_WEIGHT = 4  # with adapters: the weights themselves, in fp32
USABLE_MEMORY_SHARE = 0.8
# On a CPU in fp32, more rows at once are no faster and take more memory: SmolLM2-135M 5.4 GB with 2,048 tokens, 4.1 with 1,024.
MAX_FP32_TOKENS_ON_CPU = 1024


def derive(
    recipe: Recipe, architecture: Architecture, tokens: int, free_bytes: int | None, precision: str, device: str = "cuda"
) -> Recipe:
    """Return `recipe` with all derived settings filled in.

    Args:
        recipe: the recipe; its nonzero settings are kept.
        architecture: the base model's.
        tokens: predicted tokens per epoch.
        free_bytes: memory available for training, in bytes; None where unknown.
        precision: "bf16" or "fp32".
        device: torch's type of the device, "cuda" or "cpu".

    Returns:
        The recipe with epochs, beta2, block, batch, micro-batch and learning rate set.

    Raises:
        InputError: the block is longer than the model's context.
    """
    context, width = architecture.context, architecture.width
    if recipe.block > context:
        raise InputError(
            f"recipe: block is {recipe.block}, and the model's context has {context} tokens", f"Use at most {context}."
        )
    block = recipe.block or (context if recipe.packing == "stream" else min(DEFAULT_BLOCK, context))
    batch = recipe.batch_tokens or batch_tokens(tokens)
    is_large = architecture.parameters >= LARGE
    rate = LARGE_LEARNING_RATE * LARGE_WIDTH / width if is_large else REFERENCE_LEARNING_RATE * REFERENCE_WIDTH / width
    rate *= LORA_RATE_FACTOR if recipe.lora_rank else 1.0
    epochs = recipe.epochs or (LARGE_EPOCHS if is_large else EPOCHS)[recipe.effort]
    at_once = min(batch, MAX_FP32_TOKENS_ON_CPU) if (device, precision) == ("cpu", "fp32") else batch
    return replace(
        recipe, epochs=epochs, beta2=recipe.beta2 or (LARGE_BETA2 if is_large else BETA2), block=block,
        batch_tokens=batch, learning_rate=recipe.learning_rate or float(f"{rate:.3g}"),
        micro_batch_tokens=recipe.micro_batch_tokens or _micro_batch(at_once, block, architecture, free_bytes, precision, recipe.lora_rank),
    )  # fmt: skip


def batch_tokens(tokens: int) -> int:
    """Return the tokens of a step for so many per epoch."""
    power = round(math.log2(max(1, tokens) / TARGET_STEPS_PER_EPOCH)) if tokens > TARGET_STEPS_PER_EPOCH else 0
    return min(max(1 << power, MIN_BATCH_TOKENS), MAX_BATCH_TOKENS)


def weight_bytes(of: Architecture, lora_rank: int) -> int:
    """The bytes that training keeps for the weights: of all of them; or frozen, and of adapters of a rank that is not 0."""
    if not lora_rank:
        return of.parameters * BYTES_PER_WEIGHT
    return of.parameters * BYTES_PER_FROZEN_WEIGHT + numbers_of(of, lora_rank) * BYTES_PER_WEIGHT


def _micro_batch(batch: int, block: int, of: Architecture, free_bytes: int | None, precision: str, lora_rank: int) -> int:
    """Return how many tokens fit into memory at once: `batch` halved until it fits, one block at least."""
    if free_bytes is None:
        return batch
    tokens = (free_bytes * USABLE_MEMORY_SHARE - weight_bytes(of, lora_rank)) / (
        ACTIVATION_BYTES[precision] * of.layers * of.width
    )
    micro_batch = batch
    while micro_batch > tokens and micro_batch > block:
        micro_batch = max(block, micro_batch // 2)
    return micro_batch


def describe(recipe: Recipe, steps: int, precision: str, processes: int) -> str:
    """Return a one-line description of the training run for the user.

    Args:
        recipe: the recipe with all derived settings filled in.
        steps: optimizer steps per epoch.
        precision: "bf16" or "fp32".
        processes: processes that train together.
    """
    tokens = f"{recipe.batch_tokens:,} tokens a step"
    if recipe.micro_batch_tokens < recipe.batch_tokens:
        tokens += f" ({recipe.micro_batch_tokens:,} at once)"
    epochs = f"{recipe.epochs} epochs" if recipe.epochs != 1 else "1 epoch"
    parts = [
        f"effort {recipe.effort}" if recipe.preset == "default" else f"preset {recipe.preset}",
        f"{epochs} of {steps:,} steps", tokens,
        f"learning rate {recipe.learning_rate:g} ({recipe.schedule}, warm-up {recipe.warmup:.0%})",
        f"ends after {recipe.patience} epochs without gain" if recipe.patience else "no early end",
        precision, _what(recipe),
        *([f"{processes} processes"] if processes > 1 else []),
    ]  # fmt: skip
    return ", ".join(parts)


def _what(recipe: Recipe) -> str:
    """What is trained."""
    if not recipe.lora_rank:
        return "all weights"
    return f"an adapter of rank {recipe.lora_rank}{', merged at the end' if recipe.merge else ''}"
