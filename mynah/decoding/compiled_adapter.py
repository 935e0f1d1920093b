"""An adapter in int8 on a CPU, and its product with rows by compiled functions: each row with its own adapter, whatever the others have.

A row of A and the column of B that belongs to it are rounded to int8 by a scale each; both scales, the adapter's and the base model's
factor are one number. A product of low rank is a hundredth of the base model's weights: reading it is what it costs, and int8 is half of bf16.
"""

import functools
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mynah.decoding.adapter_parts import QKV, UP, Part, parts_of, product_sizes
from mynah.decoding.body import Body, Layer
from mynah.decoding.compiled_program import Operation
from mynah.decoding.team import run_here
from mynah.models.adapter_weights import Matrices
from mynah.models.architecture import Architecture

CALL, QUANTISE = struct.Struct("9q"), struct.Struct("3q")  # compiled.adapter_product.CALL, QUANTISE
SHARED = 1 << 17  # products of an adapter's numbers from which on the team is faster than one thread


class CompiledAdapter:
    """One adapter. `nbytes`: what it takes."""

    is_exact = True

    def __init__(self, matrices: Matrices, scale: float, body: Body) -> None:
        """Round an adapter's matrices.

        Args:
            matrices: Of `read_adapter`.
            scale: Of the products.
            body: Of its base model.
        """
        parts = parts_of(body.architecture)
        self.rank = len(next(iter(matrices.values()))[0])
        sizes = [
            self.rank * (part.inputs + part.outputs) if f"{number}.{part.name}" in matrices else 0
            for number in range(body.architecture.layers)
            for part in parts
        ]
        ends = np.cumsum(sizes)
        self._weights = np.empty(int(ends[-1]), np.int8)
        self._places = np.where(sizes, ends - sizes, -1).astype(np.int64)
        self._factors = np.zeros((len(sizes), self.rank), np.float32)
        tasks: list[tuple[int, ...]] = []
        kept: list[Tensor] = []  # what the tasks' addresses point to
        for place in np.flatnonzero(sizes).tolist():
            number, part = divmod(place, len(parts))
            layer, of = body.layers[number], parts[part]
            a, b = _numbers(matrices[f"{number}.{of.name}"])
            kept += a, b
            tasks += self._tasks(place, of, _norm_within(layer, of), a, b)
            self._factors[place] = scale * of.factor
        _quantise(tasks, max(max(part.inputs, part.outputs) for part in parts))
        self.nbytes = self._weights.nbytes + self._places.nbytes + self._factors.nbytes
        self.row = (self._weights.ctypes.data, self._places.ctypes.data, self._factors.ctypes.data, self.rank)

    def _tasks(self, place: int, part: Part, norm: Tensor | None, a: Tensor, b: Tensor) -> list[tuple[int, ...]]:
        """What rounds one part's matrices into its place among the weights, and their scales into the factors: TASKs."""
        at, scales = self._weights.ctypes.data + int(self._places[place]), self._factors.ctypes.data + 4 * place * self.rank
        ones, is_bf16 = _ones(max(part.inputs, part.outputs)), a.dtype == torch.bfloat16
        of_a = a.data_ptr(), self.rank, part.inputs, part.inputs, 1, (ones if norm is None else norm).data_ptr(), at
        skipped, first = b.itemsize * part.skipped * self.rank, at + self.rank * part.inputs
        of_b = b.data_ptr() + skipped, self.rank, part.outputs, 1, self.rank, ones.data_ptr(), first
        return [(*of_a, scales, is_bf16), (*of_b, scales, is_bf16)]


class CompiledRows:
    """The adapters of the rows that are computed together.

    Attributes:
        count: Rows that have one.
        address: Of what the functions read about these.
        in_team: Whether every thread adds to a product, for each of a block's.
    """

    def __init__(self, adapters: Sequence[CompiledAdapter | None], of: Architecture) -> None:
        """`adapters`: of each row."""
        rows = sorted((*adapter.row, number) for number, adapter in enumerate(adapters) if adapter)  # a bot's own side by side
        self._rows = np.array([(row, *own) for *own, row in rows], np.int64)
        self._adapters = adapters  # so that they stay in memory
        self._add, _ = functions()
        self._per_block = len(parts_of(of))
        numbers = sum(rank for *_, rank, _ in rows)
        self.count, self.address = len(rows), self._rows.ctypes.data
        self.in_team = [numbers * (inputs + outputs) >= SHARED for _, (outputs, inputs) in _products(of)]  # of each product
        self._abouts = [
            (inputs, outputs, self.address, self.count, parts.ctypes.data, len(parts))
            for parts, (outputs, inputs) in _products(of)
        ]

    def add(self, number: int, product: int, x: Tensor, y: Tensor) -> Tensor:
        """Return a product of a block with what the adapters add.

        Args:
            number: The block's.
            product: Of `adapter_parts`.
            x: [rows, in], what was multiplied.
            y: [rows, out], its product with the base model's matrix; changed in place where it is fp32.
        """
        rows, found = x.float().contiguous(), y.float().contiguous()  # themselves, where they are so already
        self.operation(number, product, rows, found).run()
        return found.to(y.dtype)

    def operation(self, number: int, product: int, x: Tensor, y: Tensor) -> Operation:
        """As `add`, of fp32 rows that are contiguous; `y` is changed in place."""
        call = CALL.pack(x.data_ptr(), y.data_ptr(), *self._abouts[product], number * self._per_block)
        return Operation(self._add, call, self.in_team[product])


def _numbers(matrices: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Both matrices as the function reads them: bf16, or fp32."""
    is_bf16 = all(each.dtype == torch.bfloat16 for each in matrices)
    a, b = (each.contiguous() if is_bf16 else each.float().contiguous() for each in matrices)
    return a, b


def _quantise(tasks: Sequence[tuple[int, ...]], longest: int) -> None:
    """Run TASKs; `longest`: of a row, in numbers. In one call: a call for each of 420 matrices takes as long as the work."""
    _, quantise = functions()
    table, room = np.array(tasks, np.int64), torch.empty(longest)
    run_here(quantise, QUANTISE.pack(table.ctypes.data, len(table), room.data_ptr()))


def _norm_within(layer: Layer, part: Part) -> Tensor | None:
    """The weight of the norm that is within the base model's matrix, fp32 [in]."""
    return {QKV: layer.within_qkv, UP: layer.within_up}.get(part.product)


@functools.cache
def _ones(count: int) -> Tensor:
    return torch.ones(count)


@functools.cache
def _products(of: Architecture) -> tuple[tuple[Any, tuple[int, int]], ...]:
    """The parts of each product as the functions read them, int64 [parts, 3], with its outputs and inputs."""
    parts = [(number, part) for number, part in enumerate(parts_of(of))]
    return tuple(
        (np.array([(number, part.first, part.outputs) for number, part in parts if part.product == product], np.int64), sizes)
        for product, sizes in enumerate(product_sizes(of))
    )


@functools.cache
def functions() -> tuple[int, int]:
    """The addresses of the functions that add, and that round. The first call imports numba, and compiles what no file holds yet."""
    from mynah.decoding.compiled import adapter_product as compiled

    return compiled.add.address, compiled.quantise.address
