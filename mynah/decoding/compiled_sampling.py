"""The weights of tokens and their drawing by compiled functions: what `sampler` does on a CPU where the kernels have them."""

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from mynah.decoding.team import run_here, run_in_team

CALL = struct.Struct("10q")  # compiled.sampling.CALL
BLOCK = 256  # compiled.sampling.BLOCK


def weigh(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities but for a factor per row, and their sums.

    Args:
        logits: fp32 [rows, vocabulary padded to 256], contiguous.

    Returns:
        fp32 [rows, vocabulary] and fp32 [rows].
    """
    from mynah.decoding.compiled import sampling as compiled

    assert logits.dtype == torch.float32
    assert logits.shape[1] % BLOCK == 0
    rows, logits = len(logits), logits.contiguous()
    weights, total = torch.empty_like(logits), torch.empty(rows)
    addresses = logits.data_ptr(), weights.data_ptr(), total.data_ptr()
    (run_here if rows == 1 else run_in_team)(
        compiled.weigh.address, CALL.pack(rows, logits.shape[1] // BLOCK, *addresses, 0, 0, 0, 0, 0)
    )
    return weights, total


def draw(weights: Tensor, total: Tensor, numbers: Sequence[float], limits: Sequence[float]) -> tuple[list[int], list[bool]]:
    """Draw a token for each row by its weight.

    Args:
        weights: fp32 [rows, vocabulary padded to 256], contiguous.
        total: What the nucleus is a share of, fp32 [rows].
        numbers: A random number from 0 to 1 for each row.
        limits: The share of each row's nucleus; 1: no nucleus.

    Returns:
        The tokens, and whether each lies outside its nucleus.
    """
    from mynah.decoding.compiled import sampling as compiled

    rows = len(weights)
    given, tokens, likelier = torch.tensor([*numbers, *limits]), torch.empty(rows, dtype=torch.int64), torch.empty(rows)
    sums = torch.empty(rows, weights.shape[1] // BLOCK)
    addresses = given.data_ptr(), given[rows:].data_ptr(), tokens.data_ptr(), likelier.data_ptr(), sums.data_ptr()
    call = CALL.pack(rows, weights.shape[1] // BLOCK, 0, weights.data_ptr(), 0, *addresses)
    (run_here if rows == 1 else run_in_team)(compiled.draw.address, call)
    if all(limit >= 1.0 for limit in limits):
        return tokens.tolist(), [False] * rows
    allowed = given[rows:] * total
    outside = [
        limit < 1.0 and mass >= most for limit, mass, most in zip(limits, likelier.tolist(), allowed.tolist(), strict=True)
    ]
    return tokens.tolist(), outside
