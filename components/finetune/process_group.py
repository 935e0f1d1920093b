"""The processes that train one model together, one per GPU, started by torchrun; most often there is just this one."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together. https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables"""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> "Processes":
        """The group that torchrun's environment names, joined: NCCL between GPUs, gloo elsewhere; alone without one."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), size)

    @property
    def first(self) -> bool:
        """Whether this is the one that reports and writes."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of what all are to work through."""
        return items[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """`values` summed over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Every weight's gradient summed over all processes, so that each takes the same step."""
        if self.size == 1:
            return
        pending = []
        for weight in weights:
            if weight.grad is None:  # this process had no row
                weight.grad = torch.zeros_like(weight)
            pending.append(distributed.all_reduce(weight.grad, async_op=True))
        for each in pending:
            each.wait()
