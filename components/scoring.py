"""How well a model predicts texts: the loss that fine-tuning watches and evaluation judges by."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from components.checkpoint import Checkpoint
from components.generation import encode

if TYPE_CHECKING:
    import torch
    from transformers import GPT2LMHeadModel

IGNORED = -100  # cross_entropy's ignore_index
TOKENS_AT_ONCE = 2048  # through the model
LOGITS_AT_ONCE = 512  # tokens whose logits exist at a time: 200 MB of GPT-2's with what the loss makes of them


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


def split(ids: Sequence[int], end: int, context: int) -> list[list[int]]:
    """A text's ids between two END_OF_TEXT, in rows of the model's context at most."""
    whole = [end, *ids, end]
    # Each row predicts its tokens but the first, so the next row starts with the last token of the one before.
    return [whole[start : start + context] for start in range(0, max(1, len(whole) - 1), context - 1)]


def rows(checkpoint: Checkpoint, texts: Sequence[str]) -> list[list[int]]:
    """Each text as token ids between two END_OF_TEXT; one longer than the model's context as several rows."""
    return [row for text in texts for row in split(encode(checkpoint, text), checkpoint.end, checkpoint.context)]


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


def summed_loss(model: "GPT2LMHeadModel", inputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """Cross-entropy in nats summed over the targets that are not padding; never all logits at once."""
    import torch

    kept = targets != IGNORED
    hidden, wanted = model.transformer(input_ids=inputs).last_hidden_state[kept], targets[kept]
    nats = torch.zeros((), device=hidden.device)
    for start in range(0, len(hidden), LOGITS_AT_ONCE):
        part = slice(start, start + LOGITS_AT_ONCE)
        nats = nats + torch.nn.functional.cross_entropy(model.lm_head(hidden[part]).float(), wanted[part], reduction="sum")
    return nats


def score(checkpoint: Checkpoint, texts: Sequence[str]) -> Score:
    """Score `texts`, each by itself, in fp32."""
    everything = rows(checkpoint, texts)
    return Score(nats_of(checkpoint, everything), sum(len(row) - 1 for row in everything), sum(map(len, texts)))


def nats_of(checkpoint: Checkpoint, everything: Sequence[Sequence[int]]) -> float:
    """Nats summed over what the rows predict, in fp32, without dropout."""
    import torch

    model = checkpoint.model
    was_training = model.training
    model.eval()
    nats = 0.0
    with torch.inference_mode():
        for batch in _alike(everything):
            inputs, targets = pad(batch, checkpoint.end)
            nats += summed_loss(model, inputs.to(model.device), targets.to(model.device)).item()
    model.train(was_training)
    return nats


def nats_of_each(checkpoint: Checkpoint, texts: Sequence[str]) -> list[float]:
    """The nats of each text by itself, in fp32; what all texts of a batch begin with goes through the model once."""
    import torch

    parts = [(row, place) for place, text in enumerate(texts) for row in rows(checkpoint, [text])]
    parts.sort(key=lambda part: len(part[0]))  # as `_alike` has them
    places, found = iter([place for _, place in parts]), [0.0] * len(texts)
    with torch.inference_mode():
        for batch in _alike([row for row, _ in parts]):
            for nats, place in zip(_nats_of_rows(checkpoint.model, batch, checkpoint.end), places, strict=False):
                found[place] += nats
    return found


def _nats_of_rows(model: "GPT2LMHeadModel", batch: Sequence[Sequence[int]], end: int) -> list[float]:
    """The nats of each row; logits exist of some rows at a time."""
    import torch

    inputs, targets = (each.to(model.device) for each in pad(batch, end))
    alike = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*(row[:-1] for row in batch), strict=False)))
    once, past, nats = alike - 1, None, 0.0  # the last of them predicts what differs
    if once > 0:
        nats = summed_loss(model, inputs[:1, :once], targets[:1, :once]).item()
        past = model.transformer(input_ids=inputs[:1, :once], use_cache=True).past_key_values
        past.batch_repeat_interleave(len(batch))
        inputs, targets = inputs[:, once:], targets[:, once:]
    hidden = model.transformer(input_ids=inputs, past_key_values=past).last_hidden_state
    found, at_once = [], max(1, LOGITS_AT_ONCE // inputs.shape[1])
    for part in (slice(start, start + at_once) for start in range(0, len(batch), at_once)):
        logits = model.lm_head(hidden[part]).float().transpose(1, 2)  # as cross_entropy takes them: (rows, vocabulary, tokens)
        losses = torch.nn.functional.cross_entropy(logits, targets[part], ignore_index=IGNORED, reduction="none")
        found += (nats + losses.sum(1)).tolist()
    return found


def _alike(everything: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Batches of rows of about the same length, so that there is little padding, and of so many tokens at most."""
    batch: list[Sequence[int]] = []
    for row in sorted(everything, key=len):
        if batch and (len(batch) + 1) * len(row) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
