"""The operations of `cpu_functions` over frozen matrices to which adapters add: only the adapters get gradients.

What an adapter adds is added to a copy of its matrix for one product. Per matrix that costs one pass over it; two products of all rows
with matrices of the adapter's rank, the usual way, cost more from 200 rows on (measured with SmolLM2-135M at rank 16, AVX2).

Shapes: as in `cpu_functions`; r is the adapters' rank.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from components.finetune.cpu_functions import Context, activated, gate_gradient, norm_gradient, normalised, product


@dataclass(frozen=True, slots=True)
class Frozen:
    """Matrices of products side by side.

    Attributes:
        weights: Of each, fp32 [out, in].
        bias: Of all together, fp32 [outs]; None: there is none.
        factor: Of what the adapters add.
    """

    weights: tuple[Tensor, ...]
    bias: Tensor | None
    factor: float


def adapted_norm_linear(
    hidden: Tensor, scale: Tensor, epsilon: float, dtype: torch.dtype, frozen: Frozen, *adapters: Tensor
) -> Tensor:
    """Return a root-mean-square norm's product, [T, width] -> [T, outs].

    Args:
        hidden: [T, width].
        scale: the norm's weight, [width], which gets no gradient.
        epsilon: the norm's.
        dtype: of the result.
        frozen: the matrices.
        adapters: A [r, in] and B [out, r] of each matrix in turn, fp32.
    """
    found = _NormLinear.apply(hidden, scale, epsilon, dtype, frozen, *adapters)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


def adapted_linear(x: Tensor, frozen: Frozen, *adapters: Tensor) -> Tensor:
    """Return a product, [T, in] -> [T, out]; the other arguments are those of `adapted_norm_linear`."""
    found = _Linear.apply(x, frozen, *adapters)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


def adapted_gated_linear(both: Tensor, activation: str, frozen: Frozen, *adapters: Tensor) -> Tensor:
    """Return a gated MLP's end, [T, width], from its first products, [T, 2 * inner], gate and up side by side."""
    found = _GatedLinear.apply(both, activation, frozen, *adapters)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


class _NormLinear(Function):
    @staticmethod
    def forward(
        ctx: Context, hidden: Tensor, scale: Tensor, epsilon: float, dtype: torch.dtype, frozen: Frozen, *adapters: Tensor
    ) -> Tensor:
        x, rstd = normalised(hidden, epsilon, dtype)
        ctx.save_for_backward(x, rstd, scale, *adapters)
        ctx.frozen = frozen
        return product(x, _merged(frozen, adapters, dtype, scale), frozen.bias)

    @staticmethod
    def backward(ctx: Context, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, rstd, scale, *adapters = ctx.saved_tensors
        d_hidden = None
        if ctx.needs_input_grad[0]:  # the first block's are the embeddings, which are frozen
            d_hidden = norm_gradient((d_out @ _merged(ctx.frozen, adapters, x.dtype, scale)).float(), x, rstd)
        return d_hidden, None, None, None, None, *_gradients(ctx.frozen, adapters, d_out, x, scale)


class _Linear(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, frozen: Frozen, *adapters: Tensor) -> Tensor:
        ctx.save_for_backward(x, *adapters)
        ctx.frozen = frozen
        return product(x, _merged(frozen, adapters, x.dtype), frozen.bias)

    @staticmethod
    def backward(ctx: Context, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, *adapters = ctx.saved_tensors
        d_x = d_out @ _merged(ctx.frozen, adapters, x.dtype)
        return d_x, None, *_gradients(ctx.frozen, adapters, d_out, x)


class _GatedLinear(Function):
    @staticmethod
    def forward(ctx: Context, both: Tensor, activation: str, frozen: Frozen, *adapters: Tensor) -> Tensor:
        gate, up = both.chunk(2, 1)
        ctx.save_for_backward(both, *adapters)
        ctx.frozen, ctx.activation = frozen, activation
        return product(activated(gate, activation).mul_(up), _merged(frozen, adapters, both.dtype), frozen.bias)

    @staticmethod
    def backward(ctx: Context, d_out: Tensor) -> tuple[Tensor | None, ...]:
        both, *adapters = ctx.saved_tensors
        gate, up = both.chunk(2, 1)
        active = activated(gate, ctx.activation)
        d_adapters = _gradients(ctx.frozen, adapters, d_out, active * up)
        d_inner = d_out @ _merged(ctx.frozen, adapters, both.dtype)
        return gate_gradient(both, active, d_inner, ctx.activation), None, None, *d_adapters


def _merged(frozen: Frozen, adapters: "tuple[Tensor, ...] | list[Tensor]", dtype: torch.dtype, scale: Any = None) -> Tensor:  # noqa: ANN401
    """The matrices with what the adapters add, [outs, in] of `dtype`, with their columns multiplied by `scale`."""
    weights = frozen.weights
    joined = torch.empty(sum(map(len, weights)), weights[0].shape[1])
    parts = torch.split(joined, [len(weight) for weight in weights])
    for part, weight, a, b in zip(parts, weights, adapters[::2], adapters[1::2], strict=True):
        torch.addmm(weight, b, a, alpha=frozen.factor, out=part)
    if scale is not None:
        joined.mul_(scale)
    return joined.to(dtype)


def _gradients(
    frozen: Frozen, adapters: "tuple[Tensor, ...] | list[Tensor]", d_out: Tensor, x: Tensor, scale: Tensor | None = None
) -> list[Tensor]:
    """The gradients of the adapters, A and B of each matrix in turn.

    Args:
        frozen: the matrices.
        adapters: A and B of each.
        d_out: the gradient of the products, [T, outs].
        x: what they read, [T, in], where `scale` is not multiplied into it yet.
        scale: [in].
    """
    down = torch.cat(adapters[::2])
    down_cast = (down if scale is None else down * scale).to(x.dtype)
    parts = torch.split(d_out, [len(weight) for weight in frozen.weights], 1)
    ranks = [len(a) for a in adapters[::2]]
    d_low = torch.cat([d @ b.to(x.dtype) for d, b in zip(parts, adapters[1::2], strict=True)], 1)  # [T, n * r]
    d_down = (d_low.T @ x).float().mul_(frozen.factor)
    if scale is not None:
        d_down.mul_(scale)
    low = torch.split(x @ down_cast.T, ranks, 1)
    d_up = [(d.T @ each).float().mul_(frozen.factor) for d, each in zip(parts, low, strict=True)]
    return [gradient for pair in zip(torch.split(d_down, ranks), d_up, strict=True) for gradient in pair]
