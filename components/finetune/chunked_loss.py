"""The loss over the vocabulary, without a copy of all logits."""

from typing import Any

import torch
from torch import Tensor

LOGITS_AT_ONCE = 2048  # rows of logits that exist at a time: 200 MB of GPT-2's in bf16
ROWS_AT_ONCE = 64  # of them, how many are in fp32 at a time


def vocabulary_loss(hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Cross-entropy in nats, summed over `targets` [tokens], of `hidden` [tokens, width] under the output layer `weight` [vocabulary, width].

    Products are computed in `dtype`, softmax in fp32. The gradients are computed in the forward pass, where the gradient of the
    logits takes their place in memory (Hsu et al. 2024, "Liger Kernel", https://arxiv.org/abs/2410.10989): some 200 MB for GPT-2
    whatever the number of tokens, where logits, their fp32 copy, their softmax and its gradient take 10 bytes a token and word.
    """
    found = _VocabularyLoss.apply(hidden, weight, targets, dtype)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:  # noqa: ANN401
        narrow, head = hidden.to(dtype), weight.to(dtype)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden) if needs_hidden else None
        d_weight: Tensor | None = None
        nats = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), LOGITS_AT_ONCE):
            part = slice(start, start + LOGITS_AT_ONCE)
            logits = narrow[part] @ head.T
            nats += _to_gradient(logits, targets[part])
            if d_hidden is not None:
                d_hidden[part] = logits @ head
            if needs_weight:
                d_part = (logits.T @ narrow[part]).to(weight.dtype)
                d_weight = d_part if d_weight is None else d_weight.add_(d_part)
        ctx.save_for_backward(d_hidden, d_weight)
        return nats

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        d_hidden, d_weight = ctx.saved_tensors
        return (None if d_hidden is None else d_hidden * scale, None if d_weight is None else d_weight.mul_(scale), None, None)


def _to_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The summed cross-entropy of `logits`, which become its gradient: softmax less one at the target."""
    nats = torch.zeros((), device=logits.device)
    step = ROWS_AT_ONCE if logits.device.type == "cpu" else len(logits)  # on a CPU, what fits its cache
    for start in range(0, len(logits), step):
        rows, target = logits[start : start + step], targets[start : start + step, None]
        wide = rows.float()
        total = torch.logsumexp(wide, -1, keepdim=True)
        nats += (total - wide.gather(1, target)).sum()
        wide.sub_(total).exp_()
        rows.copy_(wide.scatter_add_(1, target, torch.full_like(total, -1.0)))
    return nats
