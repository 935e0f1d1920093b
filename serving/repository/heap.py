"""Giving freed memory back to the system: a process that loads and drops models for days would keep a third more than they take."""

import contextlib
import ctypes

AFTER = 256 << 20  # bytes of models dropped; a trim takes some 20 ms of another thread's time


def give_back() -> None:
    """Return what glibc keeps of freed memory (malloc_trim(3)); nothing where the C library has no such call."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
