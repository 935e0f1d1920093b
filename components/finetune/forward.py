"""Prepares transformers' model for training and computes the loss of rows."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.activations import NewGELUActivation

from components.finetune.adapters import Adapters
from components.finetune.chunked_loss import vocabulary_loss
from components.finetune.cpu_body import CpuBody
from components.finetune.data_packing import Row
from mynah.core.errors import InputError
from mynah.models.adapter_weights import Matrices
from mynah.models.checkpoint import Checkpoint
from mynah.models.scoring import IGNORED
from mynah.training.recipe import Recipe

EAGER_ATTENTION_TOKENS = (
    256  # row length up to which eager attention beats SDPA on a CPU: a backward pass of 5 ms per layer against 28
)
LENGTH_MULTIPLE = 64  # rows longer than a block are padded to a multiple of this, so that compiled kernels see few lengths


@dataclass(frozen=True, slots=True)
class Inputs:
    """Rows as tensors on the CPU."""

    ids: Tensor  # (rows, length), int64
    targets: Tensor  # (rows, length), int64; IGNORED where nothing is predicted
    positions: Tensor  # (rows, length), int64; from 0 in each post
    attention_allowed: Tensor | None  # (rows, 1, length, length), bool; None: plain causal attention


def collate(rows: Sequence[Row], end_id: int, block: int) -> Inputs:
    """Return rows as tensors, padded to `block`, or to the longest row where that is longer.

    Positions start at 0 in each post, as they do in generation.

    Args:
        rows: the posts of each row.
        end_id: the id of the end token, for the padding.
        block: predicted tokens per row.
    """
    longest = max(sum(len(post) - 1 for post in row) for row in rows)
    length = block if longest <= block else -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    shape = len(rows), length
    ids, targets = torch.full(shape, end_id), torch.full(shape, IGNORED)
    positions, posts = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for number, row in enumerate(rows):
        start = 0
        for position_in_row, post in enumerate(row, 1):
            tokens, stop = torch.tensor(post), start + len(post) - 1
            ids[number, start:stop], targets[number, start:stop] = tokens[:-1], tokens[1:]
            positions[number, start:stop], posts[number, start:stop] = torch.arange(stop - start), position_in_row
            start = stop
    if all(len(row) == 1 for row in rows):
        return Inputs(ids, targets, positions, None)
    return Inputs(ids, targets, positions, (posts[:, :, None] == posts[:, None, :]).tril()[:, None])


class TrainingForward:
    """The forward pass of training: the summed loss of rows, with attention, activation, dropout and adapters set by the recipe.

    `finish` returns the model in its original form, with the trained weights; `adapters` writes them by themselves.

    Args:
        checkpoint: the model, which is changed in place, with its architecture and end token.
        recipe: the recipe with all derived settings filled in.
        bf16: whether to compute in bf16 under autocast.
        start: what adapters start from; None: they add nothing at first.
    """

    def __init__(self, checkpoint: Checkpoint, recipe: Recipe, *, bf16: bool, start: Matrices | None = None) -> None:
        model: Any = checkpoint.model  # untyped: each architecture has its own attributes
        self._window = max(checkpoint.architecture.windows)
        if checkpoint.architecture.logits_cap:
            raise InputError("models that cap their logits are not trained here", "Use another base model.")
        self._device = model.device
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._block = recipe.block
        self._end_id = checkpoint.end
        self.adapters = Adapters(model, checkpoint.architecture, recipe, start) if recipe.lora_rank else None
        self.model = model
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = recipe.dropout
            if hasattr(module, "attention_dropout"):  # Llama and its kin have no other dropout
                module.attention_dropout = recipe.dropout
            if isinstance(getattr(module, "act", None), NewGELUActivation):  # seven kernels; torch has the same function in one
                module.act = torch.nn.GELU(approximate="tanh")
        self._eager = self._device.type == "cpu" and recipe.block <= EAGER_ATTENTION_TOKENS
        model.set_attn_implementation("eager" if self._eager else "sdpa")
        self._body = _compiled(model.base_model) if recipe.compile else model.base_model
        self._cpu_body = self._own_body(checkpoint, recipe)

    def nats(self, rows: Sequence[Row]) -> Tensor:
        """Return the cross-entropy in nats, summed over the predicted tokens of `rows`: a 0-d fp32 tensor with a gradient."""
        inputs = collate(rows, self._end_id, self._block)
        targets = inputs.targets.to(self._device)
        is_target = targets != IGNORED
        hidden = self._hidden(inputs)
        return vocabulary_loss(hidden[is_target], self.model.get_output_embeddings().weight, targets[is_target], self._dtype)

    def _own_body(self, checkpoint: Checkpoint, recipe: Recipe) -> CpuBody | None:
        """Return our own forward pass where it computes the same: on a CPU, short rows, no dropout; None elsewhere."""
        of = checkpoint.architecture
        if not (self._eager and of.rotary) or recipe.compile or recipe.dropout:
            return None
        return CpuBody(self.model.base_model, of, self._dtype, adapted=self.adapters is not None)

    def _hidden(self, inputs: Inputs) -> Tensor:
        """Return the last hidden states, fp32 or bf16 [rows, length, width]."""
        if self._cpu_body:
            allowed = inputs.attention_allowed
            if allowed is None:
                length = inputs.ids.shape[1]
                allowed = torch.ones(len(inputs.ids), 1, length, length, dtype=torch.bool).tril_()
            mask = self._mask(allowed)
            assert mask is not None
            return self._cpu_body(inputs.ids, inputs.positions, mask)
        with self._precision():
            hidden: Tensor = self._body(
                input_ids=inputs.ids.to(self._device), position_ids=inputs.positions.to(self._device),
                attention_mask=self._mask(inputs.attention_allowed), use_cache=False,
            ).last_hidden_state  # fmt: skip
        return hidden

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Return the trainable weights by name."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def finish(self) -> Any:  # noqa: ANN401
        """Return the plain transformers model, with its adapters merged."""
        model = self.adapters.merge() if self.adapters else self.model
        model.set_attn_implementation("sdpa")
        return model

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        on = self._dtype is torch.bfloat16
        return torch.autocast(self._device.type, dtype=self._dtype) if on else contextlib.nullcontext()

    def _mask(self, attention_allowed: Tensor | None) -> Tensor | dict[str, Tensor] | None:
        """Return the mask for the attention implementation, of the same shape; by the layers' kinds where some attend to a window."""
        if attention_allowed is None:
            return None
        if not self._window:
            return self._as_added(attention_allowed)
        in_window = attention_allowed.triu(1 - self._window)
        return {"full_attention": self._as_added(attention_allowed), "sliding_attention": self._as_added(in_window)}

    def _as_added(self, attention_allowed: Tensor) -> Tensor:
        """Return a bool mask as SDPA takes it, or additive (0 or -inf) for eager attention; same shape."""
        if not self._eager:
            return attention_allowed.to(self._device)
        return torch.where(attention_allowed, 0.0, -torch.inf).to(self._dtype)  # transformers adds it to the scores


def _compiled(body: Any) -> Any:  # noqa: ANN401
    """Return the transformer compiled by torch.compile, at its first step. Raises InputError when no C++ compiler is installed."""
    import shutil

    if not torch.cuda.is_available() and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise InputError("torch.compile needs a C++ compiler, and none is installed", "Install g++, or --set compile=false.")
    return torch.compile(body)
