"""The matrices of an adapter, read from its folder and added to those of its base model. Imports torch."""

import functools
import json
import math
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mynah.core.errors import InputError
from mynah.models.adapter import AGAIN, WEIGHTS_FILE, block_prefix, check_adapter, matrix_sizes
from mynah.models.architecture import Architecture

Matrices = Mapping[str, tuple[Tensor, Tensor]]  # by block number and name, "0.self_attn.q_proj": A [rank, in] and B [out, rank]
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}  # by safetensors' names
LENGTH_BYTES = 8  # before the header: how long it is


def read_adapter(folder: Path, of: Architecture) -> Matrices:
    """Read an adapter's matrices.

    Args:
        folder: The adapter's.
        of: Of its base model.

    Returns:
        A [rank, in] and B [out, rank] as they are stored (bf16, fp16 or fp32) and not scaled, by block number and the name of
        `adapter.matrix_sizes`, such as "0.self_attn.q_proj". What the adapter adds to a weight [out, in] is B A times
        `check_adapter(folder).scale`. Matrices that the adapter does not add to are missing.

    Raises:
        InputError: A file is missing or broken, a tensor is unknown, missing, of a wrong shape or type, or not finite.
    """
    rank, path = check_adapter(folder).rank, folder / WEIGHTS_FILE
    found: dict[str, dict[str, Tensor]] = {}
    header, contents = _contents(path)
    begin = LENGTH_BYTES + len(header)
    for entry, matrix in _entries(header, of):
        if matrix is None:
            raise _wrong(path, f"{entry.name[:120]} belongs to no matrix of its base model ({of.family}, {of.layers} blocks)")
        shape = (rank, matrix.inputs) if matrix.side == "A" else (matrix.outputs, rank)
        if entry.shape != shape:
            raise _wrong(
                path,
                f"{entry.name} has the shape {list(entry.shape)}, and {list(shape)} belongs to rank {rank} and this base model",
            )
        if entry.dtype not in DTYPES:
            raise _wrong(path, f"{entry.name} has the type {entry.dtype}, and adapters have {', '.join(DTYPES)}")
        tensor = torch.frombuffer(contents, dtype=DTYPES[entry.dtype], count=math.prod(shape), offset=begin + entry.first).view(
            shape
        )
        if not all(map(math.isfinite, map(float, torch.aminmax(tensor)))):  # a twentieth of the time of torch.isfinite
            raise _wrong(path, f"{entry.name} has numbers that are not finite")
        found.setdefault(matrix.place, {})[matrix.side] = tensor
    if not found:
        raise _wrong(path, "it holds no matrices")
    for place, sides in found.items():
        if len(sides) < 2:
            raise _wrong(path, f"{place} has only its matrix {next(iter(sides))}")
    return {place: (sides["A"], sides["B"]) for place, sides in found.items()}


def merge(model: Any, adapter: Matrices, scale: float) -> None:  # noqa: ANN401 - each architecture has its own attributes
    """Add an adapter to transformers' model, in the precision of its weights.

    Args:
        model: A causal language model of the adapter's architecture; changed in place.
        adapter: Of `read_adapter`.
        scale: Of the products.
    """
    is_gpt2 = model.config.model_type == "gpt2"
    blocks = model.base_model.h if is_gpt2 else model.base_model.layers
    with torch.no_grad():
        for place, (a, b) in adapter.items():
            number, _, name = place.partition(".")
            weight = blocks[int(number)].get_submodule(name).weight
            added = scale * (b.to(weight.dtype) @ a.to(weight.dtype))
            weight.data += added.T if is_gpt2 else added  # GPT-2 keeps its matrices transposed


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor in a file: its type by safetensors' name, and its first byte after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    first: int


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Which matrix of which block a tensor is: `place` such as "0.self_attn.q_proj", `side` "A" or "B"."""

    place: str
    side: str
    outputs: int
    inputs: int


def _contents(path: Path) -> tuple[bytes, mmap.mmap]:
    """A file's header and the whole file, mapped into memory: safetensors takes four times as long for 420 small tensors."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt"), path.open("rb") as file:  # checks the header, and that each byte belongs to one tensor
            header = file.read(int.from_bytes(file.read(LENGTH_BYTES), "little"))
            return header, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # what torch takes must be writable
    except Exception as error:  # what safetensors raises for foreign bytes is of several types
        raise _wrong(path, str(error).split("\n")[0][:200]) from error


@functools.lru_cache(maxsize=16)
def _entries(header: bytes, of: Architecture) -> tuple[tuple[_Entry, _Matrix | None], ...]:
    """The tensors of a header, which adapters of one base model and rank share, and which matrices they are.

    See https://github.com/huggingface/safetensors#format.
    """
    return tuple(
        (_Entry(name, each["dtype"], tuple(each["shape"]), each["data_offsets"][0]), _matrix_of(name, of))
        for name, each in json.loads(header).items()
        if name != "__metadata__"
    )


def _matrix_of(name: str, of: Architecture) -> _Matrix | None:
    """Which matrix a tensor is, by its name; None: none of this architecture's."""
    found = re.fullmatch(rf"{re.escape(block_prefix(of))}(0|[1-9]\d{{0,3}})\.([\w.]+)\.lora_([AB])\.weight", name, re.ASCII)
    if not found or int(found[1]) >= of.layers or found[2] not in matrix_sizes(of):
        return None
    return _Matrix(f"{int(found[1])}.{found[2]}", found[3], *matrix_sizes(of)[found[2]])


def _wrong(path: Path, how: str) -> InputError:
    return InputError(f"the adapter {path} cannot be used: {how}", AGAIN)
