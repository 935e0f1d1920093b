"""What a block computes between its matrices: norms, rotary positions and gates. Each row from that row alone, to the bit on a CPU."""

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, silu

from mynah.decoding.body import Layer, LayerNorm
from mynah.models.architecture import Architecture

Turn = tuple[Tensor, Tensor]  # cosines and signed sines, fp32 [rows, 1, head] each: see shared_body.rotary_tables
# torch computes up to so many numbers in one thread, and a vector at a time from the first one; where threads share them, a share may
# end in mid-vector, and the exponentials of its last numbers are other functions' than those of the vectors.
ONE_THREAD = 32_768


def normalised(hidden: Tensor, norm: LayerNorm, epsilon: float) -> Tensor:
    """Rows after a norm; fp32 [rows, width] -> the same shape. Without weights: a root-mean-square norm, whose weights come later."""
    return rms_normalised(hidden, epsilon) if norm is None else layer_norm(hidden, hidden.shape[-1:], *norm, epsilon)


def rms_normalised(x: Tensor, epsilon: float) -> Tensor:
    """Numbers divided by the root of the mean of their squares over the last dimension, fp32 of any shape."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()


def split_heads(qkv: Tensor, of: Architecture, layer: Layer, turn: Turn | None) -> tuple[Tensor, Tensor]:
    """Queries, and keys and values, with their norms and positions.

    Args:
        qkv: [rows, (heads + 2 * kv_heads) * head], of the kernels' dtype.
        of: The sizes.
        layer: For its norms.
        turn: The rows' positions; None where positions are learned.

    Returns:
        [rows, heads, head] and [rows, 2, kv_heads, head], of the same dtype.
    """
    rows = len(qkv)
    query, added = torch.split(qkv, [of.heads * of.head, 2 * of.kv_heads * of.head], 1)
    if turn is None:
        return query.view(rows, of.heads, of.head), added.view(rows, 2, of.kv_heads, of.head)
    both = qkv.view(rows, -1, of.head)[:, : of.heads + of.kv_heads].float()
    if layer.qk_norm is not None:
        both = rms_normalised(both, of.epsilon) * layer.qk_norm
    both = torch.addcmul(both * turn[0], both.roll(of.head // 2, -1), turn[1]).to(qkv.dtype)
    value = added.view(rows, 2, of.kv_heads, of.head)[:, 1]
    return both[:, : of.heads], torch.stack((both[:, of.heads :], value), 1)


def activated(x: Tensor, of: Architecture) -> Tensor:
    """An MLP's activation: [rows, inner], or [rows, 2 * inner] of a gated one -> [rows, inner]."""
    return gated(x, of.activation) if of.is_gated else gelu(x, approximate="tanh")


def gated(x: Tensor, activation: str) -> Tensor:
    """A gated MLP's activation: [rows, 2 * inner], gate and up side by side -> [rows, inner]."""
    rows = len(x) if x.device.type != "cpu" else max(1, ONE_THREAD // (x.shape[1] // 2))
    if len(x) <= rows:
        return _gated(x, activation)
    return torch.cat([_gated(part, activation) for part in torch.split(x, rows)])


def _gated(x: Tensor, activation: str) -> Tensor:
    gate, up = x.chunk(2, 1)
    return (silu(gate) if activation == "silu" else gelu(gate, approximate="tanh")).mul_(up)


def capped(x: Tensor, cap: float) -> Tensor:
    """Numbers kept within -cap and cap by tanh (Gemma 2, https://arxiv.org/abs/2408.00118)."""
    return x.div(cap).tanh_().mul_(cap)
