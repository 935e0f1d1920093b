"""Memory for weights in pages of 2 MiB, in which a processor reads a third faster than in those of 4 KiB.

Its prefetchers stop at the end of a page, and so does each entry of its address cache
(https://docs.kernel.org/admin-guide/mm/transhuge.html). The matrices of one model lie side by side, for most are smaller than a page.
"""

import contextlib
import contextvars
import mmap
from collections.abc import Iterator

import torch
from torch import Tensor

PAGE = 2 << 20  # bytes
CHUNK = 64 << 20  # of addresses; memory is taken page by page as it is written
LARGE = 64 << 20  # bytes of a model's files from which on it gets huge pages
LINE = 64  # bytes of the processor's cache lines


class _Arena:
    """Hands out parts of chunks one after the other. A chunk goes back to the system with the last of its tensors."""

    def __init__(self) -> None:
        self._left = torch.empty(0, dtype=torch.int8)

    def take(self, nbytes: int) -> Tensor:
        """Return zeros, int8 [nbytes]."""
        wanted = -(-nbytes // LINE) * LINE
        if wanted > len(self._left):
            self._left = _chunk(max(CHUNK, wanted))
        found, self._left = self._left[:nbytes], self._left[wanted:]
        return found


_arena: contextvars.ContextVar[_Arena | None] = contextvars.ContextVar("arena", default=None)


@contextlib.contextmanager
def side_by_side(nbytes: int) -> Iterator[None]:
    """Let what `take` returns within the block lie side by side, in huge pages: the matrices of one model.

    `nbytes`: what they may come to. Those of a small model stay apart: a page that is not full would be a large share of it.
    """
    token = _arena.set(_Arena() if nbytes >= LARGE else None)
    try:
        yield
    finally:
        _arena.reset(token)


def take(nbytes: int) -> Tensor:
    """Return zeros, int8 [nbytes], at the start of a cache line."""
    arena = _arena.get()
    if arena is None:
        whole = torch.zeros(nbytes + LINE, dtype=torch.int8)
        return whole[-whole.data_ptr() % LINE :][:nbytes]
    return arena.take(nbytes)


def _chunk(nbytes: int) -> Tensor:
    """Zeros that begin with a huge page, where the system has them."""
    memory = mmap.mmap(-1, nbytes + PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(memory, dtype=torch.int8)
    return whole[-whole.data_ptr() % PAGE :][:nbytes]
