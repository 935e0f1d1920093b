"""Attention over the cache by compiled functions, instead of `attention` on a CPU: of one new token of each sequence, and of prompts."""

import struct

import torch
from torch import Tensor

from mynah.decoding.team import run_here, run_in_team
from mynah.models.architecture import Architecture

CALL = struct.Struct("16q")  # compiled.attention_step.CALL
SHARED = 1 << 17  # numbers of keys from which on the team is faster than one thread
SCORES = 1 << 20  # numbers that the scores of rows which are computed at once may take


class CompiledAttention:
    """Attends with tokens over the cache of their sequences, each up to itself."""

    def __init__(self, of: Architecture, slots: Tensor, places: Tensor) -> None:
        """Attend with the tokens at `places` of the sequences in `slots`, int64 [rows] both."""
        from mynah.decoding.compiled import attention_step as compiled

        self._of, self._slots, self._places, self._work = of, slots.contiguous(), places.contiguous(), compiled.attend.address

    def __call__(self, query: Tensor, cache: Tensor, window: int, added: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            query: fp32 [rows, heads, head], scaled.
            cache: Keys and values, fp32 [2, slots, kv_heads, keys, head], contiguous.
            window: Tokens attended to; 0: all.
            added: Keys and values of the rows to write into the cache first, fp32 [rows, 2, kv_heads, head], where no row attends to another.
                None: they are there.

        Returns:
            fp32 [rows, heads * head].
        """
        of, rows = self._of, len(query)
        assert query.dtype == cache.dtype == torch.float32
        assert len(self._slots) == len(self._places) == rows
        query = query if query.stride()[1:] == (of.head, 1) else query.contiguous()
        if added is not None:
            assert added.dtype == torch.float32
            assert added.shape == (rows, 2, of.kv_heads, of.head)
            added = added if added.stride()[1:] == (of.kv_heads * of.head, of.head, 1) else added.contiguous()
        out = torch.empty(rows, of.heads * of.head)
        at_once = max(1, SCORES // (of.kv_heads * cache.shape[3]))
        scores = torch.empty(min(rows, at_once) * of.kv_heads, cache.shape[3])
        for first in range(0, rows, at_once):
            self._attend(first, min(at_once, rows - first), query, cache, window, added, scores, out)
        return out

    def _attend(
        self, first: int, rows: int, query: Tensor, cache: Tensor, window: int, added: Tensor | None, scores: Tensor, out: Tensor
    ) -> None:
        """Attend with some of the rows: `rows` from `first` on."""
        of, keys = self._of, cache.shape[3]
        call = CALL.pack(
            rows, of.heads, of.kv_heads, of.head, keys, cache.shape[1], window, query[first].data_ptr(), 4 * query.stride(0),
            0 if added is None else added[first].data_ptr(), 0 if added is None else 4 * added.stride(0), cache.data_ptr(),
            self._slots[first].data_ptr(), self._places[first].data_ptr(), scores.data_ptr(), out[first].data_ptr(),
        )  # fmt: skip
        (run_in_team if rows * of.heads * of.head * keys >= SHARED else run_here)(self._work, call)
