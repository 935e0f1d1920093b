"""The memory and the cores that training and evaluation request, by what is trained: the base model, the posts and the batch.

Kubernetes reserves what a pod requests, so that a request is neither a guess for the largest model nor the least that may do. The terms are
those by which the training loop fits its batch into memory (components/finetune/derived_settings.py); what was measured beside what is
requested is in docs/benchmarks.md, Requests of steps.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.kubernetes.quantities import mebibytes

if TYPE_CHECKING:
    from pipelines.run_spec import RunSpec

PROCESS = 0.75e9  # bytes of Python with torch, transformers and MLflow, without a model
AIR = 1.25  # factor on what is estimated
# Layers times width of the catalogue's models is at most this factor times parameters ** (2 / 3): SmolLM2-135M has 17,280, GPT-2 9,216.
LAYERS_BY_WIDTH = 0.066
ADAPTER_NUMBERS = 18  # per layer, width and rank: of SmolLM2-135M, with all its matrices
CHARACTERS_PER_TOKEN = (
    3.0  # fewer than any language of the catalogue's tokenizers has on average, so that tokens are not underestimated
)
EVALUATED_BYTES = (
    18  # per weight: the model and its base model in fp32, the form in which one decodes, and what scoring keeps; measured
)
SMALL = 50_000_000  # parameters, below which one core is more than a step makes use of


@dataclass(frozen=True, slots=True)
class TrainingSize:
    """What a run trains.

    Attributes:
        parameters: Weights of the base model.
        lora_rank: The adapter's rank; 0 for all weights.
        batch_tokens: Tokens per optimizer step.
        micro_batch_tokens: Tokens at once that the recipe names; 0 for as many as fit.
    """

    parameters: int
    lora_rank: int
    batch_tokens: int
    micro_batch_tokens: int = 0

    @property
    def training_bytes(self) -> int:
        """Memory of the training loop on a processor, with air."""
        return int(AIR * (PROCESS + self._weight_bytes + self._activation_bytes))

    @property
    def evaluation_bytes(self) -> int:
        """Memory of the evaluation, with air."""
        return int(AIR * (PROCESS + EVALUATED_BYTES * self.parameters))

    @property
    def is_small(self) -> bool:
        """Whether it is too small for several cores."""
        return self.parameters < SMALL

    @property
    def _layers_by_width(self) -> float:
        return LAYERS_BY_WIDTH * math.pow(self.parameters, 2 / 3)

    @property
    def _weight_bytes(self) -> float:
        from components.finetune.derived_settings import BYTES_PER_FROZEN_WEIGHT, BYTES_PER_WEIGHT

        if not self.lora_rank:
            return self.parameters * BYTES_PER_WEIGHT
        adapter = ADAPTER_NUMBERS * self.lora_rank * self._layers_by_width
        return self.parameters * BYTES_PER_FROZEN_WEIGHT + adapter * BYTES_PER_WEIGHT

    @property
    def _activation_bytes(self) -> float:
        from components.finetune.derived_settings import ACTIVATION_BYTES, MAX_FP32_TOKENS_ON_CPU

        tokens = self.micro_batch_tokens or self.batch_tokens
        in_fp32 = min(tokens, self.micro_batch_tokens or MAX_FP32_TOKENS_ON_CPU) * ACTIVATION_BYTES["fp32"]
        return max(in_fp32, tokens * ACTIVATION_BYTES["bf16"]) * self._layers_by_width

    def requests(self, step: str) -> tuple[str, str] | None:
        """Return the cores and the memory that a step requests on a processor; None for what every bot requests alike."""
        if step in ("finetune", "trial"):
            return "500m" if self.is_small else "1", mebibytes(self.training_bytes)
        if step == "evaluate":
            return "500m" if self.is_small else "1", mebibytes(self.evaluation_bytes)
        return None


def training_size(run: "RunSpec", characters: int | None) -> TrainingSize | None:
    """Return what a run trains; None for a base model that the catalogue does not have, whose size only the step learns.

    Args:
        run: The run.
        characters: Of all its posts; None where they are not on this machine.
    """
    from mynah.models import catalogue
    from pipelines.run_spec import CLUSTER_BASE_MODEL

    entry = catalogue.find(run.base_model or CLUSTER_BASE_MODEL)
    if not entry:
        return None
    recipe = run.recipe
    return TrainingSize(
        entry.parameters, recipe.lora_rank, recipe.batch_tokens or _batch(run, characters), recipe.micro_batch_tokens
    )


def largest(sizes: Iterable[TrainingSize | None]) -> TrainingSize | None:
    """Return a size that holds all of them, as the bots of a fleet share one pipeline; None where one of them is unknown."""
    known = list(sizes)
    return functools.reduce(lambda one, other: None if one is None or other is None else _larger(one, other), known)


def characters_of(folder: Path) -> int:
    """Return the characters of the posts that `mynah fetch` wrote into a folder."""
    from mynah.data.posts import read_posts

    return sum(len(post.text) for post in read_posts(folder))


def _batch(run: "RunSpec", characters: int | None) -> int:
    """Return the tokens of a step that the training loop will derive, or more."""
    from components.finetune.derived_settings import MAX_BATCH_TOKENS, batch_tokens

    if characters is None or run.continue_training or run.sweep or run.recipe.packing == "stream":
        return MAX_BATCH_TOKENS  # the champion's posts are replayed, and a search tries other batches
    return batch_tokens(math.ceil(characters / CHARACTERS_PER_TOKEN))


def _larger(one: TrainingSize, other: TrainingSize) -> TrainingSize:
    return max(one, other, key=lambda each: (each.training_bytes, each.evaluation_bytes))
