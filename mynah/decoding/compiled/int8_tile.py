"""The product of a few rows of digits with sixteen outputs' int8 weights, as instructions of AVX2: what all the time goes into.

`vpmaddwd` multiplies pairs of 16-bit numbers and adds each pair in 32 bits. Weights lie in panels of 16 outputs, [inputs / 2, 16, 2], so
that an instruction takes two inputs of eight outputs; the two digits of a row that it meets are one 32-bit number, broadcast to all lanes.
Sums of whole numbers are exact, and each row's are scaled by themselves: a row's result is the same to the bit whatever the others are.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mynah.decoding.compiled.primitives import BYTE, INT32, INT64, Codegen

LANES = 8  # 32-bit numbers in a register
REGISTERS = 2  # of a panel
PANEL = LANES * REGISTERS  # outputs
MAX_ROWS = 6  # 12 registers of sums; with two of weights and two for products, all 16 that AVX2 has
UNROLLED = 2  # pairs of inputs in a turn of the loop: a cache line of weights
FETCHED_AHEAD = 1024  # bytes, where the rows are so few that memory is what takes the time: a tenth faster on Zen 3
FEW_ROWS = 4
SUMS, DIGITS, WEIGHTS = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(BYTE, 2 * LANES)
FLOATS = ir.VectorType(ir.FloatType(), LANES)


def make_tile(rows: int) -> Callable[..., None]:
    """Return the function for so many rows, to be called from compiled ones, all arguments int64.

    Its arguments: the address of the panel's weights; of the rows' digits, int16; bytes between two rows of these; blocks; pairs of inputs
    in each; the address of the results, fp32; bytes between two rows of these; the addresses of the panel's scales, of the rows' scales, and of the
    panel's biases, fp32.
    """

    @intrinsic
    def tile(context: Any, w: Any, x: Any, x_stride: Any, blocks: Any, pairs: Any, y: Any, y_stride: Any,
             w_scale: Any, x_scale: Any, bias: Any) -> Codegen:  # fmt: skip
        def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            _emit(_Tile(builder, rows, *args))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 10), emit

    found: Callable[..., None] = tile
    return found


class _Tile:
    """The values that the instructions take."""

    def __init__(self, builder: Any, rows: int, *args: Any) -> None:
        self.builder, self.rows = builder, rows
        self.w, self.x, self.x_stride, self.blocks, self.pairs, self.y, self.y_stride, self.w_scale, self.x_scale, self.bias = (
            args
        )
        kind = ir.FunctionType(SUMS, [DIGITS, DIGITS])
        name = "llvm.x86.avx2.pmadd.wd"
        self.multiply_add = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)

    def load(self, address: Any, kind: Any, offset: int = 0, align: int = 4) -> Any:
        return self.builder.load(self._place(address, kind, offset), align=align)

    def store(self, value: Any, address: Any, offset: int) -> None:
        self.builder.store(value, self._place(address, value.type, offset), align=4)

    def fetch(self, address: Any) -> None:
        """Begin to read a cache line, which may lie beyond the end."""
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT32, INT32, INT32])
        name = "llvm.prefetch.p0"
        prefetch = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        to_read, to_keep, data = INT32(0), INT32(3), INT32(1)
        self.builder.call(prefetch, [self.builder.inttoptr(address, BYTE.as_pointer()), to_read, to_keep, data])

    def _place(self, address: Any, kind: Any, offset: int) -> Any:
        return self.builder.inttoptr(self.builder.add(address, INT64(offset)), kind.as_pointer())

    def broadcast(self, number: Any, kind: Any) -> Any:
        """A number in all lanes."""
        empty = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(empty, number, INT32(0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(INT32, LANES), [0] * LANES))

    def row(self, address: Any, stride: Any, row: int) -> Any:
        return self.builder.add(address, self.builder.mul(stride, INT64(row)))


def _emit(tile: _Tile) -> None:
    """All blocks of inputs one after the other, whose sums are added up in fp32; then scales and biases."""
    count = tile.rows * REGISTERS
    sums = _loop(
        tile.builder, tile.blocks, [ir.Constant(FLOATS, [0.0] * LANES)] * count, lambda block, sums: _block(tile, block, sums)
    )
    builder = tile.builder
    for row in range(tile.rows):
        scale = tile.broadcast(tile.load(tile.x_scale, ir.FloatType(), 4 * row), FLOATS)
        place = tile.row(tile.y, tile.y_stride, row)
        for register in range(REGISTERS):
            offset = 4 * LANES * register
            scaled = builder.fmul(sums[row * REGISTERS + register], tile.load(tile.w_scale, FLOATS, offset))
            tile.store(builder.fadd(builder.fmul(scaled, scale), tile.load(tile.bias, FLOATS, offset)), place, offset)


def _block(tile: _Tile, block: Any, sums: list[Any]) -> list[Any]:
    builder = tile.builder
    first = builder.mul(block, tile.pairs)
    w = builder.add(tile.w, builder.mul(first, INT64(2 * PANEL)))
    x = builder.add(tile.x, builder.mul(first, INT64(4)))

    def turn(number: Any, sums: list[Any]) -> list[Any]:
        if tile.rows <= FEW_ROWS:
            tile.fetch(builder.add(w, builder.add(builder.mul(number, INT64(2 * PANEL * UNROLLED)), INT64(FETCHED_AHEAD))))
        for step in range(UNROLLED):
            pair = builder.add(builder.mul(number, INT64(UNROLLED)), INT64(step))
            sums = _pair(
                tile, builder.add(w, builder.mul(pair, INT64(2 * PANEL))), builder.add(x, builder.mul(pair, INT64(4))), sums
            )
        return sums

    turns = builder.udiv(tile.pairs, INT64(UNROLLED))
    found = _loop(builder, turns, [ir.Constant(SUMS, [0] * LANES)] * len(sums), turn)
    return [builder.fadd(total, builder.sitofp(each, FLOATS)) for total, each in zip(sums, found, strict=True)]


def _pair(tile: _Tile, w: Any, x: Any, sums: list[Any]) -> list[Any]:
    """The sums with the products of two inputs added."""
    builder, found = tile.builder, []
    weights = [builder.sext(tile.load(w, WEIGHTS, 2 * LANES * each, 16), DIGITS) for each in range(REGISTERS)]
    for row in range(tile.rows):
        digits = builder.bitcast(tile.broadcast(tile.load(tile.row(x, tile.x_stride, row), INT32), SUMS), DIGITS)
        for each, total in zip(weights, sums[row * REGISTERS :], strict=False):
            found.append(builder.add(total, builder.call(tile.multiply_add, [each, digits])))
    return found


def _loop(builder: Any, turns: Any, start: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Emit a loop that carries values; of at least one turn."""
    before = builder.block
    inside, after = builder.append_basic_block(), builder.append_basic_block()
    builder.branch(inside)
    builder.position_at_end(inside)
    number = builder.phi(INT64)
    carried = [builder.phi(each.type) for each in start]
    results = body(number, list(carried))
    following = builder.add(number, INT64(1))
    for phi, first, later in zip([number, *carried], [INT64(0), *start], [following, *results], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.cbranch(builder.icmp_unsigned("<", following, turns), inside, after)
    builder.position_at_end(after)
    return results
