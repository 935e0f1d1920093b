"""The compiled functions of attention over the cache for one new token of each sequence: a task for each sequence and key head.

A task reads its own sequence's keys alone, as many as it has: its bits depend on nothing beside it, and the padding of shorter sequences
costs nothing.
"""

from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from mynah.decoding.compiled.primitives import address_of, exp32, pointer, run_team, take_ticket

# What a call is given, all int64: addresses, sizes, bytes between two rows.
CALL = np.dtype([(name, np.int64) for name in (
    "slots", "heads", "kv_heads", "head", "keys", "cache_slots", "window", "query", "query_stride", "added", "added_stride", "cache",
    "places", "out", "ticket", "is_shared", "gomp_parallel", "work",
)])  # fmt: skip
AT_ONCE = 4  # keys whose values are added up together
KIND = types.void(types.voidptr)
ADDS = {"reassoc", "contract", "nsz"}  # LLVM adds up the products of one score in the order that is fastest, always the same


@njit(error_model="numpy", fastmath=ADDS)  # type: ignore[untyped-decorator]
def _score(query: Any, key: Any) -> Any:  # noqa: ANN401
    total = np.float32(0)
    for n in range(len(query)):
        total += query[n] * key[n]
    return total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _weigh(scores: Any) -> None:  # noqa: ANN401
    """Softmax in place."""
    largest = scores[0]
    for score in scores:
        largest = max(largest, score)
    for n in range(len(scores)):
        scores[n] = exp32(scores[n] - largest)
    total = np.float32(0)
    for weight in scores:
        total += weight
    share = np.float32(1) / total
    for n in range(len(scores)):
        scores[n] *= share


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _mix(weights: Any, values: Any, out: Any) -> None:  # noqa: ANN401
    """The values' weighted sum: [keys], [keys, head] -> [head]."""
    count = len(weights)
    whole = count - count % AT_ONCE
    out[:] = np.float32(0)
    for n in range(0, whole, AT_ONCE):
        a, b, c, d = weights[n], weights[n + 1], weights[n + 2], weights[n + 3]
        for m in range(len(out)):
            out[m] += (a * values[n, m] + b * values[n + 1, m]) + (c * values[n + 2, m] + d * values[n + 3, m])
    for n in range(whole, count):
        for m in range(len(out)):
            out[m] += weights[n] * values[n, m]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _attend(call: Any, task: Any, scores: Any, mixed: Any) -> None:  # noqa: ANN401
    """Put a sequence's new key and value of one key head into the cache, and attend with the query heads that share it."""
    slot, kv_head = task // call.kv_heads, task % call.kv_heads
    place = carray(pointer(call.places), call.slots, dtype=np.int64)[slot]
    side = call.cache_slots * call.kv_heads * call.keys * call.head * 4
    own = call.cache + (slot * call.kv_heads + kv_head) * call.keys * call.head * 4
    keys = carray(pointer(own), (call.keys, call.head), dtype=np.float32)
    values = carray(pointer(own + side), (call.keys, call.head), dtype=np.float32)
    new = call.added + slot * call.added_stride + kv_head * call.head * 4
    keys[place] = carray(pointer(new), call.head, dtype=np.float32)
    values[place] = carray(pointer(new + call.kv_heads * call.head * 4), call.head, dtype=np.float32)
    first = max(0, place - call.window + 1) if call.window else 0
    count = place + 1 - first
    group = call.heads // call.kv_heads
    for head in range(kv_head * group, (kv_head + 1) * group):
        query = carray(pointer(call.query + slot * call.query_stride + head * call.head * 4), call.head, dtype=np.float32)
        for n in range(count):
            scores[n] = _score(query, keys[first + n])
        _weigh(scores[:count])
        _mix(scores[:count], values[first : place + 1], mixed)
        out = carray(pointer(call.out + (slot * call.heads + head) * call.head * 4), call.head, dtype=np.float32)
        out[:] = mixed


@cfunc(KIND, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def work(data: Any) -> None:  # noqa: ANN401
    """Take tasks until none is left."""
    call = carray(data, 1, dtype=CALL)[0]
    scores, mixed = np.empty(call.keys, np.float32), np.empty(call.head, np.float32)
    while True:
        task = take_ticket(call.ticket)
        if task >= call.slots * call.kv_heads:
            return
        _attend(call, task, scores, mixed)


@cfunc(KIND, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def attend(data: Any) -> None:  # noqa: ANN401
    """Attend in the calling thread, or with OpenMP's team where `is_shared`; `data`: the address of a CALL."""
    call = carray(data, 1, dtype=CALL)[0]
    carray(pointer(call.ticket), 1, dtype=np.int64)[0] = 0
    if call.is_shared:
        run_team(call.gomp_parallel, call.work, address_of(data))
    else:
        scores, mixed = np.empty(call.keys, np.float32), np.empty(call.head, np.float32)
        for task in range(call.slots * call.kv_heads):
            _attend(call, task, scores, mixed)
