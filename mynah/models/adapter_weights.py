"""The matrices of an adapter, read from its folder and added to those of its base model. Imports torch."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mynah.core.errors import InputError
from mynah.models.adapter import AGAIN, WEIGHTS_FILE, block_prefix, check_adapter, matrix_sizes
from mynah.models.architecture import Architecture

Matrices = Mapping[str, tuple[Tensor, Tensor]]  # by block number and name, "0.self_attn.q_proj": A [rank, in] and B [out, rank]
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


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
    for name, tensor in _tensors(path).items():
        place, side = _place(name, of, path)
        outputs, inputs = matrix_sizes(of)[place.partition(".")[2]]
        shape = (rank, inputs) if side == "A" else (outputs, rank)
        if tuple(tensor.shape) != shape:
            raise _wrong(
                path, f"{name} has the shape {list(tensor.shape)}, and {list(shape)} belongs to rank {rank} and this base model"
            )
        if tensor.dtype not in DTYPES:
            raise _wrong(path, f"{name} has the type {tensor.dtype}")
        if not all(map(math.isfinite, map(float, torch.aminmax(tensor)))):  # a twentieth of the time of torch.isfinite
            raise _wrong(path, f"{name} has numbers that are not finite")
        found.setdefault(place, {})[side] = tensor
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


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # what safetensors raises for foreign bytes is of several types
        raise _wrong(path, str(error).split("\n")[0][:200]) from error


def _place(name: str, of: Architecture, path: Path) -> tuple[str, str]:
    """A tensor's block number and matrix, such as "0.self_attn.q_proj", and which of both matrices it is: "A" or "B"."""
    found = re.fullmatch(rf"{re.escape(block_prefix(of))}(0|[1-9]\d{{0,3}})\.([\w.]+)\.lora_([AB])\.weight", name, re.ASCII)
    if not found or int(found[1]) >= of.layers or found[2] not in matrix_sizes(of):
        raise _wrong(path, f"{name[:120]} belongs to no matrix of its base model ({of.family}, {of.layers} blocks)")
    return f"{int(found[1])}.{found[2]}", found[3]


def _wrong(path: Path, how: str) -> InputError:
    return InputError(f"the adapter {path} cannot be used: {how}", AGAIN)
