"""Read the header of a GGUF file within bounds: a file from anywhere may be cut, or give sizes that it does not have.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. `gguf.GGUFReader` 0.19 is not used here: it does not end on some
files that are not sound, and a large vocabulary takes it seconds.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Quantisation

from mynah.core.errors import InputError

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # 1 had other lengths, and was used for a few weeks of 2023
DEFAULT_ALIGNMENT = 32  # bytes
MAX_DIMENSIONS = 4
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}  # by GGUF's number of the type
STRING, ARRAY = 8, 9
SUPPORTED = tuple(
    Quantisation[name]
    for name in (
        "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
        "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the file.

    Attributes:
        name: GGUF's, such as blk.0.attn_q.weight.
        shape: As numpy has it, the last dimension contiguous; GGUF writes it the other way round.
        quantisation: The form of its numbers.
        offset: Of its first byte in the file.
        nbytes: Its size.
    """

    name: str
    shape: tuple[int, ...]
    quantisation: Quantisation
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A GGUF file whose header is whole and whose tensors all lie within it."""

    path: Path
    values: dict[str, Any]
    tensors: dict[str, StoredTensor]
    data: mmap.mmap

    def raw(self, tensor: StoredTensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The bytes of a tensor, uint8 [rows, bytes per row]; a vector is one row. A view of the file."""
        rows = int(np.prod(tensor.shape[:-1], dtype=np.int64))
        return np.frombuffer(self.data, np.uint8, tensor.nbytes, tensor.offset).reshape(rows, -1)


def read_header(path: Path) -> GgufFile:
    """Read a file's header.

    Raises:
        InputError: The file is no GGUF, is cut, has impossible sizes, or holds a quantisation that is not supported.
    """
    require_magic(path)
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = _Reader(path, data)
    reader.at = len(MAGIC)
    if (version := reader.number("I")) not in VERSIONS:
        raise InputError(
            f"{path} is GGUF of version {version if version < 65536 else 'big-endian'}",
            "Use a little-endian file of version 2 or 3: convert it again with a current llama.cpp.",
        )
    tensors, pairs = reader.count(24), reader.count(12)
    values: dict[str, Any] = {}
    for _ in range(pairs):
        key = reader.text()
        if key in values:
            raise reader.broken(f"it has {key[:80]!r} twice")
        values[key] = reader.value(reader.number("I"))
    infos = [reader.tensor() for _ in range(tensors)]
    return GgufFile(path, values, _placed(reader, values, infos), data)


def require_magic(path: Path) -> None:
    """Raise InputError unless the file begins as GGUF does."""
    try:
        with path.open("rb") as file:
            found = file.read(len(MAGIC))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "Name a GGUF file that is there.") from error
    if found != MAGIC:
        kind = "is empty" if not found else f"is no GGUF file: it begins with {found!r}"
        raise InputError(f"{path} {kind}", "Name a file in the format of llama.cpp (*.gguf), or a folder.")


class _Reader:
    """Reads values one after the other, and nothing beyond the end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def broken(self, problem: str) -> InputError:
        """The error for a file that was not written so."""
        return InputError(f"{self.path} is broken near byte {self.at:,}: {problem}", "Fetch it again.")

    def cut(self, needed: int, what: str) -> InputError:
        """The error for a file that ends early; `needed`: where `what` would end."""
        return InputError(
            f"{self.path} is cut: {what} ends at byte {needed:,}, and the file at {len(self.data):,}", "Fetch it again."
        )

    def number(self, form: str) -> Any:  # noqa: ANN401 - int, float or bool, as `form` says
        """A number of struct's `form`."""
        size = struct.calcsize("<" + form)
        if self.at + size > len(self.data):
            raise self.cut(self.at + size, "its header")
        (found,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += size
        return found

    def count(self, size: int) -> int:
        """A number of elements that take `size` bytes each at least."""
        found = int(self.number("Q"))
        if found * size > len(self.data) - self.at:
            raise self.cut(self.at + found * size, "its header")
        return found

    def text(self) -> str:
        """A string."""
        size = self.count(1)
        self.at += size
        try:
            return self.data[self.at - size : self.at].decode()
        except UnicodeDecodeError as error:
            raise self.broken("a string that is not UTF-8") from error

    def value(self, kind: int) -> Any:  # noqa: ANN401 - a number, a string, or a list of either
        """A value of one of GGUF's types."""
        if kind == STRING:
            return self.text()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise self.broken(f"a value of the unknown type {kind}")
        of = self.number("I")
        if of == STRING:
            return [self.text() for _ in range(self.count(8))]
        if of not in SCALARS:
            raise self.broken(f"an array of the unknown type {of}")
        count, form = self.count(struct.calcsize("<" + SCALARS[of])), SCALARS[of]
        found = struct.unpack_from(f"<{count}{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{count}{form}")
        return list(found)

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type and offset of a tensor."""
        name, dimensions = self.text(), self.number("I")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self.broken(f"{name[:80]!r} has {dimensions} dimensions")
        shape = tuple(reversed([int(self.number("Q")) for _ in range(dimensions)]))
        return name, shape, self.number("I"), self.number("Q")


def _placed(
    reader: _Reader, values: dict[str, Any], infos: list[tuple[str, tuple[int, ...], int, int]]
) -> dict[str, StoredTensor]:
    """The tensors with where they lie: after the header, from the next multiple of the alignment on."""
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**20:
        raise reader.broken(f"an alignment of {str(alignment)[:40]}")
    begin = -(-reader.at // alignment) * alignment
    found: dict[str, StoredTensor] = {}
    for name, shape, number, offset in infos:
        quantisation = _quantisation(reader, name, number)
        block, nbytes = gguf.GGML_QUANT_SIZES[quantisation]
        size = 1
        for count in shape:
            size *= count
        if name in found or size < 1 or shape[-1] % block:
            raise reader.broken(f"the tensor {name[:80]!r} of {list(shape)} in {quantisation.name}")
        end = begin + offset + size // block * nbytes
        if end > len(reader.data):
            raise reader.cut(end, f"its tensor {name[:80]}")
        found[name] = StoredTensor(name, shape, quantisation, begin + offset, size // block * nbytes)
    return found


def _quantisation(reader: _Reader, name: str, number: int) -> Quantisation:
    names = {each.value: each for each in Quantisation}
    if (found := names.get(number)) in SUPPORTED and found is not None:
        return found
    shown = found.name if found else f"of the unknown number {number}"
    raise InputError(
        f"{reader.path}: {name[:80]} is quantised as {shown}, which is not supported",
        f"Use a file in one of {', '.join(each.name for each in SUPPORTED)}.",
    )
