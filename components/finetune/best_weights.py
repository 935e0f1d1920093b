"""Keeps the best epoch's weights in a file: a copy in memory would be an eighth of what training SmolLM2-135M takes."""

import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mynah.core.files import make_folder, storage_errors


class BestWeights:
    """A set of weights in an unnamed temporary file, which disappears with the process however that ends.

    Args:
        folder: the folder whose disk has the file.
        weights: the first set, by name; their shapes and dtypes are those of all later ones.

    Raises:
        PlatformError: the disk is full or cannot be written.
    """

    def __init__(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        make_folder(folder)
        self._folder = folder
        with storage_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed below
        weakref.finalize(self, self._file.close)  # a process may train several models
        self.save(weights)

    def save(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the set by `weights`. Raises PlatformError when the disk is full."""
        self._file.seek(0)
        with storage_errors(self._folder):
            for weight in weights.values():
                _write(self._file, _bytes_of(weight.detach().to("cpu").contiguous()))

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite `weights`, tensors of the same names, shapes and dtypes, with the set."""
        self._file.seek(0)
        with torch.no_grad():
            for weight in weights.values():
                saved = torch.empty(weight.shape, dtype=weight.dtype)
                _read(self._file, _bytes_of(saved))
                weight.copy_(saved)

    def tensors(self, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the set as tensors on the CPU, with the names, shapes and dtypes of `like`."""
        copies = {name: torch.empty(weight.shape, dtype=weight.dtype) for name, weight in like.items()}
        self.load_into(copies)
        return copies


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the CPU; numpy has no bf16, hence the detour over bytes."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _write(file: Any, data: memoryview) -> None:  # noqa: ANN401 - an unbuffered file, which may write less than it is given
    while data:
        data = data[file.write(data) :]


def _read(file: Any, data: memoryview) -> None:  # noqa: ANN401 - an unbuffered file, which may read less than is asked for
    while data:
        count = file.readinto(data)
        assert count, "the file of the best weights is shorter than what was written into it"
        data = data[count:]
