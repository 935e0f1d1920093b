"""The OpenMP library that torch computes with: compiled functions share its team of threads, so that no two teams fight for the cores."""

import ctypes
import functools
from pathlib import Path

import torch

LIBRARIES = ("libtorch_cpu.so", "libtorch_cpu.dylib")


@functools.cache
def gomp_parallel() -> int:
    """The address of GOMP_parallel as torch's own library finds it, whatever file it comes from; 0 where there is none."""
    for name in LIBRARIES:
        path = Path(torch.__file__).parent / "lib" / name
        if path.is_file():
            try:
                return ctypes.cast(ctypes.CDLL(str(path)).GOMP_parallel, ctypes.c_void_p).value or 0
            except (OSError, AttributeError):
                return 0
    return 0
