"""The compiled functions of adapters: each row's own low-rank matrices, int8, multiplied with it and added to a product's result.

A task is a row and a part of a product. Its sums take that row and its own matrices alone, in an order that the sizes give: the result is
the same to the bit whatever the other rows are, and whichever thread computes it.
"""

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from mynah.decoding.compiled.primitives import BYTE, Codegen, call_type, compiled, float_of, take_ticket

# What a call is given, all int64: addresses, sizes.
CALL = call_type(("x", "y", "inputs", "outputs", "rows", "count", "parts", "part_count", "first_part"))
# A row that has an adapter: its number; the addresses of the adapter's weights, of their places, of the factors; the rank.
ROW = np.dtype([(name, np.int64) for name in ("row", "weights", "places", "factors", "rank")])
PART = np.dtype([(name, np.int64) for name in ("number", "first", "outputs")])  # of a product
QUANTISE = call_type(
    ("source", "rows", "columns", "row_stride", "column_stride", "column_factors", "digits", "scales", "is_bf16")
)
LEVELS, TINY = np.float32(127), np.float32(1e-30)
ADDS = {"reassoc", "contract", "nsz"}  # LLVM adds up a sum in the order that is fastest, always the same for its length


@intrinsic
def pointer(context: Any, address: Any) -> Codegen:
    """An address as what `numba.carray` takes."""

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], BYTE.as_pointer())

    return types.voidptr(types.intp), emit


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _bytes(address: Any, count: Any) -> Any:
    return carray(pointer(address), count, dtype=np.int8)


@njit(error_model="numpy", fastmath=ADDS)  # type: ignore[untyped-decorator]
def _four(x: Any, y: Any, a: Any, b: Any, factors: Any) -> None:
    """Add what four of the rank's rows give; `a`, `b`: addresses of the first one's weights; `factors`: fp32 [4]."""
    inputs, outputs = len(x), len(y)
    a0, a1, a2, a3 = _bytes(a, inputs), _bytes(a + inputs, inputs), _bytes(a + 2 * inputs, inputs), _bytes(a + 3 * inputs, inputs)
    s0 = s1 = s2 = s3 = np.float32(0)
    for k in range(inputs):
        value = x[k]
        s0 += np.float32(a0[k]) * value
        s1 += np.float32(a1[k]) * value
        s2 += np.float32(a2[k]) * value
        s3 += np.float32(a3[k]) * value
    s0, s1, s2, s3 = s0 * factors[0], s1 * factors[1], s2 * factors[2], s3 * factors[3]
    b0, b1, b2, b3 = (
        _bytes(b, outputs),
        _bytes(b + outputs, outputs),
        _bytes(b + 2 * outputs, outputs),
        _bytes(b + 3 * outputs, outputs),
    )
    for n in range(outputs):
        y[n] += (np.float32(b0[n]) * s0 + np.float32(b1[n]) * s1) + (np.float32(b2[n]) * s2 + np.float32(b3[n]) * s3)


@njit(error_model="numpy", fastmath=ADDS)  # type: ignore[untyped-decorator]
def _one(x: Any, y: Any, a: Any, b: Any, factor: Any) -> None:
    """Add what one of the rank's rows gives."""
    weights, total = _bytes(a, len(x)), np.float32(0)
    for k in range(len(x)):
        total += np.float32(weights[k]) * x[k]
    total *= factor
    weights = _bytes(b, len(y))
    for n in range(len(y)):
        y[n] += np.float32(weights[n]) * total


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _add(call: Any, row: Any, part: Any) -> None:
    number = call.first_part + part.number
    place = carray(pointer(row.places + 8 * number), 1, dtype=np.int64)[0]
    if place < 0:
        return
    x = carray(pointer(call.x + 4 * row.row * call.inputs), call.inputs, dtype=np.float32)
    y = carray(pointer(call.y + 4 * (row.row * call.outputs + part.first)), part.outputs, dtype=np.float32)
    factors = carray(pointer(row.factors + 4 * number * row.rank), row.rank, dtype=np.float32)
    a = row.weights + place
    b = a + row.rank * call.inputs
    whole = row.rank - row.rank % 4
    for n in range(0, whole, 4):
        _four(x, y, a + n * call.inputs, b + n * part.outputs, factors[n : n + 4])
    for n in range(whole, row.rank):
        _one(x, y, a + n * call.inputs, b + n * part.outputs, factors[n])


@compiled
def add(data: Any) -> None:
    """Take rows and parts until none is left; `data`: the address of a CALL."""
    call = carray(data, 1, dtype=CALL)[0]
    rows, parts = carray(pointer(call.rows), call.count, dtype=ROW), carray(pointer(call.parts), call.part_count, dtype=PART)
    while True:
        task = take_ticket(data)
        if task >= call.count * call.part_count:
            return
        _add(call, rows[task // call.part_count], parts[task % call.part_count])


@njit(error_model="numpy", fastmath=ADDS | {"nnan"})  # type: ignore[untyped-decorator]
def _quantise(call: Any) -> None:
    length = (call.rows - 1) * call.row_stride + (call.columns - 1) * call.column_stride + 1
    source, halves = carray(pointer(call.source), length, dtype=np.float32), carray(pointer(call.source), length, dtype=np.uint16)
    factors = carray(pointer(call.column_factors), call.columns, dtype=np.float32)
    digits = carray(pointer(call.digits), (call.rows, call.columns), dtype=np.int8)
    scales = carray(pointer(call.scales), call.rows, dtype=np.float32)
    values = np.empty(call.columns, np.float32)
    for row in range(call.rows):
        largest = np.float32(0)
        start, step = row * call.row_stride, call.column_stride
        if call.is_bf16:
            for column in range(call.columns):
                values[column] = float_of(np.int32(halves[start + column * step]) << np.int32(16)) * factors[column]
        else:
            for column in range(call.columns):
                values[column] = source[start + column * step] * factors[column]
        for column in range(call.columns):
            largest = max(largest, abs(values[column]))
        scale = largest / LEVELS
        inverse = np.float32(1) / scale if scale > TINY else np.float32(0)  # of smaller numbers it would be infinite
        for column in range(call.columns):
            digits[row, column] = np.int8(np.rint(values[column] * inverse))
        scales[row] *= scale


@compiled
def quantise(data: Any) -> None:
    """Round the rows of a matrix to int8, each by its largest number; `data`: the address of a QUANTISE. Strides are in numbers, float32 or bf16.

    Scales are multiplied by what each row's largest number over 127 is.
    """
    _quantise(carray(data, 1, dtype=QUANTISE)[0])
