"""Which rows the tokens of prompts are that are computed together, and which slots of the cache their keys go to."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def repeated(values: Sequence[T], counts: Sequence[int]) -> list[T]:
    """Each value as often as its count says."""
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


def alike(lengths: Sequence[int], begins: Sequence[int], device: torch.device) -> list[Tensor]:
    """The prompts of each length as one tensor of row numbers, [prompts, length], for attention has no padding."""
    groups: dict[int, list[int]] = {}
    for length, begin in zip(lengths, begins, strict=False):
        groups.setdefault(length, []).append(begin)
    return [
        torch.tensor(members, device=device)[:, None] + torch.arange(length, device=device) for length, members in groups.items()
    ]


def spread(
    lengths: Sequence[int], begins: Sequence[int], copies: Sequence[int], start: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """For every key of every new sequence: the row it comes from, and the slot it goes to."""
    sources: list[int] = []
    slots: list[int] = []
    slot = start
    for length, begin, count in zip(lengths, begins, copies, strict=False):
        for _ in range(count):
            sources += range(begin, begin + length)
            slots += [slot] * length
            slot += 1
    return torch.tensor(sources, device=device), torch.tensor(slots, device=device)
