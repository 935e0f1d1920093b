"""The compiled functions of adapters: each row's own low-rank matrices, int8, multiplied with it and added to a product's result.

A task is a row and a part of a product. Its sums take that row and its own matrices alone, in an order that the sizes give: the result is
the same to the bit whatever the other rows are, and whichever thread computes it.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types

from mynah.decoding.compiled.primitives import (
    BYTE,
    as_pointer,
    call_type,
    compiled,
    float_of,
    load32,
    load64,
    loader,
    store32,
    storer,
    take_ticket,
)

# What a call is given, all int64: addresses, sizes. Rows: ROW numbers each; parts: PART numbers each.
CALL = call_type(("x", "y", "inputs", "outputs", "rows", "count", "parts", "part_count", "first_part"))
ROW = 5  # of a row that has an adapter: its number; the addresses of the adapter's weights, of their places, of the factors; the rank
PART = 3  # of a part of a product: its number in the block, the first output, outputs
QUANTISE = call_type(("tasks", "count", "values"))
TASK = np.dtype([
    (name, np.int64)
    for name in ("source", "rows", "columns", "row_stride", "column_stride", "column_factors", "digits", "scales", "is_bf16")
])  # fmt: skip
LEVELS, TINY = np.float32(127), np.float32(1e-30)
ADDS = {"reassoc", "contract", "nsz"}  # LLVM adds up a sum in the order that is fastest, always the same for its length
load8, store8 = loader(types.int8, BYTE), storer(types.int8, BYTE)
load_bf16 = loader(types.uint16, ir.IntType(16))


@njit(error_model="numpy", fastmath=ADDS)
def _four(x: Any, y: Any, inputs: Any, outputs: Any, a: Any, b: Any, factors: Any) -> None:
    """Add what four of the rank's rows give; all addresses: `a`, `b` of the first one's weights, `factors` of four."""
    a1, a2, a3 = a + inputs, a + 2 * inputs, a + 3 * inputs
    s0 = s1 = s2 = s3 = np.float32(0)
    for k in range(inputs):
        value = load32(x, k)
        s0 += np.float32(load8(a, k)) * value
        s1 += np.float32(load8(a1, k)) * value
        s2 += np.float32(load8(a2, k)) * value
        s3 += np.float32(load8(a3, k)) * value
    s0, s1, s2, s3 = s0 * load32(factors, 0), s1 * load32(factors, 1), s2 * load32(factors, 2), s3 * load32(factors, 3)
    b1, b2, b3 = b + outputs, b + 2 * outputs, b + 3 * outputs
    for n in range(outputs):
        first = np.float32(load8(b, n)) * s0 + np.float32(load8(b1, n)) * s1
        second = np.float32(load8(b2, n)) * s2 + np.float32(load8(b3, n)) * s3
        store32(y, n, load32(y, n) + (first + second))


@njit(error_model="numpy", fastmath=ADDS)
def _one(x: Any, y: Any, inputs: Any, outputs: Any, a: Any, b: Any, factor: Any) -> None:
    """Add what one of the rank's rows gives; as `_four`."""
    total = np.float32(0)
    for k in range(inputs):
        total += np.float32(load8(a, k)) * load32(x, k)
    total *= factor
    for n in range(outputs):
        store32(y, n, load32(y, n) + np.float32(load8(b, n)) * total)


@njit(error_model="numpy")
def _add(call: Any, row: Any, part: Any) -> None:
    """Add a part to a row; both by their addresses."""
    number, rank, inputs, outputs = call.first_part + load64(part, 0), load64(row, 4), call.inputs, load64(part, 2)
    place = load64(load64(row, 2), number)
    if place < 0:
        return
    x = call.x + 4 * load64(row, 0) * inputs
    y = call.y + 4 * (load64(row, 0) * call.outputs + load64(part, 1))
    a = load64(row, 1) + place
    b = a + rank * inputs
    factors = load64(row, 3) + 4 * number * rank
    whole = rank - rank % 4
    for n in range(0, whole, 4):
        _four(x, y, inputs, outputs, a + n * inputs, b + n * outputs, factors + 4 * n)
    for n in range(whole, rank):
        _one(x, y, inputs, outputs, a + n * inputs, b + n * outputs, load32(factors, n))


@compiled
def add(data: Any) -> None:
    """Take rows and parts until none is left; `data`: the address of a CALL."""
    call = carray(data, 1, dtype=CALL)[0]
    while True:
        task = take_ticket(data)
        if task >= call.count * call.part_count:
            return
        _add(call, call.rows + 8 * ROW * (task // call.part_count), call.parts + 8 * PART * (task % call.part_count))


@njit(error_model="numpy", fastmath=ADDS | {"nnan"})
def _widen(task: Any, row: Any, values: Any) -> None:
    """Write a row's numbers by its columns' factors, float32, to an address."""
    source, columns, step, factors = task.source, task.columns, task.column_stride, task.column_factors
    start = row * task.row_stride
    if task.is_bf16:
        for column in range(columns):
            number = float_of(np.int32(load_bf16(source, start + column * step)) << np.int32(16))
            store32(values, column, number * load32(factors, column))
    else:
        for column in range(columns):
            store32(values, column, load32(source, start + column * step) * load32(factors, column))


@njit(error_model="numpy", fastmath=ADDS | {"nnan"})
def _quantise(task: Any, values: Any) -> None:
    columns, digits, scales = task.columns, task.digits, task.scales
    for row in range(task.rows):
        _widen(task, row, values)
        largest = np.float32(0)
        for column in range(columns):
            largest = max(largest, abs(load32(values, column)))
        scale = largest / LEVELS
        inverse = np.float32(1) / scale if scale > TINY else np.float32(0)  # of smaller numbers it would be infinite
        for column in range(columns):
            store8(digits, row * columns + column, np.int8(np.rint(load32(values, column) * inverse)))
        store32(scales, row, load32(scales, row) * scale)


@compiled
def quantise(data: Any) -> None:
    """Round the rows of matrices to int8, each by its largest number; `data`: the address of a QUANTISE.

    `tasks`: TASKs, one for each matrix, with strides in numbers, float32 or bf16. Scales are multiplied by what each row's largest number
    over 127 is. `values`: room for a row, float32.
    """
    call = carray(data, 1, dtype=QUANTISE)[0]
    tasks = carray(as_pointer(call.tasks), call.count, dtype=TASK)
    for number in range(call.count):
        _quantise(tasks[number], call.values)
