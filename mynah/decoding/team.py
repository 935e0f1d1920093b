"""Runs compiled functions in OpenMP's team of the calling thread: the one of torch's own operations, with as many threads as torch uses.

A second team would fight with the first for the cores while its threads wait.
"""

import ctypes
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import torch

# torch's library and those that it is linked with, of which one has OpenMP, whatever its file is called.
LIBRARY = Path(torch.__file__).parent / ("lib/libtorch_cpu.dylib" if sys.platform == "darwin" else "lib/libtorch_cpu.so")
TICKET = bytes(64)  # what each call begins with: compiled.primitives


@functools.cache
def _gomp_parallel() -> Callable[[int, ctypes.Array[ctypes.c_char], int, int], None]:
    """https://gcc.gnu.org/onlinedocs/libgomp/Implementing-PARALLEL-construct.html."""
    function = ctypes.CDLL(str(LIBRARY)).GOMP_parallel
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return function


@functools.cache
def parallel_address() -> int:
    """Return the address of GOMP_parallel, for compiled functions that begin others in the team."""
    return ctypes.cast(_gomp_parallel(), ctypes.c_void_p).value or 0  # type: ignore[arg-type]  # a function of a library


def run_in_team(work: int, call: bytes) -> None:
    """Run a compiled function in every thread, and wait for all.

    Args:
        work: Its address.
        call: Its numbers, int64.
    """
    _gomp_parallel()(work, ctypes.create_string_buffer(TICKET + call), 0, 0)


def run_here(work: int, call: bytes) -> None:
    """Run a compiled function in the calling thread alone; as `run_in_team`."""
    _function(work)(ctypes.create_string_buffer(TICKET + call))


@functools.cache
def _function(work: int) -> Callable[[ctypes.Array[ctypes.c_char]], None]:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work)
