"""A list of compiled functions that are run one after the other without Python between them.

A step of GPT-2 is some hundred of them: called from Python, each of them costs some 20 microseconds more, in which the cores do nothing else.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from mynah.decoding.compiled.primitives import BYTE, INT32, Codegen, call_type, compiled, load64, store64

# What a call is given, all int64: the address of libgomp's GOMP_parallel, and that of the operations, OPERATION numbers each.
CALL = call_type(("parallel", "operations", "count"))
OPERATION = 3  # the address of a function, that of its call, and whether every thread of the team runs it
POINTER = BYTE.as_pointer()


@intrinsic
def _run_here(context: Any, function: Any, call: Any) -> Codegen:
    """Run a function, by its address and that of its call."""

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [POINTER])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [builder.inttoptr(args[1], POINTER)])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def _run_in_team(context: Any, parallel: Any, function: Any, call: Any) -> Codegen:
    """As `_run_here`, in every thread of OpenMP's team: `GOMP_parallel(function, call, 0, 0)`, as `mynah.decoding.team` calls it."""

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, INT32, INT32])
        function, call = (builder.inttoptr(each, POINTER) for each in args[1:])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [function, call, INT32(0), INT32(0)])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


@compiled
def run(data: Any) -> None:
    """Run all operations in their order, each with a fresh ticket."""
    call = carray(data, 1, dtype=CALL)[0]
    for number in range(call.count):
        operation = call.operations + 8 * OPERATION * number
        function, argument = load64(operation, 0), load64(operation, 1)
        store64(argument, 0, np.int64(0))  # the ticket
        store64(argument, 1, np.int64(0))  # the number of the next thread
        if load64(operation, 2):
            _run_in_team(call.parallel, function, argument)
        else:
            _run_here(function, argument)
