"""The compiled functions of what a block computes between its matrices: norms, rotary positions and activations. A task is a row.

Each row's result comes from that row alone, in an order that its length gives: it is the same to the bit whatever the other rows are.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from mynah.decoding.compiled.primitives import (
    ONE,
    call_type,
    compiled,
    exp32,
    float_of,
    gelu32,
    load32,
    load64,
    store32,
    take_ticket,
)

# What calls are given, all int64: addresses of contiguous fp32 rows, sizes, and the bits of epsilon, fp32; an address of 0: there is none.
NORMALISE = call_type(("rows", "width", "hidden", "added", "added_norm", "weight", "bias", "epsilon", "out"))
TURN = call_type(("rows", "heads", "head", "x", "x_stride", "norm", "epsilon", "cos", "sin", "places"))
ACTIVATE = call_type(("rows", "inner", "x", "kind", "out"))
GELU, GATED_GELU, GATED_SILU = range(3)  # kinds of activations
ZERO = np.float32(0)
ADDS = {"reassoc", "contract", "nsz"}  # LLVM adds up a sum in the order that is fastest, always the same for its length


@njit(error_model="numpy", fastmath=ADDS)
def _sum(x: Any, count: Any) -> Any:
    total = ZERO
    for n in range(count):
        total += load32(x, n)
    return total


@njit(error_model="numpy", fastmath=ADDS)
def _squares(x: Any, count: Any, mean: Any) -> Any:
    """The sum of the squares of what numbers differ from `mean`."""
    total = ZERO
    for n in range(count):
        number = load32(x, n) - mean
        total += number * number
    return total


@njit(error_model="numpy")
def _inverse_root(squares: Any, count: Any, epsilon: Any) -> Any:
    return ONE / np.sqrt(squares / np.float32(count) + float_of(np.int32(epsilon)))


@njit(error_model="numpy")
def _scale(x: Any, count: Any, share: Any, weight: Any) -> None:
    """Multiply numbers by one, and by each one's weight, in place."""
    for n in range(count):
        store32(x, n, load32(x, n) * share * load32(weight, n))


@njit(error_model="numpy")
def _normalise_row(call: Any, row: Any) -> None:
    """Add to a hidden state, after a norm of what is added where it has one, and write it after a layer norm or, without weights, an RMS norm."""
    width, offset = call.width, 4 * row * call.width
    x, out = call.hidden + offset, call.out + offset
    if call.added:
        added = call.added + offset
        if call.added_norm:
            _scale(added, width, _inverse_root(_squares(added, width, ZERO), width, call.epsilon), call.added_norm)
        for n in range(width):
            store32(x, n, load32(x, n) + load32(added, n))
    mean = _sum(x, width) / np.float32(width) if call.weight else ZERO
    share = _inverse_root(_squares(x, width, mean), width, call.epsilon)
    if call.weight:
        weight, bias = call.weight, call.bias
        for n in range(width):
            store32(out, n, (load32(x, n) - mean) * share * load32(weight, n) + load32(bias, n))
    else:
        for n in range(width):
            store32(out, n, load32(x, n) * share)


@njit(error_model="numpy")
def _turn_head(x: Any, head: Any, cos: Any, sin: Any) -> None:
    """Turn a query or key by its position, in place; `cos` and `sin`: addresses, as of `shared_body.rotary_tables`."""
    half = head // 2
    for n in range(half):
        first, second = load32(x, n), load32(x, n + half)
        store32(x, n, first * load32(cos, n) + second * load32(sin, n))
        store32(x, n + half, second * load32(cos, n + half) + first * load32(sin, n + half))


@njit(error_model="numpy")
def _turn_row(call: Any, row: Any) -> None:
    head, place = call.head, 4 * call.head * load64(call.places, row)
    for number in range(call.heads):
        x = call.x + row * call.x_stride + 4 * head * number
        if call.norm:
            _scale(x, head, _inverse_root(_squares(x, head, ZERO), head, call.epsilon), call.norm + 4 * head * number)
        _turn_head(x, head, call.cos + place, call.sin + place)


@njit(error_model="numpy")
def _activate_row(call: Any, row: Any) -> None:
    """[inner] or, gated, gate and up side by side, [2 * inner] -> [inner]."""
    inner, kind, out = call.inner, call.kind, call.out + 4 * row * call.inner
    if kind == GELU:
        x = call.x + 4 * row * inner
        for n in range(inner):
            store32(out, n, gelu32(load32(x, n)))
        return
    gate = call.x + 8 * row * inner
    up = gate + 4 * inner
    if kind == GATED_GELU:
        for n in range(inner):
            store32(out, n, gelu32(load32(gate, n)) * load32(up, n))
        return
    for n in range(inner):
        x = load32(gate, n)
        store32(out, n, x / (ONE + exp32(-x)) * load32(up, n))


@compiled
def normalise(data: Any) -> None:
    """Add what a product gave to hidden states, and write them after a norm, until no row is left."""
    call = carray(data, 1, dtype=NORMALISE)[0]
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _normalise_row(call, row)


@compiled
def turn(data: Any) -> None:
    """Normalise queries and keys where they have norms, and turn them by their positions, in place, until no row is left."""
    call = carray(data, 1, dtype=TURN)[0]
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _turn_row(call, row)


@compiled
def activate(data: Any) -> None:
    """An MLP's activation, until no row is left."""
    call = carray(data, 1, dtype=ACTIVATE)[0]
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _activate_row(call, row)
