"""Cross-entropy over the vocabulary, computed in chunks so that all logits never exist at once."""

from typing import Any

import torch
from torch import Tensor

LOGITS_AT_ONCE = 1024  # rows of logits per chunk: 100 MB for GPT-2 in bf16
ROWS_AT_ONCE = 64  # rows of a chunk in fp32 at a time


def vocabulary_loss(hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the summed cross-entropy of the output layer's predictions.

    The gradients are computed in the forward pass, where the gradient of the logits overwrites them (Hsu et al. 2024, "Liger Kernel",
    https://arxiv.org/abs/2410.10989). This takes about 100 MB for GPT-2 whatever the number of tokens, where logits, their fp32 copy,
    their softmax and its gradient take 10 bytes per token and word of the vocabulary.

    Args:
        hidden: the last hidden states, shape (tokens, width), floating point.
        weight: the output layer, shape (vocabulary, width), floating point.
        targets: the ids to predict, shape (tokens,), int64.
        dtype: of the matrix products; softmax is in fp32.

    Returns:
        The loss in nats, summed over the targets: a 0-d fp32 tensor.
    """
    nats = _VocabularyLoss.apply(hidden, weight, targets, dtype)  # type: ignore[no-untyped-call]
    assert isinstance(nats, Tensor)
    return nats


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:  # noqa: ANN401
        hidden_cast, weight_cast = hidden.to(dtype), weight.to(dtype)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden) if needs_hidden else None
        d_weight: Tensor | None = None
        nats = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), LOGITS_AT_ONCE):
            part = slice(start, start + LOGITS_AT_ONCE)
            logits = hidden_cast[part] @ weight_cast.T
            nats += _to_gradient(logits, targets[part])
            if d_hidden is not None:
                d_hidden[part] = logits @ weight_cast
            if needs_weight:
                d_part = logits.T @ hidden_cast[part]
                d_weight = d_part.to(weight.dtype) if d_weight is None else d_weight.add_(d_part)
                del d_part
            del logits  # before the next chunk's
        ctx.save_for_backward(d_hidden, d_weight)
        return nats

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        d_hidden, d_weight = ctx.saved_tensors
        return (None if d_hidden is None else d_hidden * scale, None if d_weight is None else d_weight.mul_(scale), None, None)


def _to_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the summed cross-entropy in nats, 0-d fp32, and overwrite `logits` with its gradient: softmax less one at the target.

    Args:
        logits: shape (rows, vocabulary), bf16 or fp32; overwritten.
        targets: shape (rows,), int64.
    """
    nats = torch.zeros((), device=logits.device)
    step = ROWS_AT_ONCE if logits.device.type == "cpu" else len(logits)  # on a CPU, few enough to fit its cache
    for start in range(0, len(logits), step):
        rows, target = logits[start : start + step], targets[start : start + step, None]
        logits_fp32 = rows.float()
        total = torch.logsumexp(logits_fp32, -1, keepdim=True)
        nats += (total - logits_fp32.gather(1, target)).sum()
        logits_fp32.sub_(total).exp_()
        rows.copy_(logits_fp32.scatter_add_(1, target, torch.full_like(total, -1.0)))
    return nats
