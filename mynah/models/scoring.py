"""Scores texts with a model: the loss that fine-tuning monitors and evaluation reports."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from mynah.models.checkpoint import Checkpoint
from mynah.models.sampling import encode

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

IGNORED = -100  # cross_entropy's ignore_index
TOKENS_AT_ONCE = 2048  # per forward pass
LOGITS_AT_ONCE = 512  # tokens whose logits exist at a time: 200 MB for GPT-2 with the loss's intermediates


@dataclass(frozen=True, slots=True)
class Score:
    """The summed loss of texts, and their numbers of tokens and characters."""

    nats: float  # cross-entropy summed over all tokens
    tokens: int  # predicted tokens: every token of each text and the end token after it
    characters: int

    @property
    def loss(self) -> float:
        """The mean cross-entropy in nats per token, comparable between models that share a tokenizer."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_character(self) -> float:
        """nats / ln 2 / characters, comparable between models with different tokenizers."""
        return self.nats / math.log(2) / self.characters


def split_into_rows(ids: Sequence[int], begin: int, end: int, context: int) -> list[list[int]]:
    """Return a text's token ids between those of its beginning and its end, split into rows of at most the model's context.

    Args:
        ids: the text's token ids.
        begin: the id of the token that a post begins with.
        end: the id of the token that ends a post.
        context: the model's context in tokens.
    """
    whole = [begin, *ids, end]
    # Each row predicts all of its tokens but the first, so the next row starts with the last token of the previous one.
    return [whole[start : start + context] for start in range(0, max(1, len(whole) - 1), context - 1)]


def token_rows(checkpoint: Checkpoint, texts: Sequence[str]) -> list[list[int]]:
    """Return texts as rows of token ids with beginning and end; a text longer than the model's context gives several rows."""
    begin, end, context = checkpoint.begin, checkpoint.end, checkpoint.context
    return [row for text in texts for row in split_into_rows(encode(checkpoint, text), begin, end, context)]


def pad(batch: Sequence[Sequence[int]], end: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return rows as inputs and targets, which are the inputs' next tokens.

    Padding is on the right, where causal attention hides it from every real token, so no attention mask is needed.

    Args:
        batch: rows of token ids.
        end: the id of the end token, which pads inputs; targets are padded with IGNORED.

    Returns:
        Inputs and targets, each of shape (rows, longest row - 1), int64, on the CPU.
    """
    import torch

    longest = max(map(len, batch))
    inputs = torch.full((len(batch), longest), end)
    targets = torch.full((len(batch), longest), IGNORED)
    for index, ids in enumerate(batch):
        inputs[index, : len(ids)] = torch.tensor(ids)
        targets[index, : len(ids)] = torch.tensor(ids)
    return inputs[:, :-1], targets[:, 1:]


def summed_loss(model: "PreTrainedModel", inputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """Return the summed cross-entropy, computed without all logits at once.

    Args:
        model: the model.
        inputs: token ids, shape (rows, tokens), int64, on the model's device.
        targets: the ids to predict, same shape; IGNORED where nothing is predicted.

    Returns:
        The cross-entropy in nats, summed over all targets but IGNORED: a 0-d fp32 tensor.
    """
    import torch

    is_target = targets != IGNORED
    hidden, target_ids = model.base_model(input_ids=inputs).last_hidden_state[is_target], targets[is_target]
    nats = torch.zeros((), device=hidden.device)
    for start in range(0, len(hidden), LOGITS_AT_ONCE):
        part = slice(start, start + LOGITS_AT_ONCE)
        nats = nats + torch.nn.functional.cross_entropy(logits_of(model, hidden[part]), target_ids[part], reduction="sum")
    return nats


def logits_of(model: "PreTrainedModel", hidden: "torch.Tensor") -> "torch.Tensor":
    """Return the logits of last hidden states.

    Args:
        model: the model.
        hidden: shape (..., width), floating point.

    Returns:
        Shape (..., vocabulary), fp32.
    """
    logits: torch.Tensor = model.get_output_embeddings()(hidden).float()
    cap: float | None = getattr(model.config, "final_logit_softcapping", None)  # of the Gemma family
    return cap * (logits / cap).tanh() if cap else logits


def score(checkpoint: Checkpoint, texts: Sequence[str]) -> Score:
    """Score texts, each on its own, in fp32."""
    all_rows = token_rows(checkpoint, texts)
    return Score(total_nats(checkpoint, all_rows), sum(len(row) - 1 for row in all_rows), sum(map(len, texts)))


def total_nats(checkpoint: Checkpoint, all_rows: Sequence[Sequence[int]]) -> float:
    """Return the cross-entropy in nats summed over the rows' predicted tokens, in fp32 and without dropout."""
    import torch

    model = checkpoint.model
    was_training = model.training
    model.eval()
    nats = 0.0
    with torch.inference_mode():
        for batch in _batches_by_length(all_rows):
            inputs, targets = pad(batch, checkpoint.end)
            nats += summed_loss(model, inputs.to(model.device), targets.to(model.device)).item()
    model.train(was_training)
    return nats


def nats_per_text(checkpoint: Checkpoint, texts: Sequence[str]) -> list[float]:
    """Return the cross-entropy of each text in nats, in fp32. The common prefix of a batch's texts is computed once."""
    import torch

    parts = [(row, index) for index, text in enumerate(texts) for row in token_rows(checkpoint, [text])]
    parts.sort(key=lambda part: len(part[0]))  # the order of `_batches_by_length`
    indices, nats_by_text = iter([index for _, index in parts]), [0.0] * len(texts)
    with torch.inference_mode():
        for batch in _batches_by_length([row for row, _ in parts]):
            for nats, index in zip(_nats_of_rows(checkpoint.model, batch, checkpoint.end), indices, strict=False):
                nats_by_text[index] += nats
    return nats_by_text


def _nats_of_rows(model: "PreTrainedModel", batch: Sequence[Sequence[int]], end: int) -> list[float]:
    """Return the nats of each row; logits exist for some rows at a time."""
    import torch

    inputs, targets = (tensor.to(model.device) for tensor in pad(batch, end))
    common = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*(row[:-1] for row in batch), strict=False)))
    shared, cache, nats = common - 1, None, 0.0  # the last common token predicts the first different one
    if shared > 0:
        nats = summed_loss(model, inputs[:1, :shared], targets[:1, :shared]).item()
        cache = model.base_model(input_ids=inputs[:1, :shared], use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(batch))
        inputs, targets = inputs[:, shared:], targets[:, shared:]
    hidden = model.base_model(input_ids=inputs, past_key_values=cache).last_hidden_state
    row_nats, at_once = [], max(1, LOGITS_AT_ONCE // inputs.shape[1])
    for part in (slice(start, start + at_once) for start in range(0, len(batch), at_once)):
        logits = logits_of(model, hidden[part]).transpose(1, 2)  # as cross_entropy takes them: (rows, vocabulary, tokens)
        losses = torch.nn.functional.cross_entropy(logits, targets[part], ignore_index=IGNORED, reduction="none")
        row_nats += (nats + losses.sum(1)).tolist()
    return row_nats


def _batches_by_length(all_rows: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Yield batches of rows of similar length, which need little padding, with at most TOKENS_AT_ONCE tokens."""
    batch: list[Sequence[int]] = []
    for row in sorted(all_rows, key=len):
        if batch and (len(batch) + 1) * len(row) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
