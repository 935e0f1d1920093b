"""The compiled functions of attention over the cache: a task for each new token and key head.

A task reads the keys of its own sequence alone, as many as there are up to its token: its bits depend on nothing beside it nor on the number of
threads, and the padding of shorter sequences costs nothing.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from mynah.decoding.compiled.primitives import call_type, compiled, exp32, load32, load64, store32, take_number, take_ticket

# What a call is given, all int64: addresses, sizes, bytes between two rows.
ATTEND = call_type((
    "rows", "heads", "kv_heads", "head", "keys", "cache_slots", "window", "query", "query_stride", "added", "added_stride", "cache",
    "slots", "places", "scores", "workers", "out",
))  # fmt: skip
PUT = call_type((
    "copies", "kv_heads", "head", "keys", "cache_slots", "added", "added_stride", "rows", "slots", "places", "cache",
))  # fmt: skip
AT_ONCE = 4  # keys whose values are added up together
ADDS = {"reassoc", "contract", "nsz"}  # LLVM adds up the products of one score in the order that is fastest, always the same


@njit(error_model="numpy", fastmath=ADDS)
def _score(query: Any, key: Any, length: Any) -> Any:
    total = np.float32(0)
    for n in range(length):
        total += load32(query, n) * load32(key, n)
    return total


@njit(error_model="numpy")
def _weigh(scores: Any, count: Any) -> None:
    """Softmax in place."""
    largest, total = load32(scores, 0), np.float32(0)
    for n in range(count):
        score = load32(scores, n)
        largest = score if score > largest else largest
    for n in range(count):
        store32(scores, n, exp32(load32(scores, n) - largest))
    for n in range(count):
        total += load32(scores, n)
    share = np.float32(1) / total
    for n in range(count):
        store32(scores, n, load32(scores, n) * share)


@njit(error_model="numpy")
def _mix(weights: Any, values: Any, count: Any, out: Any, length: Any) -> None:
    """The weighted sum of values: [count], [count, length] -> [length]."""
    for m in range(length):
        store32(out, m, np.float32(0))
    n = 0
    while n + AT_ONCE <= count:
        a, b, c, d = load32(weights, n), load32(weights, n + 1), load32(weights, n + 2), load32(weights, n + 3)
        one, two, three, four = (
            values + 4 * length * n,
            values + 4 * length * (n + 1),
            values + 4 * length * (n + 2),
            values + 4 * length * (n + 3),
        )
        for m in range(length):
            sum_of_four = (a * load32(one, m) + b * load32(two, m)) + (c * load32(three, m) + d * load32(four, m))
            store32(out, m, load32(out, m) + sum_of_four)
        n += AT_ONCE
    while n < count:
        a, one = load32(weights, n), values + 4 * length * n
        for m in range(length):
            store32(out, m, load32(out, m) + a * load32(one, m))
        n += 1


@njit(error_model="numpy")
def _write(new: Any, kv_heads: Any, keys: Any, values: Any, place: Any, head: Any) -> None:
    """Put a token's key of one head, from the address `new`, and its value, `kv_heads` heads further, in their places; all addresses."""
    row = 4 * head
    for n in range(head):
        store32(keys + place * row, n, load32(new, n))
        store32(values + place * row, n, load32(new + kv_heads * row, n))


@njit(error_model="numpy")
def _attend(call: Any, task: Any, scores: Any) -> None:
    """Put a token's key and value of one key head into the cache, unless they are there, and attend with the query heads that share it."""
    token, kv_head, row = task // call.kv_heads, task % call.kv_heads, 4 * call.head
    place = load64(call.places, token)
    keys = call.cache + (load64(call.slots, token) * call.kv_heads + kv_head) * call.keys * row
    values = keys + call.cache_slots * call.kv_heads * call.keys * row
    if call.added:
        _write(call.added + token * call.added_stride + kv_head * row, call.kv_heads, keys, values, place, call.head)
    first = max(0, place - call.window + 1) if call.window else 0
    count = place + 1 - first
    group = call.heads // call.kv_heads
    for head in range(kv_head * group, (kv_head + 1) * group):
        query = call.query + token * call.query_stride + head * row
        for n in range(count):
            store32(scores, n, _score(query, keys + (first + n) * row, call.head))
        _weigh(scores, count)
        _mix(scores, values + first * row, count, call.out + (token * call.heads + head) * row, call.head)


@compiled
def attend(data: Any) -> None:
    """Take tasks until none is left. There is room for the scores of so many `workers`; further threads do nothing."""
    call = carray(data, 1, dtype=ATTEND)[0]
    worker = take_number(data)
    while worker < call.workers:
        task = take_ticket(data)
        if task >= call.rows * call.kv_heads:
            return
        _attend(call, task, call.scores + 4 * worker * call.keys)


@njit(error_model="numpy")
def _put(call: Any, task: Any) -> None:
    copy, kv_head, row = task // call.kv_heads, task % call.kv_heads, 4 * call.head
    keys = call.cache + (load64(call.slots, copy) * call.kv_heads + kv_head) * call.keys * row
    values = keys + call.cache_slots * call.kv_heads * call.keys * row
    new = call.added + load64(call.rows, copy) * call.added_stride + kv_head * row
    _write(new, call.kv_heads, keys, values, load64(call.places, copy), call.head)


@compiled
def put(data: Any) -> None:
    """Put the keys and values of rows into the cache, until none is left."""
    call = carray(data, 1, dtype=PUT)[0]
    while True:
        task = take_ticket(data)
        if task >= call.copies * call.kv_heads:
            return
        _put(call, task)
