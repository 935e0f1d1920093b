"""The compiled functions of attention over the cache for one new token of each sequence: a task for each sequence and key head.

A task reads its own sequence's keys alone, as many as it has: its bits depend on nothing beside it, and the padding of shorter sequences
costs nothing.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from mynah.decoding.compiled.primitives import call_type, compiled, exp32, pointer, take_ticket

# What a call is given, all int64: addresses, sizes, bytes between two rows.
CALL = call_type((
    "slots", "heads", "kv_heads", "head", "keys", "cache_slots", "window", "query", "query_stride", "added", "added_stride", "cache",
    "places", "out",
))  # fmt: skip
AT_ONCE = 4  # keys whose values are added up together
ADDS = {"reassoc", "contract", "nsz"}  # LLVM adds up the products of one score in the order that is fastest, always the same


@njit(error_model="numpy", fastmath=ADDS)  # type: ignore[untyped-decorator]
def _score(query: Any, key: Any) -> Any:  # noqa: ANN401
    total = np.float32(0)
    for n in range(len(query)):
        total += query[n] * key[n]
    return total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _weigh(scores: Any, count: Any) -> None:  # noqa: ANN401
    """Softmax of the first `count` in place."""
    largest, total = scores[0], np.float32(0)
    for n in range(count):
        largest = scores[n] if scores[n] > largest else largest
    for n in range(count):
        scores[n] = exp32(scores[n] - largest)
    for n in range(count):
        total += scores[n]
    share = np.float32(1) / total
    for n in range(count):
        scores[n] *= share


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _mix(weights: Any, count: Any, values: Any, first: Any, out: Any) -> None:  # noqa: ANN401
    """The weighted sum of `count` values from the first on: [keys], [keys, head] -> [head]."""
    whole = count - count % AT_ONCE
    for m in range(len(out)):
        out[m] = np.float32(0)
    for n in range(0, whole, AT_ONCE):
        a, b, c, d = weights[n], weights[n + 1], weights[n + 2], weights[n + 3]
        for m in range(len(out)):
            out[m] += (a * values[first + n, m] + b * values[first + n + 1, m]) + (c * values[first + n + 2, m] + d * values[first + n + 3, m])
    for n in range(whole, count):
        for m in range(len(out)):
            out[m] += weights[n] * values[first + n, m]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _attend(call: Any, task: Any, scores: Any) -> None:  # noqa: ANN401
    """Put a sequence's new key and value of one key head into the cache, and attend with the query heads that share it."""
    slot, kv_head = task // call.kv_heads, task % call.kv_heads
    place = carray(pointer(call.places), call.slots, dtype=np.int64)[slot]
    side = call.cache_slots * call.kv_heads * call.keys * call.head * 4
    own = call.cache + (slot * call.kv_heads + kv_head) * call.keys * call.head * 4
    keys = carray(pointer(own), (call.keys, call.head), dtype=np.float32)
    values = carray(pointer(own + side), (call.keys, call.head), dtype=np.float32)
    new = call.added + slot * call.added_stride + kv_head * call.head * 4
    new_key = carray(pointer(new), call.head, dtype=np.float32)
    new_value = carray(pointer(new + call.kv_heads * call.head * 4), call.head, dtype=np.float32)
    for n in range(call.head):  # numba takes seconds to compile the assignment of a slice
        keys[place, n], values[place, n] = new_key[n], new_value[n]
    first = max(0, place - call.window + 1) if call.window else 0
    count = place + 1 - first
    group = call.heads // call.kv_heads
    for head in range(kv_head * group, (kv_head + 1) * group):
        query = carray(pointer(call.query + slot * call.query_stride + head * call.head * 4), call.head, dtype=np.float32)
        for n in range(count):
            scores[n] = _score(query, keys[first + n])
        _weigh(scores, count)
        out = carray(pointer(call.out + (slot * call.heads + head) * call.head * 4), call.head, dtype=np.float32)
        _mix(scores, count, values, first, out)


@compiled
def attend(data: Any) -> None:  # noqa: ANN401
    """Take tasks until none is left."""
    call = carray(data, 1, dtype=CALL)[0]
    scores = np.empty(call.keys, np.float32)
    while True:
        task = take_ticket(data)
        if task >= call.slots * call.kv_heads:
            return
        _attend(call, task, scores)
