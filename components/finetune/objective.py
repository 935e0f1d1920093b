"""transformers' GPT-2 made ready for training, and the loss of a batch's rows under it."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.activations import NewGELUActivation

from components.errors import InputError
from components.finetune.batches import Row
from components.finetune.loss import vocabulary_loss
from components.finetune.recipe import Recipe
from components.scoring import IGNORED

SHORT = 256  # tokens a row up to which written-out attention is faster on a CPU than SDPA, whose backward pass takes 28 ms a layer for 5
MULTIPLE = 64  # to which longer rows are padded, so that compiled and aligned kernels meet few lengths


@dataclass(frozen=True, slots=True)
class Inputs:
    """Rows as tensors: ids, targets and positions of shape (rows, length); `together`, (rows, 1, length, length), is true
    where one token may attend to another, and None where that is all that come before."""

    ids: Tensor
    targets: Tensor
    positions: Tensor
    together: Tensor | None


def collate(rows: Sequence[Row], end: int, block: int) -> Inputs:
    """Rows side by side, padded to `block`, or to the longest. Positions begin anew with each post, as they do when a model is asked."""
    longest = max(sum(len(post) - 1 for post in row) for row in rows)
    length = block if longest <= block else -(-longest // MULTIPLE) * MULTIPLE
    shape = len(rows), length
    ids, targets = torch.full(shape, end), torch.full(shape, IGNORED)
    positions, posts = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for number, row in enumerate(rows):
        start = 0
        for place, post in enumerate(row, 1):
            tokens, stop = torch.tensor(post), start + len(post) - 1
            ids[number, start:stop], targets[number, start:stop] = tokens[:-1], tokens[1:]
            positions[number, start:stop], posts[number, start:stop] = torch.arange(stop - start), place
            start = stop
    if all(len(row) == 1 for row in rows):
        return Inputs(ids, targets, positions, None)
    return Inputs(ids, targets, positions, (posts[:, :, None] == posts[:, None, :]).tril()[:, None])


class Objective:
    """The summed loss of rows under a model in training: attention, activation, dropout and adapters as `recipe` has them.

    `recipe` has nothing left to derive. `finish` gives the model back as it was, but for its weights.
    """

    def __init__(self, model: Any, recipe: Recipe, *, bf16: bool) -> None:  # noqa: ANN401 - transformers' class, untyped
        self._device = model.device
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._block = recipe.block
        self._end = int(model.config.eos_token_id)
        self._adapted = _with_adapters(model, recipe) if recipe.lora_rank else None
        self.model = model
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = recipe.dropout
        for layer in model.transformer.h:
            if isinstance(layer.mlp.act, NewGELUActivation):  # seven kernels of elementwise arithmetic; the same function in one
                layer.mlp.act = torch.nn.GELU(approximate="tanh")
        self._written_out = self._device.type == "cpu" and recipe.block <= SHORT
        model.set_attn_implementation("eager" if self._written_out else "sdpa")
        self._body = _compiled(model.transformer) if recipe.compile else model.transformer

    def nats(self, rows: Sequence[Row]) -> Tensor:
        """Nats summed over the tokens that the rows predict."""
        inputs = collate(rows, self._end, self._block)
        targets = inputs.targets.to(self._device)
        kept = targets != IGNORED
        with self._precision():
            hidden = self._body(
                input_ids=inputs.ids.to(self._device), position_ids=inputs.positions.to(self._device),
                attention_mask=self._mask(inputs.together), use_cache=False,
            ).last_hidden_state  # fmt: skip
        return vocabulary_loss(hidden[kept], self.model.lm_head.weight, targets[kept], self._dtype)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The weights that training changes, by name."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def finish(self) -> Any:  # noqa: ANN401
        """The model by itself, adapters merged, as transformers loads it."""
        model = self._adapted.merge_and_unload() if self._adapted else self.model
        model.set_attn_implementation("sdpa")
        return model

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        on = self._dtype is torch.bfloat16
        return torch.autocast(self._device.type, dtype=self._dtype) if on else contextlib.nullcontext()

    def _mask(self, together: Tensor | None) -> Tensor | None:
        if together is None or not self._written_out:
            return None if together is None else together.to(self._device)
        return torch.where(together, 0.0, -torch.inf).to(self._dtype)  # transformers adds it to the scores


def _with_adapters(model: Any, recipe: Recipe) -> Any:  # noqa: ANN401
    """peft's wrapper of the model, whose matrices it has put adapters into (Hu et al. 2021)."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError(
            "LoRA needs the package peft", "Install mynah[train], or train all weights: --set lora_rank=0."
        ) from error
    config = LoraConfig(
        r=recipe.lora_rank, lora_alpha=2 * recipe.lora_rank, lora_dropout=recipe.dropout,
        target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True,
    )  # fmt: skip
    return get_peft_model(model, config)


def _compiled(body: Any) -> Any:  # noqa: ANN401
    """The model's body compiled at its first step. Raises InputError where torch has no compiler to hand."""
    import shutil

    if not torch.cuda.is_available() and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise InputError("torch.compile needs a C++ compiler, and there is none", "Install g++, or --set compile=false.")
    return torch.compile(body)
