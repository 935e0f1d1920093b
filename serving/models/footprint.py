"""The memory that versions take: their own, and that of base models, which versions share."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.models.adapter_base import model_folder
from mynah.models.checkpoint_files import weight_files

if TYPE_CHECKING:
    from mynah.decoding.model import Model


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a version takes in memory.

    Attributes:
        own: Bytes of its adapter; 0 for a full model.
        base: The folder of the base model that it shares with others; of a full model its own.
        base_bytes: Bytes of the base model.
    """

    own: int
    base: Path
    base_bytes: int

    @property
    def total(self) -> int:
        """Bytes where no other version shares the base model."""
        return self.own + self.base_bytes


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What versions take in memory together: numbers, and bytes. A full model is a base model without adapters."""

    bases: int = 0
    bases_bytes: int = 0
    adapters: int = 0
    adapters_bytes: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return self.bases_bytes + self.adapters_bytes


def estimate(folder: Path) -> Footprint:
    """Return what a version's files suggest. Raises InputError for an adapter that is broken, or whose base model is missing."""
    base = model_folder(folder).resolve()
    own = _size(folder) // 2 if base != folder.resolve() else 0  # bf16 in the file, int8 in memory
    return Footprint(own, base, _size(base))


def measure(model: "Model") -> Footprint:
    """Return what a model takes that was loaded."""
    return Footprint(model.own_bytes, model.body.folder.resolve(), model.body.nbytes)


def memory_use(footprints: Iterable[Footprint]) -> MemoryUse:
    """Return what versions take together, each base model counted once."""
    bases: dict[Path, int] = {}
    adapters = []
    for each in footprints:
        bases[each.base] = max(each.base_bytes, bases.get(each.base, 0))
        if each.own:
            adapters.append(each.own)
    return MemoryUse(len(bases), sum(bases.values()), len(adapters), sum(adapters))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in weight_files(folder))
