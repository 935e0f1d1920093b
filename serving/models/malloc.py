"""Returns freed memory to the operating system: glibc keeps up to a third of what evicted models used."""

import contextlib
import ctypes

TRIM_AFTER = 256 << 20  # bytes of evicted models between two trims; one takes about 20 ms on another thread


def trim_memory() -> None:
    """Call glibc's malloc_trim(3); no effect with other C libraries."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
