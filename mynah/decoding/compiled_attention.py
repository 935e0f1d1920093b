"""Attention of one new token of each sequence over the cache, by compiled functions: instead of `attention.StepAttention`, on a CPU."""

import struct

import torch
from torch import Tensor

from mynah.decoding.team import run_here, run_in_team
from mynah.models.architecture import Architecture

CALL = struct.Struct("15q")  # compiled.attention_step.CALL
SHARED = 1 << 17  # numbers of keys from which on the team is faster than one thread


class CompiledStepAttention:
    """Writes the new keys and values of a step, and attends."""

    def __init__(self, of: Architecture, places: Tensor) -> None:
        """`places`: the new tokens' positions, int64 [slots]."""
        from mynah.decoding.compiled import attention_step as compiled

        self._of, self._places, self._work = of, places, compiled.attend.address

    def __call__(self, query: Tensor, added: Tensor, cache: Tensor, window: int) -> Tensor:
        """Attend.

        Args:
            query: fp32 [slots, heads, head], scaled.
            added: The new keys and values, fp32 [slots, 2, kv_heads, head].
            cache: Keys and values, fp32 [2, slots or more, kv_heads, keys, head], contiguous; `added` is written into it.
            window: Tokens attended to; 0: all.

        Returns:
            fp32 [slots, heads * head].
        """
        of, slots, keys = self._of, len(query), cache.shape[3]
        assert query.dtype == added.dtype == cache.dtype == torch.float32
        assert added.shape == (slots, 2, of.kv_heads, of.head)
        assert len(self._places) == slots <= cache.shape[1]
        if query.stride()[1:] != (of.head, 1):
            query = query.contiguous()
        if added.stride()[1:] != (of.kv_heads * of.head, of.head, 1):
            added = added.contiguous()
        out, scores = torch.empty(slots, of.heads * of.head), torch.empty(slots * of.kv_heads, keys)
        call = CALL.pack(
            slots, of.heads, of.kv_heads, of.head, keys, cache.shape[1], window, query.data_ptr(), 4 * query.stride(0),
            added.data_ptr(), 4 * added.stride(0), cache.data_ptr(), self._places.data_ptr(), scores.data_ptr(), out.data_ptr(),
        )  # fmt: skip
        (run_in_team if slots * of.heads * of.head * keys >= SHARED else run_here)(self._work, call)
        return out
