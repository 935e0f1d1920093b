"""The compiled functions of sampling: the weights of a row's tokens, and a token by its weight. Each row's from that row alone."""

from typing import Any

import numpy as np
from numba import carray, njit

from mynah.decoding.compiled.primitives import LEAST, call_type, compiled, exp32, pointer, take_ticket

# What a call is given, all int64: addresses (fp32, but for the tokens, int64) and sizes.
CALL = call_type((
    "rows", "blocks", "logits", "weights", "totals", "numbers", "limits", "tokens", "likelier",
))  # fmt: skip
BLOCK = 256  # tokens whose weights are added up first
ZERO = np.float32(0)


@njit(error_model="numpy", fastmath={"reassoc", "nsz"})  # type: ignore[untyped-decorator]
def _sum(numbers: Any, start: Any) -> Any:  # noqa: ANN401
    total = ZERO
    for n in range(start, start + BLOCK):
        total += numbers[n]
    return total


@njit(error_model="numpy", fastmath={"reassoc", "nsz"})  # type: ignore[untyped-decorator]
def _sum_above(numbers: Any, start: Any, least: Any) -> Any:  # noqa: ANN401
    total = ZERO
    for n in range(start, start + BLOCK):
        total += numbers[n] if numbers[n] > least else ZERO
    return total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _largest(numbers: Any) -> Any:  # noqa: ANN401
    """The largest number; that of each of eight columns first, which a register holds."""
    a = b = c = d = e = f = g = h = numbers[0]
    for n in range(0, len(numbers), 8):
        a = numbers[n] if numbers[n] > a else a
        b = numbers[n + 1] if numbers[n + 1] > b else b
        c = numbers[n + 2] if numbers[n + 2] > c else c
        d = numbers[n + 3] if numbers[n + 3] > d else d
        e = numbers[n + 4] if numbers[n + 4] > e else e
        f = numbers[n + 5] if numbers[n + 5] > f else f
        g = numbers[n + 6] if numbers[n + 6] > g else g
        h = numbers[n + 7] if numbers[n + 7] > h else h
    return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _weigh_row(call: Any, row: Any) -> None:  # noqa: ANN401
    """e to the power of each logit less the largest; nothing for less than e to the power of -87 of it."""
    length = call.blocks * BLOCK
    logits = carray(pointer(call.logits + 4 * row * length), length, dtype=np.float32)
    weights = carray(pointer(call.weights + 4 * row * length), length, dtype=np.float32)
    largest, total = _largest(logits), ZERO
    for start in range(0, length, BLOCK):
        for n in range(start, start + BLOCK):
            x = logits[n] - largest
            weights[n] = ZERO if x < LEAST else exp32(x)
        total += _sum(weights, start)
    carray(pointer(call.totals), call.rows, dtype=np.float32)[row] = total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _place(numbers: Any, start: Any, count: Any, target: Any) -> Any:  # noqa: ANN401
    """Of `count` numbers from `start` on: where the cumulated sum passes the target: the place, and the sum before it. The last number above 0, where rounding hides it."""
    total, before, last = ZERO, ZERO, start
    for n in range(start, start + count):
        if numbers[n] > ZERO:
            before, last = total, n
        total += numbers[n]
        if total > target:
            return n, before
    return last, before


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _draw_row(call: Any, row: Any, sums: Any) -> None:  # noqa: ANN401
    length = call.blocks * BLOCK
    weights = carray(pointer(call.weights + 4 * row * length), length, dtype=np.float32)
    total = ZERO
    for block in range(call.blocks):
        sums[block] = _sum(weights, block * BLOCK)
        total += sums[block]
    target = total * carray(pointer(call.numbers), call.rows, dtype=np.float32)[row]
    block, before = _place(sums, 0, call.blocks, target)
    token, _ = _place(weights, block * BLOCK, BLOCK, target - before)
    carray(pointer(call.tokens), call.rows, dtype=np.int64)[row] = token
    likelier = ZERO
    if carray(pointer(call.limits), call.rows, dtype=np.float32)[row] < np.float32(1):
        for block in range(call.blocks):
            likelier += _sum_above(weights, block * BLOCK, weights[token])
    carray(pointer(call.likelier), call.rows, dtype=np.float32)[row] = likelier


@compiled
def weigh(data: Any) -> None:  # noqa: ANN401
    """The weights of rows, one after the other, until none is left."""
    call = carray(data, 1, dtype=CALL)[0]
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _weigh_row(call, row)


@compiled
def draw(data: Any) -> None:  # noqa: ANN401
    """A token for each row, and what the tokens likelier than it weigh, until no row is left."""
    call = carray(data, 1, dtype=CALL)[0]
    sums = np.empty(call.blocks, np.float32)
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _draw_row(call, row, sums)
