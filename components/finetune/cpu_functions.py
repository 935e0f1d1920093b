"""What a block of Llama and its kin computes, as few operations with gradients written by hand.

On a CPU transformers' blocks spend a third of a step between the matrix products, and keep 34,000 numbers per token and layer of
SmolLM2-135M for the backward pass. These keep 7,000: what a backward pass can compute again from them in one pass over memory it does.

Shapes: T tokens are R rows of L positions; H query heads and K key heads of D numbers. `dtype` is that of the matrix products, bf16 or
fp32; weights, norms and hidden states are fp32.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import gelu, silu

from mynah.decoding.compat import softmax_gradient

Context = Any  # torch's FunctionCtx, whose attributes have no types
Turn = tuple[
    Tensor, Tensor
]  # cosines and signed sines of the positions, fp32 [T, 1, D]: mynah.decoding.shared_body.rotary_tables


def norm_linear(hidden: Tensor, scale: Tensor, epsilon: float, dtype: torch.dtype, biases: int, *matrices: Tensor) -> Tensor:
    """Return a root-mean-square norm's product. Its weight is multiplied into the matrix, which is smaller than the rows.

    Args:
        hidden: [T, width].
        scale: the norm's weight, [width].
        epsilon: the norm's.
        dtype: of the result.
        biases: the number of biases among the matrices.
        matrices: weights [out, width] of products side by side, and then a bias [out] for each of them or for none.
    """
    found = _NormLinear.apply(hidden, scale, epsilon, dtype, biases, *matrices)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


def linear(x: Tensor, biases: int, *matrices: Tensor) -> Tensor:
    """Return a product, [T, in] -> [T, out]; the other arguments are those of `norm_linear`."""
    found = _Linear.apply(x, biases, *matrices)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


def gated_linear(both: Tensor, activation: str, biases: int, *matrices: Tensor) -> Tensor:
    """Return a gated MLP's end, [T, width], from its first products, [T, 2 * inner], gate and up side by side."""
    found = _GatedLinear.apply(both, activation, biases, *matrices)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


def attention(qkv: Tensor, turn: Turn, mask: Tensor, heads: tuple[int, int, int], scale: float) -> Tensor:
    """Return attention within rows, with rotary positions, [T, H * D].

    The query heads of one key head are one product (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).

    Args:
        qkv: queries, keys and values side by side, [T, (H + 2 K) * D].
        turn: the tokens' positions.
        mask: added to the scores, of `group_mask`, [R * K, H / K * L, L].
        heads: H, K and D.
        scale: the factor of the scores.
    """
    found = _Attention.apply(qkv, *turn, mask, heads, scale)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


def group_mask(mask: Tensor, heads: int, groups: int) -> Tensor:
    """Return an additive mask [R, 1, L, L] for the queries of `groups` key heads: [R * groups, heads / groups * L, L]."""
    rows, _, length, _ = mask.shape
    return mask.expand(rows, heads, length, length).reshape(rows * groups, heads // groups * length, length)


class _NormLinear(Function):
    @staticmethod
    def forward(
        ctx: Context,
        hidden: Tensor,
        scale: Tensor,
        epsilon: float,
        dtype: torch.dtype,
        biases: int,
        *matrices: Tensor,
    ) -> Tensor:
        weights, bias = _split(matrices, biases)
        x, rstd = normalised(hidden, epsilon, dtype)
        ctx.save_for_backward(x, rstd, scale, *weights)
        ctx.biases = biases
        return product(x, _joined(weights, dtype, scale), bias)

    @staticmethod
    def backward(ctx: Context, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, rstd, scale, *weights = ctx.saved_tensors
        d_hidden = norm_gradient((d_out @ _joined(weights, x.dtype, scale)).float(), x, rstd)
        d_joined = (d_out.T @ x).float()
        d_scale = torch.stack([(d * weight).sum(0) for d, weight in zip(_rows(d_joined, weights), weights, strict=True)]).sum(0)
        d_weights = _rows(d_joined.mul_(scale), weights)
        return d_hidden, d_scale, None, None, None, *d_weights, *_bias_gradients(ctx.biases, d_out, weights)


class _Linear(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, biases: int, *matrices: Tensor) -> Tensor:
        weights, bias = _split(matrices, biases)
        ctx.save_for_backward(x, *weights)
        ctx.biases = biases
        return product(x, _joined(weights, x.dtype), bias)

    @staticmethod
    def backward(ctx: Context, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        d_weights = _rows((d_out.T @ x).float(), weights)
        return d_out @ _joined(weights, x.dtype), None, *d_weights, *_bias_gradients(ctx.biases, d_out, weights)


class _GatedLinear(Function):
    @staticmethod
    def forward(ctx: Context, both: Tensor, activation: str, biases: int, *matrices: Tensor) -> Tensor:
        weights, bias = _split(matrices, biases)
        gate, up = both.chunk(2, 1)
        ctx.save_for_backward(both, *weights)
        ctx.activation, ctx.biases = activation, biases
        return product(activated(gate, activation).mul_(up), _joined(weights, both.dtype), bias)

    @staticmethod
    def backward(ctx: Context, d_out: Tensor) -> tuple[Tensor | None, ...]:
        both, *weights = ctx.saved_tensors
        gate, up = both.chunk(2, 1)
        d_inner = d_out @ _joined(weights, both.dtype)
        active = activated(gate, ctx.activation)
        d_weights = _rows((d_out.T @ (active * up)).float(), weights)
        d_both = gate_gradient(both, active, d_inner, ctx.activation)
        return d_both, None, None, *d_weights, *_bias_gradients(ctx.biases, d_out, weights)


class _Attention(Function):
    @staticmethod
    def forward(
        ctx: Context,
        qkv: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor,
        heads: tuple[int, int, int],
        scale: float,
    ) -> Tensor:
        (of_query, of_key, size), length = heads, mask.shape[-1]
        rows = len(mask) // of_key
        both = qkv[:, : (of_query + of_key) * size].view(-1, of_query + of_key, size).float()
        turned = _turned(both, cos, sin).to(qkv.dtype).view(rows, length, -1, size)
        query = _grouped(turned[:, :, :of_query], of_key)
        key = _grouped(turned[:, :, of_query:], of_key)
        value = _grouped(qkv[:, -of_key * size :].view(rows, length, of_key, size), of_key)
        scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scale)
        weights = torch.softmax(scores, -1)
        ctx.save_for_backward(query, key, value, weights, cos, sin)
        ctx.heads, ctx.scale, ctx.rows = heads, scale, rows
        return _ungrouped(weights @ value, rows, of_key, length).view(-1, of_query * size)

    @staticmethod
    def backward(ctx: Context, d_out: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, cos, sin = ctx.saved_tensors
        of_query, of_key, size = ctx.heads
        length = key.shape[1]
        d_mixed = _grouped(d_out.view(ctx.rows, length, of_query, size), of_key)
        d_value = weights.transpose(1, 2) @ d_mixed
        d_weights = d_mixed @ value.transpose(1, 2)
        d_scores = softmax_gradient(d_weights, weights).mul_(ctx.scale)
        d_both = torch.cat(
            [_ungrouped(each, ctx.rows, of_key, length) for each in (d_scores @ key, d_scores.transpose(1, 2) @ query)], 2
        )
        d_both = _turned(d_both.view(-1, of_query + of_key, size).float(), cos, -sin).to(d_out.dtype)
        d_value = _ungrouped(d_value, ctx.rows, of_key, length).view(len(d_out), -1)
        return torch.cat([d_both.view(len(d_out), -1), d_value], 1), None, None, None, None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads turned by their positions, fp32 [T, heads, D]; with the sines negative they are turned back, which is the gradient."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """[R, L, heads, D] -> [R * K, heads / K * L, D], the heads of one key head one after the other."""
    rows, length, heads, size = x.shape
    return x.transpose(1, 2).reshape(rows * groups, heads // groups * length, size)


def _ungrouped(x: Tensor, rows: int, groups: int, length: int) -> Tensor:
    """The reverse of `_grouped`: [R * K, heads / K * L, D] -> [R, L, heads, D]."""
    size = x.shape[-1]
    return x.view(rows, -1, length, size).transpose(1, 2).contiguous()


def normalised(hidden: Tensor, epsilon: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A root-mean-square norm without its weight, [T, width] of `dtype`, and its factors, fp32 [T, 1]."""
    rstd = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True).square_().div_(hidden.shape[-1]).add_(epsilon).rsqrt_()
    return torch.mul(hidden, rstd, out=torch.empty_like(hidden, dtype=dtype)), rstd


def norm_gradient(d_x: Tensor, x: Tensor, rstd: Tensor) -> Tensor:
    """The gradient of the hidden states, from that of `normalised`, fp32 [T, width], which is overwritten."""
    return d_x.addcmul_(x, (d_x * x).mean(-1, keepdim=True), value=-1.0).mul_(rstd)


def gate_gradient(both: Tensor, active: Tensor, d_inner: Tensor, activation: str) -> Tensor:
    """The gradient of a gated MLP's first products.

    Args:
        both: the products, [T, 2 * inner].
        active: `activated` of the gate, [T, inner].
        d_inner: the gradient of their product, [T, inner]; overwritten.
        activation: the activation's name.
    """
    gate, up = both.chunk(2, 1)
    d_both = torch.empty_like(both)
    d_gate, d_up = d_both.chunk(2, 1)
    torch.mul(d_inner, active, out=d_up)
    d_inner.mul_(up)
    if activation == "silu":
        torch.ops.aten.silu_backward.grad_input(d_inner, gate, grad_input=d_gate)
    else:
        torch.ops.aten.gelu_backward.grad_input(d_inner, gate, approximate="tanh", grad_input=d_gate)
    return d_both


def activated(gate: Tensor, activation: str) -> Tensor:
    """The activation of a name, [T, inner]."""
    return silu(gate) if activation == "silu" else gelu(gate, approximate="tanh")


def _split(matrices: tuple[Tensor, ...], biases: int) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Weights, and the biases after them as one."""
    if not biases:
        return matrices, None
    return matrices[:-biases], torch.cat(matrices[-biases:])


def _joined(weights: "tuple[Tensor, ...] | list[Tensor]", dtype: torch.dtype, scale: Tensor | None = None) -> Tensor:
    """Matrices [out, in] as one of `dtype`, one below the other, with their columns multiplied by `scale`."""
    if scale is None and len(weights) == 1:
        return weights[0].to(dtype)
    joined = torch.empty(sum(map(len, weights)), weights[0].shape[1], dtype=dtype, device=weights[0].device)
    for part, weight in zip(_rows(joined, weights), weights, strict=True):
        if scale is None:
            part.copy_(weight)
        else:
            torch.mul(weight, scale, out=part)
    return joined


def _rows(joined: Tensor, weights: "tuple[Tensor, ...] | list[Tensor]") -> tuple[Tensor, ...]:
    """The rows of `joined` that belong to each matrix."""
    return torch.split(joined, [len(weight) for weight in weights])


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[T, in] by [out, in]: [T, out]."""
    return x @ weight.T if bias is None else torch.addmm(bias.to(x.dtype), x, weight.T)


def _bias_gradients(biases: int, d_out: Tensor, weights: "tuple[Tensor, ...] | list[Tensor]") -> tuple[Tensor, ...]:
    return _rows(d_out.float().sum(0), weights) if biases else ()
