"""Attention over the cache by compiled functions, instead of `attention` on a CPU: of one new token of each sequence, and of prompts."""

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from mynah.decoding.compiled_program import Operation
from mynah.decoding.kernels import THREADS
from mynah.models.architecture import Architecture

ATTEND, PUT = struct.Struct("17q"), struct.Struct("11q")  # compiled.attention_step's
SHARED = 1 << 17  # numbers of keys from which on the team is faster than one thread


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The tokens that attend: where in the cache each belongs.

    Attributes:
        slots: Of each token's sequence, int64 [rows].
        places: Of each token in its sequence, int64 [rows].
        copies: int64 [3, copies]: rows whose keys and values are put into the cache before any row attends, and the slots and places that they
            are put to. None where each row puts its own, and no row attends to another: a token of each sequence.
    """

    slots: Tensor
    places: Tensor
    copies: Tensor | None = None


def attention_calls(
    of: Architecture, query: Tensor, added: Tensor, cache: Tensor, window: int, rows: Rows, scores: Tensor, out: Tensor
) -> list[Operation]:
    """Return the operations that write new keys and values, and attend with each row up to itself: "put" where rows have copies, and "attend".

    Args:
        of: The heads.
        query: fp32 [rows, heads * head], scaled; the numbers of a row side by side.
        added: The new keys and values, fp32 [rows, 2 * kv_heads * head], as `query`.
        cache: Keys and values, fp32 [2, slots, kv_heads, keys, head], contiguous; `added` is written into it.
        window: Tokens attended to; 0: all.
        rows: The tokens.
        scores: Room, fp32 [workers, keys]; no more threads than that attend.
        out: fp32 [rows, heads * head], which is written.
    """
    from mynah.decoding.compiled import attention_step as compiled

    count, keys = len(query), cache.shape[3]
    assert query.dtype == added.dtype == cache.dtype == torch.float32
    assert (query.shape[1], added.shape[1]) == (of.heads * of.head, 2 * of.kv_heads * of.head)
    assert query.stride(1) == added.stride(1) == 1
    assert len(rows.slots) == len(rows.places) == count
    own = (added.data_ptr(), 4 * added.stride(0)) if rows.copies is None else (0, 0)
    call = ATTEND.pack(
        count, of.heads, of.kv_heads, of.head, keys, cache.shape[1], window, query.data_ptr(), 4 * query.stride(0), *own,
        cache.data_ptr(), rows.slots.data_ptr(), rows.places.data_ptr(), scores.data_ptr(), len(scores), out.data_ptr(),
    )  # fmt: skip
    attends = Operation(compiled.attend.address, call, is_shared(of, count, keys))
    return [attends] if rows.copies is None else [_put(of, added, cache, rows.copies), attends]


def is_shared(of: Architecture, rows: int, keys: int) -> bool:
    """Return whether the team attends with so many rows over so many keys, or one thread, which is faster for few."""
    return rows * of.heads * of.head * keys >= SHARED


def is_shared_put(of: Architecture, copies: int) -> bool:
    """Return whether the team puts so many keys and values into the cache."""
    return copies * of.kv_heads * of.head >= SHARED


def _put(of: Architecture, added: Tensor, cache: Tensor, copies: Tensor) -> Operation:
    """Return the operation that writes keys and values of rows into the cache."""
    from mynah.decoding.compiled import attention_step as compiled

    call = PUT.pack(
        copies.shape[1], of.kv_heads, of.head, cache.shape[3], cache.shape[1], added.data_ptr(), 4 * added.stride(0),
        *(each.data_ptr() for each in copies), cache.data_ptr(),
    )  # fmt: skip
    return Operation(compiled.put.address, call, is_shared_put(of, copies.shape[1]))


def room_for_scores(cache: Tensor) -> Tensor:
    """Return what the threads of this process keep scores in: fp32 [workers, keys]."""
    return torch.empty(max(THREADS, torch.get_num_threads()), cache.shape[3])


def attend(of: Architecture, query: Tensor, added: Tensor, cache: Tensor, window: int, rows: Rows) -> Tensor:
    """Write new keys and values, and attend, at once.

    Args:
        of: The heads.
        query: fp32 [rows, heads, head], scaled.
        added: The new keys and values, fp32 [rows, 2, kv_heads, head].
        cache: As of `attention_calls`.
        window: Tokens attended to; 0: all.
        rows: The tokens.

    Returns:
        fp32 [rows, heads * head].
    """
    out, scores = torch.empty(len(query), of.heads * of.head), room_for_scores(cache)
    queries, new = _flat(query), _flat(added)
    for operation in attention_calls(of, queries, new, cache, window, rows, scores, out):
        operation.run()
    return out


def _flat(x: Tensor) -> Tensor:
    """Rows whose numbers lie side by side: the same memory where they do so already."""
    rows = x.flatten(1)
    return rows if rows.stride(1) == 1 else rows.contiguous()
