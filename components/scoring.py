"""How well a model predicts texts: the loss that fine-tuning watches and evaluation judges by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.checkpoint import Checkpoint
from components.generation import encode

if TYPE_CHECKING:
    import torch

IGNORED = -100  # cross_entropy's ignore_index
ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Score:
    """The summed loss of some texts, and what it is summed over."""

    nats: float
    tokens: int  # predicted tokens: every token of each text and the END_OF_TEXT after it
    characters: int

    @property
    def loss(self) -> float:
        """Mean cross-entropy, nats per token: comparable between models that share a tokenizer."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_character(self) -> float:
        """nats / ln 2 / characters: comparable between models whatever their tokenizers."""
        return self.nats / math.log(2) / self.characters


def rows(checkpoint: Checkpoint, texts: Sequence[str]) -> list[list[int]]:
    """Each text as token ids between two END_OF_TEXT; one longer than the model's context as several rows."""
    found = []
    for text in texts:
        ids = [checkpoint.end, *encode(checkpoint, text), checkpoint.end]
        # Each row predicts its tokens but the first, so the next row starts with the last token of the one before.
        step = checkpoint.context - 1
        found += [ids[start : start + checkpoint.context] for start in range(0, max(1, len(ids) - 1), step)]
    return found


def pad(batch: Sequence[Sequence[int]], end: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Rows as inputs and targets, each of shape (rows, longest - 1): targets are the inputs' next tokens.

    Padding is on the right, where causal attention keeps it from every real token, so no attention mask is needed.
    """
    import torch

    longest = max(map(len, batch))
    inputs = torch.full((len(batch), longest), end)
    targets = torch.full((len(batch), longest), IGNORED)
    for place, ids in enumerate(batch):
        inputs[place, : len(ids)] = torch.tensor(ids)
        targets[place, : len(ids)] = torch.tensor(ids)
    return inputs[:, :-1], targets[:, 1:]


def summed_loss(model: "torch.nn.Module", inputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """Cross-entropy in nats summed over the targets that are not padding."""
    import torch

    logits = model(input_ids=inputs).logits
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def score(checkpoint: Checkpoint, texts: Sequence[str]) -> Score:
    """Score `texts`, each by itself, in fp32."""
    import torch

    model = checkpoint.model
    was_training = model.training
    model.eval()
    everything = sorted(rows(checkpoint, texts), key=len)  # alike lengths side by side: little padding
    nats = 0.0
    with torch.inference_mode():
        for start in range(0, len(everything), ROWS_AT_ONCE):
            inputs, targets = pad(everything[start : start + ROWS_AT_ONCE], checkpoint.end)
            nats += summed_loss(model, inputs.to(model.device), targets.to(model.device)).item()
    model.train(was_training)
    return Score(nats, sum(len(row) - 1 for row in everything), sum(map(len, texts)))
