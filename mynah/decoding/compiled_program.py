"""Compiled functions that are called from Python at once, and run one after the other."""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mynah.decoding.team import TICKET, parallel_address, run_here, run_in_team

CALL = struct.Struct("3q")  # compiled.program.CALL
LINE = 64  # bytes of a cache line: each call begins with one of its own, which threads take their tickets from
FUNCTION, ARGUMENT, IN_TEAM = range(3)  # numbers of an operation, as compiled.program reads them
Numbers = npt.NDArray[np.int64]


class Operation(NamedTuple):
    """A compiled function with its call.

    Attributes:
        function: Its address.
        call: Its numbers, int64. What they point to must stay in memory as long as the program.
        in_team: Whether every thread runs it, or the calling one alone.
    """

    function: int
    call: bytes
    in_team: bool

    def run(self) -> None:
        """Run it by itself."""
        (run_in_team if self.in_team else run_here)(self.function, self.call)


class Program:
    """Operations in their order. Calls can be changed between two runs."""

    def __init__(self, starts: Numbers, numbers: Numbers, operations: Numbers) -> None:
        """Take copies; `program_of` makes the first.

        Args:
            starts: Where the calls begin among the numbers, int64 [operations].
            numbers: Of all calls, one after the other, int64, each padded to whole cache lines.
            operations: int64 [operations, 3], of which the arguments are set.
        """
        from mynah.decoding.compiled import program as compiled

        self._starts = starts
        self._memory = torch.empty(numbers.nbytes, dtype=torch.uint8)  # begins with a cache line, as all of torch's
        self._numbers: Numbers = self._memory.numpy().view(np.int64)
        self._numbers[:] = numbers
        self._operations = operations.copy()
        self._operations[:, ARGUMENT] = self._memory.data_ptr() + 8 * starts
        self._call = CALL.pack(parallel_address(), self._operations.ctypes.data, len(operations))
        self._run = compiled.run.address

    def copy(self) -> "Program":
        """Return the same program with calls of its own."""
        return Program(self._starts, self._numbers, self._operations)

    def places_within(self, memory: Tensor) -> Numbers:
        """Return which numbers are addresses within a tensor's memory."""
        first = memory.data_ptr()
        return np.flatnonzero((self._numbers >= first) & (self._numbers < first + memory.nbytes))

    def move(self, places: Numbers, distance: int) -> None:
        """Add a number of bytes to the numbers at `places`, which are addresses."""
        self._numbers[places] += distance

    def set(self, operations: Sequence[int], kind: np.dtype[Any], **values: int | Sequence[int]) -> None:
        """Change calls.

        Args:
            operations: Which.
            kind: Of the calls, as `compiled.primitives.call_type` makes it.
            values: Numbers by their names in `kind`: one for all, or one each.
        """
        starts = self._starts[list(operations)]
        for name, value in values.items():
            assert kind.fields
            self._numbers[starts + kind.fields[name][1] // 8] = value

    def run_in_team(self, operations: Sequence[int], in_team: bool) -> None:
        """Say whether every thread runs these operations."""
        self._operations[list(operations), IN_TEAM] = in_team

    def run(self) -> None:
        """Run all operations, and wait for the last. Not thread-safe."""
        run_here(self._run, self._call)


def program_of(operations: Sequence[Operation]) -> Program:
    """Return the program of operations in their order."""
    calls = [TICKET + each.call for each in operations]
    padded = [each.ljust(-(-len(each) // LINE) * LINE, b"\0") for each in calls]
    starts = np.cumsum([0, *map(len, padded[:-1])]) // 8
    table = np.array([(each.function, 0, int(each.in_team)) for each in operations], np.int64)
    return Program(starts, np.frombuffer(b"".join(padded), np.int64), table)
