"""Compiled functions that are called from Python at once, and run one after the other."""

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch

from mynah.decoding.team import TICKET, parallel_address, run_here, run_in_team

CALL = struct.Struct("3q")  # compiled.program.CALL
LINE = 64  # bytes of a cache line: each call begins with one of its own, which threads take their tickets from


class Operation(NamedTuple):
    """A compiled function with its call.

    Attributes:
        function: Its address.
        call: Its numbers, int64. What they point to beyond `keeps` must stay in memory as long as the program.
        in_team: Whether every thread runs it, or the calling one alone.
        keeps: What its numbers point to, if nothing else keeps it in memory.
    """

    function: int
    call: bytes
    in_team: bool
    keeps: tuple[torch.Tensor, ...] = ()

    def run(self) -> None:
        """Run it by itself."""
        (run_in_team if self.in_team else run_here)(self.function, self.call)


class Program:
    """Operations in their order."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        from mynah.decoding.compiled import program as compiled

        self._kept = [each.keeps for each in operations]
        calls = [TICKET + each.call for each in operations]
        padded = [each.ljust(-(-len(each) // LINE) * LINE, b"\0") for each in calls]
        self._calls = torch.frombuffer(
            bytearray(b"".join(padded)), dtype=torch.uint8
        ).clone()  # torch's memory begins with a cache line
        starts = accumulate(map(len, padded), initial=self._calls.data_ptr())
        numbers = [(each.function, start, int(each.in_team)) for each, start in zip(operations, starts, strict=False)]
        self._operations = torch.tensor(numbers)
        self._call = CALL.pack(parallel_address(), self._operations.data_ptr(), len(operations))
        self._run = compiled.run.address

    def run(self) -> None:
        """Run all operations, and wait for the last. Not thread-safe."""
        run_here(self._run, self._call)
