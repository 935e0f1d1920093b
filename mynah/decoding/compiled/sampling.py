"""The compiled functions of sampling: the weights of a row's tokens, and a token by its weight. Each row's from that row alone."""

from typing import Any

import numpy as np
from numba import carray, njit

from mynah.decoding.compiled.primitives import LEAST, call_type, compiled, exp32, load32, store32, store64, take_ticket

# What a call is given, all int64: addresses (fp32, but for the tokens, int64) and sizes.
CALL = call_type((
    "rows", "blocks", "logits", "weights", "totals", "numbers", "limits", "tokens", "likelier", "sums",
))  # fmt: skip
BLOCK = 256  # tokens whose weights are added up first
ZERO = np.float32(0)
ADDS = {"reassoc", "nsz"}  # LLVM adds up a block in the order that is fastest, always the same


@njit(error_model="numpy", fastmath=ADDS)
def _sum(numbers: Any) -> Any:
    """Of a block."""
    total = ZERO
    for n in range(BLOCK):
        total += load32(numbers, n)
    return total


@njit(error_model="numpy", fastmath=ADDS)
def _sum_above(numbers: Any, least: Any) -> Any:
    """Of a block's numbers that are larger."""
    total = ZERO
    for n in range(BLOCK):
        number = load32(numbers, n)
        total += number if number > least else ZERO
    return total


@njit(error_model="numpy", fastmath={"nnan", "nsz"})
def _largest(numbers: Any, count: Any) -> Any:
    largest = load32(numbers, 0)
    for n in range(count):
        number = load32(numbers, n)
        largest = number if number > largest else largest
    return largest


@njit(error_model="numpy")
def _weigh_row(call: Any, row: Any) -> None:
    """e to the power of each logit less the largest; nothing for less than e to the power of -87 of it."""
    length = call.blocks * BLOCK
    logits, weights = call.logits + 4 * row * length, call.weights + 4 * row * length
    largest, total = _largest(logits, length), ZERO
    for block in range(call.blocks):
        offset = 4 * BLOCK * block
        for n in range(BLOCK):
            x = load32(logits + offset, n) - largest
            store32(weights + offset, n, ZERO if x < LEAST else exp32(x))
        total += _sum(weights + offset)
    store32(call.totals, row, total)


@njit(error_model="numpy")
def _place(numbers: Any, count: Any, target: Any) -> Any:
    """Where the cumulated sum passes the target: the place, and the sum before it. The last number above 0, where rounding hides it."""
    total, before, last = ZERO, ZERO, 0
    for n in range(count):
        number = load32(numbers, n)
        if number > ZERO:
            before, last = total, n
        total += number
        if total > target:
            break
    return last, before


@njit(error_model="numpy")
def _draw_row(call: Any, row: Any) -> None:
    weights, sums = call.weights + 4 * row * call.blocks * BLOCK, call.sums + 4 * row * call.blocks
    total = ZERO
    for n in range(call.blocks):
        own = _sum(weights + 4 * BLOCK * n)
        store32(sums, n, own)
        total += own
    block, before = _place(sums, call.blocks, total * load32(call.numbers, row))
    inner, _ = _place(weights + 4 * BLOCK * block, BLOCK, total * load32(call.numbers, row) - before)
    token = block * BLOCK + inner
    store64(call.tokens, row, token)
    likelier, least = ZERO, load32(weights, token)
    if load32(call.limits, row) < np.float32(1):
        for n in range(call.blocks):
            likelier += _sum_above(weights + 4 * BLOCK * n, least)
    store32(call.likelier, row, likelier)


@compiled
def weigh(data: Any) -> None:
    """The weights of rows, one after the other, until none is left."""
    call = carray(data, 1, dtype=CALL)[0]
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _weigh_row(call, row)


@compiled
def draw(data: Any) -> None:
    """A token for each row, and what the tokens likelier than it weigh, until no row is left."""
    call = carray(data, 1, dtype=CALL)[0]
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _draw_row(call, row)
