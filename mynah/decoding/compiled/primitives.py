"""What compiled functions need beyond Python: addresses as pointers, tickets, and exponentials of vectors.

A compiled function takes one argument, the address of its call: an int64 ticket with a cache line of its own, and then the call's numbers, of which
many are addresses of tensors. Every thread of a team runs it, and takes parts of the work until none is left (`mynah.decoding.team`).
See https://numba.readthedocs.io/en/stable/extending/low-level.html.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

BYTE, INT32, INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
Codegen = tuple[Any, Any]  # numba's signature, and the function that emits the instructions


def call_type(names: Sequence[str]) -> np.dtype[Any]:
    """The ticket and the numbers of a call, all int64."""
    return np.dtype([("ticket", np.int64), ("_line", np.int64, (7,)), *((name, np.int64) for name in names)])


def compiled(function: Callable[[Any], None]) -> Any:
    """Compile a function of a call's address, or take it from the cache of an earlier process: beside the source, or in the user's."""
    function.__qualname__ += f"_{_digest()}"
    decorate = functools.partial(cfunc, types.void(types.voidptr), error_model="numpy")
    try:
        return decorate(cache=True)(function)
    except RuntimeError:  # no folder that can be written: https://numba.readthedocs.io/en/stable/developer/caching.html
        return decorate()(function)


@functools.cache
def _digest() -> str:
    """Of this package's sources: numba's cache knows when a function's own file has changed, but not the files of what it calls."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def loader(kind: Any, llvm: Any) -> Any:
    """`load(address, place)`: the number in a place (0, 1, ...) behind an address; `kind` and `llvm`: its type for numba and for LLVM."""

    @intrinsic
    def load(context: Any, address: Any, place: Any) -> Codegen:
        def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.load(builder.gep(builder.inttoptr(args[0], llvm.as_pointer()), [args[1]]))

        return kind(types.intp, types.intp), emit

    return load


def storer(kind: Any, llvm: Any) -> Any:
    """`store(address, place, value)`, as `loader`."""

    @intrinsic
    def store(context: Any, address: Any, place: Any, value: Any) -> Codegen:
        def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            builder.store(args[2], builder.gep(builder.inttoptr(args[0], llvm.as_pointer()), [args[1]]))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, kind), emit

    return store


# The number in a place (0, 1, ...) behind an address: numba takes several times as long to compile arrays.
load32, store32 = loader(types.float32, ir.FloatType()), storer(types.float32, ir.FloatType())
load64, store64 = loader(types.int64, INT64), storer(types.int64, INT64)
store16 = storer(types.int16, ir.IntType(16))


@intrinsic
def take_ticket(context: Any, pointer: Any) -> Codegen:
    """The number that a pointer points to, int64, which one thread alone gets: it goes up by one.

    Threads that take the next part of the work each time keep going while one of them has lost its core to another process.
    """

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", builder.bitcast(args[0], INT64.as_pointer()), INT64(1), "monotonic")

    return types.intp(types.voidptr), emit


@intrinsic
def take_number(context: Any, pointer: Any) -> Codegen:
    """The number of a thread among those that run a call, from 0 on: as `take_ticket`, of the int64 behind the ticket."""

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        behind = builder.gep(builder.bitcast(args[0], INT64.as_pointer()), [INT32(1)])
        return builder.atomic_rmw("add", behind, INT64(1), "monotonic")

    return types.intp(types.voidptr), emit


@intrinsic
def as_pointer(context: Any, address: Any) -> Codegen:
    """An address as a pointer, such as `numba.carray` takes."""

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], BYTE.as_pointer())

    return types.voidptr(types.intp), emit


@intrinsic
def float_of(context: Any, bits: Any) -> Codegen:
    """The float32 whose bits an int32 has."""

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), emit


@intrinsic
def bits_of(context: Any, number: Any) -> Codegen:
    """A float32's bits as int32."""

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], INT32)

    return types.int32(types.float32), emit


LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
C0, C1, C2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
C3, C4, C5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
ONE, LEAST, MOST = np.float32(1), np.float32(-87.0), np.float32(88.0)


@njit(inline="always", error_model="numpy")
def exp32(x: Any) -> Any:
    """e to the power of a float32, within 2 units of its last bit; that of -87 below it, and of 88 above.

    The Cephes library's expf (S. Moshier, https://www.netlib.org/cephes/), without a branch, so that LLVM computes eight at once. C's own
    would be called number by number.
    """
    x = LEAST if x < LEAST else x  # what is not a number stays so
    x = MOST if x > MOST else x
    n = np.rint(x * LOG2_E)
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = ((((C0 * r + C1) * r + C2) * r + C3) * r + C4) * r + C5
    return (p * r * r + r + ONE) * float_of((np.int32(n) + np.int32(127)) << np.int32(23))


CUBIC, ROOT = np.float32(0.044715), np.float32(-2 * 0.7978845608028654)  # https://arxiv.org/abs/1606.08415; sqrt(2 / pi)


@njit(inline="always", error_model="numpy")
def gelu32(x: Any) -> Any:
    """GPT-2's GELU of a float32: x / (1 + exp(-2 u)) is x / 2 * (1 + tanh(u))."""
    return x / (ONE + exp32(ROOT * (x + CUBIC * x * x * x)))
