"""The forward pass of Llama and its kin for training on a CPU, over the weights of transformers' model, all of them or peft's adapters.

`cpu_functions` says what it saves.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from components.finetune.adapters import ADAPTER
from components.finetune.cpu_adapter_functions import Frozen, adapted_gated_linear, adapted_linear, adapted_norm_linear
from components.finetune.cpu_functions import Turn, attention, gated_linear, group_mask, linear, norm_linear
from mynah.decoding.shared_body import rotary_tables
from mynah.models.architecture import Architecture
from mynah.models.rotary import Rotary

Masks = Tensor | Mapping[str, Tensor]  # additive, [rows, 1, length, length]; by the layers' kinds where some attend to a window


class CpuBody:
    """A model without its last layer. It computes what transformers' own does, up to rounding.

    Args:
        body: transformers' model of one of the architectures with rotary positions, such as LlamaModel; with adapters, every matrix of the
            blocks is a layer of peft.
        architecture: the same, described.
        dtype: of the matrix products.
        adapted: whether only adapters are trained.
    """

    def __init__(self, body: Any, architecture: Architecture, dtype: torch.dtype, *, adapted: bool) -> None:  # noqa: ANN401
        self._body, self._of, self._dtype, self._adapted = body, architecture, dtype, adapted

    def __call__(self, ids: Tensor, positions: Tensor, masks: Masks) -> Tensor:
        """Return the last hidden states.

        Args:
            ids: int64 [rows, length].
            positions: int64 [rows, length].
            masks: of the dtype.

        Returns:
            fp32 [rows, length, width].
        """
        of = self._of
        turns = {rotary: self._turn(rotary, positions) for rotary in set(of.rotary)}
        full = masks if isinstance(masks, Tensor) else masks["full_attention"]
        sliding = masks if isinstance(masks, Tensor) else masks["sliding_attention"]
        by_window = {window: group_mask(sliding if window else full, of.heads, of.kv_heads) for window in set(of.windows)}
        hidden: Tensor = self._body.embed_tokens(ids).view(-1, of.width)
        for layer, rotary, window in zip(self._body.layers, of.rotary, of.windows, strict=True):
            hidden = self._attended(layer, hidden, turns[rotary], by_window[window])
            hidden = self._through_mlp(layer, hidden)
        last: Tensor = self._body.norm(hidden.view(*ids.shape, of.width))
        return last

    def _turn(self, rotary: Rotary, positions: Tensor) -> Turn:
        cos, sin = rotary_tables(rotary, self._of.head, self._of.context, "cpu")
        return cos[positions.view(-1), None], sin[positions.view(-1), None]

    def _attended(self, layer: Any, hidden: Tensor, turn: Turn, mask: Tensor) -> Tensor:  # noqa: ANN401
        of, block = self._of, layer.self_attn
        qkv = self._norm_linear(layer.input_layernorm, hidden, block.q_proj, block.k_proj, block.v_proj)
        if of.qk_norms:
            query, key, value = torch.split(qkv.view(len(qkv), -1, of.head), [of.heads, of.kv_heads, of.kv_heads], 1)
            normalised = block.q_norm(query), block.k_norm(key), value
            qkv = torch.cat([each.to(self._dtype) for each in normalised], 1).view(len(qkv), -1)
        mixed = attention(qkv, turn, mask, (of.heads, of.kv_heads, of.head), of.score_scale)
        found = adapted_linear(mixed, *_adapters(block.o_proj)) if self._adapted else linear(mixed, *_matrices(block.o_proj))
        added: Tensor = layer.post_attention_layernorm(found.float()) if of.post_norms else found
        return hidden + added

    def _through_mlp(self, layer: Any, hidden: Tensor) -> Tensor:  # noqa: ANN401
        of, mlp = self._of, layer.mlp
        norm = layer.pre_feedforward_layernorm if of.post_norms else layer.post_attention_layernorm
        both = self._norm_linear(norm, hidden, mlp.gate_proj, mlp.up_proj)
        if self._adapted:
            found = adapted_gated_linear(both, of.activation, *_adapters(mlp.down_proj))
        else:
            found = gated_linear(both, of.activation, *_matrices(mlp.down_proj))
        added: Tensor = layer.post_feedforward_layernorm(found.float()) if of.post_norms else found
        return hidden + added

    def _norm_linear(self, norm: Any, hidden: Tensor, *linears: Any) -> Tensor:  # noqa: ANN401
        scale = norm.weight + self._of.norm_offset if self._of.norm_offset else norm.weight
        if self._adapted:
            return adapted_norm_linear(hidden, scale, self._of.epsilon, self._dtype, *_adapters(*linears))
        found: Tensor = norm_linear(hidden, scale, self._of.epsilon, self._dtype, *_matrices(*linears))
        return found


def _matrices(*linears: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The number of biases, the weights of several products, and their biases."""
    biases = [linear.bias for linear in linears if linear.bias is not None]
    return len(biases), *(linear.weight for linear in linears), *biases


def _adapters(*layers: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The frozen matrices of several of peft's layers, and A and B of each in turn."""
    bases = [layer.base_layer for layer in layers]
    bias = None if bases[0].bias is None else torch.cat([base.bias for base in bases])
    frozen = Frozen(tuple(base.weight for base in bases), bias, layers[0].scaling[ADAPTER])
    return frozen, *(matrix[ADAPTER].weight for layer in layers for matrix in (layer.lora_A, layer.lora_B))
