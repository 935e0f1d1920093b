"""The group of processes that train one model, one per GPU, started by torchrun; usually of this one process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from mynah.core.settings import LOCAL_RANK, WORLD_SIZE

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process's rank in the group and the group's size.

    https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> "ProcessGroup":
        """Join the group of torchrun's environment (NCCL between GPUs, gloo otherwise); without one, return a group of one."""
        size = WORLD_SIZE.get()
        if size == 1:
            return cls()
        if torch.cuda.is_available():
            torch.cuda.set_device(LOCAL_RANK.get())
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), size)

    @property
    def is_first(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's part of the items."""
        return items[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum `values`, a tensor of any shape, over all processes in place and return it."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Sum every weight's gradient over all processes in place, so that all take the same step."""
        if self.size == 1:
            return
        pending = []
        for weight in weights:
            if weight.grad is None:  # this process had no row of the batch
                weight.grad = torch.zeros_like(weight)
            pending.append(distributed.all_reduce(weight.grad, async_op=True))
        for reduction in pending:
            reduction.wait()
