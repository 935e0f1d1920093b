"""Attention of one new token of each sequence over the cache, by compiled functions: instead of `attention.StepAttention`, on a CPU."""

import struct

import torch
from torch import Tensor

from mynah.decoding.compiled_program import Operation
from mynah.decoding.team import run_here, run_in_team
from mynah.models.architecture import Architecture

CALL = struct.Struct("15q")  # compiled.attention_step.CALL
SHARED = 1 << 17  # numbers of keys from which on the team is faster than one thread


def attention_call(
    of: Architecture, query: Tensor, added: Tensor, cache: Tensor, window: int, places: Tensor, scores: Tensor, out: Tensor
) -> Operation:
    """Return the operation that writes the new keys and values of a step, and attends.

    Args:
        of: The heads.
        query: fp32 [slots, heads * head], scaled; the numbers of a row side by side.
        added: The new keys and values, fp32 [slots, 2 * kv_heads * head], as `query`.
        cache: Keys and values, fp32 [2, slots or more, kv_heads, keys, head], contiguous; `added` is written into it.
        window: Tokens attended to; 0: all.
        places: The new tokens' positions, int64 [slots].
        scores: Room, fp32 [slots * kv_heads, keys].
        out: fp32 [slots, heads * head], which is written.
    """
    from mynah.decoding.compiled import attention_step as compiled

    slots, keys = len(query), cache.shape[3]
    assert query.dtype == added.dtype == cache.dtype == torch.float32
    assert (query.shape[1], added.shape[1]) == (of.heads * of.head, 2 * of.kv_heads * of.head)
    assert query.stride(1) == added.stride(1) == 1
    assert len(places) == slots <= cache.shape[1]
    call = CALL.pack(
        slots, of.heads, of.kv_heads, of.head, keys, cache.shape[1], window, query.data_ptr(), 4 * query.stride(0),
        added.data_ptr(), 4 * added.stride(0), cache.data_ptr(), places.data_ptr(), scores.data_ptr(), out.data_ptr(),
    )  # fmt: skip
    return Operation(compiled.attend.address, call, slots * of.heads * of.head * keys >= SHARED)


class CompiledStepAttention:
    """Writes the new keys and values of a step, and attends."""

    def __init__(self, of: Architecture, places: Tensor) -> None:
        """`places`: the new tokens' positions, int64 [slots]."""
        self._of, self._places = of, places

    def __call__(self, query: Tensor, added: Tensor, cache: Tensor, window: int) -> Tensor:
        """Attend.

        Args:
            query: fp32 [slots, heads, head], scaled.
            added: The new keys and values, fp32 [slots, 2, kv_heads, head].
            cache: As of `attention_call`.
            window: Tokens attended to; 0: all.

        Returns:
            fp32 [slots, heads * head].
        """
        of, slots = self._of, len(query)
        assert query.shape == (slots, of.heads, of.head)
        assert added.shape == (slots, 2, of.kv_heads, of.head)
        rows = _rows(query), _rows(added)
        out, scores = torch.empty(slots, of.heads * of.head), torch.empty(slots * of.kv_heads, cache.shape[3])
        found = attention_call(of, *rows, cache, window, self._places, scores, out)
        (run_in_team if found.in_team else run_here)(found.function, found.call)
        return out


def _rows(x: Tensor) -> Tensor:
    """Rows whose numbers lie side by side: the same memory where they do so already."""
    rows = x.flatten(1)
    return rows if rows.stride(1) == 1 else rows.contiguous()
