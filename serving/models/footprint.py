"""The memory that versions take: their own, and that of base models, which versions share."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.models.adapter_base import model_folder
from mynah.models.checkpoint_files import weight_files
from serving.models.address import Key

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


class KnownFootprints(dict[Key, Footprint]):
    """The memory of the versions that were loaded before, and what others are expected to take."""

    def __init__(self) -> None:
        super().__init__()
        self._scale = 1.0  # of memory to the size of the files, of the version that was loaded last

    def expect(self, key: Key, estimated: Footprint) -> Footprint:
        """Return what a version will take, by its files where neither it nor its base model was loaded before."""
        if key in self:
            return self[key]
        base = next((each.base_bytes for each in self.values() if each.base == estimated.base), None)
        base_bytes = int(estimated.base_bytes * self._scale) if base is None else base
        return Footprint(estimated.own, estimated.base, base_bytes)

    def record(self, key: Key, estimated: Footprint, measured: Footprint) -> None:
        """Keep what a version takes, of which its files suggested `estimated`."""
        self[key] = measured
        self._scale = measured.base_bytes / max(1, estimated.base_bytes)


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
