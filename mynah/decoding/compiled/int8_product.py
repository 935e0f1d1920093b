"""The compiled functions of a layer with int8 weights: its rows become digits, and threads take panels of outputs until none is left."""

from typing import Any

import numpy as np
from numba import carray, njit

from mynah.decoding.compiled.int8_tile import MAX_ROWS, PANEL, make_tile
from mynah.decoding.compiled.primitives import (
    ONE,
    bits_of,
    call_type,
    compiled,
    float_of,
    gelu32,
    load32,
    store16,
    store32,
    take_ticket,
)

# What a call is given, all int64: addresses, sizes. Digits of a row: [blocks, 2 * pairs], int16, zeros after the last input.
CALL = call_type((
    "rows", "inputs", "x", "x_stride", "y", "panels", "weights", "scales", "biases", "gelu", "blocks", "pairs",
    "panels_at_once", "rows_at_once", "digits", "row_scales",
))  # fmt: skip
SHARE = np.float32(
    1 / 8127
)  # of a row's largest number: a digit of 1. The largest is 8,127, of which 2,048 products with a weight's 127 are less than 2 ** 31
LARGEST_BLOCK = 2048  # inputs
TINY = np.float32(1e-30)  # a row of zeros stays one

_one, _two, _four, _six = (make_tile(rows) for rows in (1, 2, 4, MAX_ROWS))


@njit(error_model="numpy")
def _tile(
    left: Any, w: Any, x: Any, stride: Any, blocks: Any, pairs: Any, y: Any, y_stride: Any, ws: Any, xs: Any, b: Any
) -> Any:
    """Compute some of the rows that are left; how many."""
    if left >= MAX_ROWS:
        _six(w, x, stride, blocks, pairs, y, y_stride, ws, xs, b)
        return MAX_ROWS
    if left >= 4:
        _four(w, x, stride, blocks, pairs, y, y_stride, ws, xs, b)
        return 4
    if left >= 2:
        _two(w, x, stride, blocks, pairs, y, y_stride, ws, xs, b)
        return 2
    _one(w, x, stride, blocks, pairs, y, y_stride, ws, xs, b)
    return 1


@njit(error_model="numpy")
def _quantise_row(call: Any, row: Any) -> None:
    """Digits of a row: its numbers over their largest's share of LARGEST."""
    x, length = call.x + row * call.x_stride, 2 * call.blocks * call.pairs
    digits = call.digits + 2 * row * length
    largest = np.int32(0)  # the bits of numbers without a sign are in the order of the numbers
    for k in range(call.inputs):
        bits = bits_of(load32(x, k)) & np.int32(0x7FFFFFFF)
        largest = bits if bits > largest else largest
    scale = TINY + SHARE * float_of(largest)
    inverse = ONE / scale
    for k in range(call.inputs):
        store16(digits, k, np.int16(np.int32(np.rint(load32(x, k) * inverse))))
    for k in range(call.inputs, length):
        store16(digits, k, np.int16(0))
    store32(call.row_scales, row, scale)


@njit(error_model="numpy")
def _gelu(y: Any, call: Any, row: Any, rows: Any, panel: Any) -> None:
    """GPT-2's GELU of a tile's results, in place."""
    for place in range(row, row + rows):
        out = y + 4 * PANEL * (place * call.panels + panel)
        for n in range(PANEL):
            store32(out, n, gelu32(load32(out, n)))


@compiled
def quantise(data: Any) -> None:
    """Make digits of rows, one after the other, until none is left."""
    call = carray(data, 1, dtype=CALL)[0]
    while True:
        row = take_ticket(data)
        if row >= call.rows:
            return
        _quantise_row(call, row)


@compiled
def multiply(data: Any) -> None:
    """Multiply panels of outputs with all rows until none is left. A panel's weights stay in the cache from row to row."""
    call = carray(data, 1, dtype=CALL)[0]
    length = 2 * call.blocks * call.pairs
    stride = 4 * PANEL * call.panels
    while True:
        first = take_ticket(data) * call.panels_at_once
        if first >= call.panels:
            return
        for start in range(0, call.rows, call.rows_at_once):
            end = min(start + call.rows_at_once, call.rows)
            for panel in range(first, min(first + call.panels_at_once, call.panels)):
                row = start
                while row < end:
                    rows = _tile(
                        end - row, call.weights + panel * PANEL * length, call.digits + 2 * row * length, 2 * length, call.blocks, call.pairs,
                        call.y + row * stride + 4 * PANEL * panel, stride, call.scales + 4 * PANEL * panel, call.row_scales + 4 * row,
                        call.biases + 4 * PANEL * panel,
                    )  # fmt: skip
                    if call.gelu:
                        _gelu(call.y, call, row, rows, panel)
                    row += rows
