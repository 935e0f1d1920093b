"""A GGUF file as a checkpoint folder: converted once into the cache, and from then on a folder as any other.

Numbers keep the type that they have in the file; those of a quantisation become float16, whose 11 bits are finer than every quantisation's
steps, and whose range is that of the quantisations' own scales. bfloat16 would round them to 8 bits, and float32 take twice the space for
nothing.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from filelock import FileLock, Timeout
from gguf import GGMLQuantizationType as Quantisation

from mynah.core.caches import cache_folder
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import atomic_folder, digest, make_folder, require_space, storage_errors, write_json, write_text
from mynah.core.progress import waiting
from mynah.models.architecture import Architecture, read_architecture
from mynah.models.gguf.config import config_of, is_tied, special_ids
from mynah.models.gguf.families import ROPE_FACTORS, Array, Change, TensorName, from_gguf, tensor_names
from mynah.models.gguf.header import GgufFile, StoredTensor, read_header, require_magic
from mynah.models.gguf.tokenizer_json import tokenizer_json
from mynah.models.gguf.tokens import Vocabulary, adds_begin, read_vocabulary
from mynah.models.licenses import license_id

FORM = 1  # of the folder: another number where later code writes another
SECONDS_TO_CONVERT = 600.0
NUMBERS_AT_ONCE = 2**22
KEPT = {Quantisation.F32: ("F32", 4), Quantisation.F16: ("F16", 2), Quantisation.BF16: ("BF16", 2)}  # safetensors' types
HALF = ("F16", 2)


def checkpoint_of(path: Path) -> Path:
    """Return the checkpoint folder of a GGUF file, converted when it is asked for first.

    Raises:
        InputError: The file is no whole GGUF of a supported architecture, tokenizer and quantisation.
        PlatformError: The cache cannot be written, or another process has been converting the file for ten minutes.
    """
    require_magic(path)
    target = cache_folder("gguf") / f"{digest(path)[:32]}-{FORM}"
    make_folder(target.parent)
    try:
        with storage_errors(target), FileLock(f"{target}.lock", timeout=SECONDS_TO_CONVERT):
            if not target.is_dir():
                with waiting(f"Converting {path.name}"), atomic_folder(target) as folder:
                    convert(path, folder)
    except Timeout as error:
        raise PlatformError(
            f"another mynah has been converting {path.name} for {SECONDS_TO_CONVERT:.0f} s", "Wait for it, or stop it."
        ) from error
    return target


def convert(path: Path, folder: Path) -> None:
    """Write the checkpoint of a GGUF file into `folder`: config.json, tokenizer.json, tokenizer_config.json, model.safetensors."""
    file = read_header(path)
    special = special_ids(file.values)
    embeddings = file.tensors.get("token_embd.weight")
    config = config_of(file, special.get("bos"), special.get("eos", -1))
    vocabulary = read_vocabulary(path, file.values, embeddings.shape[0] if embeddings else 0)
    _require_ids(file, special, vocabulary)
    if max(config.get("num_hidden_layers", 0), config.get("n_layer", 0)) > len(file.tensors):
        raise InputError(f"{path} has fewer tensors than layers", "Name a file with a whole model.")
    of = read_architecture(config, path)
    names = _names(file, of)
    require_space(folder, sum(_nbytes(file, name) for name in names), f"the converted {path.name}")
    write_json(folder / "config.json", config)
    if named := license_id(file.values.get("general.license")):
        write_text(folder / "README.md", f"---\nlicense: {json.dumps(named)}\n---\n")  # where `licenses.license_of` reads it
    _write_tokenizer(file, folder, vocabulary, special, of.context)
    _write_weights(file, folder / "model.safetensors", names, of)


def _require_ids(file: GgufFile, special: dict[str, int], vocabulary: Vocabulary) -> None:
    if "eos" not in special:
        raise InputError(
            f"{file.path} names no token that ends a text (tokenizer.ggml.eos_token_id)",
            "Convert it again with a current llama.cpp.",
        )
    for name, number in special.items():
        if not 0 <= number < len(vocabulary.tokens):
            raise InputError(
                f"{file.path}: the token {name} is {number}, and the tokenizer has {len(vocabulary.tokens):,}", "Fetch it again."
            )


def _names(file: GgufFile, of: Architecture) -> list[TensorName]:
    """The tensors to convert. Raises InputError where the file lacks one, has one of another shape, or has others."""
    names = list(tensor_names(of))
    for name in names:
        found = file.tensors.get(name.gguf)
        if found is None:
            raise InputError(f"{file.path} lacks its tensor {name.gguf!r}", "Name a file with a whole model, not a part of one.")
        if found.shape != name.stored_shape:
            raise InputError(
                f"{file.path}: {name.gguf} is {list(found.shape)}, and must be {list(name.stored_shape)} by its settings",
                "Fetch it again.",
            )
    others = set(file.tensors) - {name.gguf for name in names} - {ROPE_FACTORS}
    if is_tied(file):
        others.discard("output.weight")
    if others:
        raise InputError(
            f"{file.path} has tensors that a {of.family} does not: {', '.join(sorted(others)[:3])}",
            "Use another model: what they compute is not supported.",
        )
    return names


def _nbytes(file: GgufFile, name: TensorName) -> int:
    return int(np.prod(name.shape)) * KEPT.get(file.tensors[name.gguf].quantisation, HALF)[1]


def _write_tokenizer(file: GgufFile, folder: Path, vocabulary: Vocabulary, special: dict[str, int], context: int) -> None:
    import tokenizers

    begin = special.get("bos", special["eos"]) if adds_begin(file.values, vocabulary) else None
    try:
        found = tokenizer_json(vocabulary, begin, list(special.values()))
        tokenizers.Tokenizer.from_str(json.dumps(found))
    except Exception as error:  # the library raises plain Exception for whatever it cannot read
        raise InputError(f"the tokenizer of {file.path} cannot be used: {str(error)[:200]}", "Fetch it again.") from error
    write_json(folder / "tokenizer.json", found)
    named = {f"{name}_token": vocabulary.tokens[number] for name, number in special.items()}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "model_max_length": context,
            "clean_up_tokenization_spaces": False, **named,
        },
    )  # fmt: skip


def _write_weights(file: GgufFile, path: Path, names: list[TensorName], of: Architecture) -> None:
    """Write safetensors, some rows at a time: a model of any size takes a few megabytes of memory.

    The format (https://github.com/huggingface/safetensors#format): the header's length as uint64, a JSON header, the numbers.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        kind, begin = KEPT.get(file.tensors[name.gguf].quantisation, HALF)[0], end
        end += _nbytes(file, name)
        header[name.checkpoint] = {"dtype": kind, "shape": list(name.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for part in _parts(file, name, of):
                out.write(part)


def _parts(file: GgufFile, name: TensorName, of: Architecture) -> Iterator[bytes]:
    """The bytes of a tensor in the checkpoint, in order. Raises InputError for numbers that are not finite."""
    tensor = file.tensors[name.gguf]
    rows = file.raw(tensor)
    at_once = max(1, NUMBERS_AT_ONCE // tensor.shape[-1]) if name.change is Change.SAME else len(rows)
    for begin in range(0, len(rows), at_once):
        numbers = _numbers(tensor, rows[begin : begin + at_once])
        if name.change is not Change.SAME:
            numbers = from_gguf(numbers.reshape(tensor.shape), name, of)
        with np.errstate(over="ignore"):
            part = _bits(numbers, tensor.quantisation)
        if not np.isfinite(numbers).all() or (part.dtype == np.float16 and not np.isfinite(part).all()):
            raise InputError(f"{file.path}: {name.gguf} has numbers that are not finite", "Fetch it again.")
        yield part.tobytes()


def _numbers(tensor: StoredTensor, rows: np.ndarray[Any, np.dtype[np.uint8]]) -> Array:
    """uint8 [rows, bytes] -> fp32 [rows, columns]."""
    # The package takes 16 rows at once, and blocks are independent of rows: with fewer, longer rows it is several times faster.
    longer = rows.reshape(len(rows) // math.gcd(len(rows), 64), -1)
    with np.errstate(all="ignore"):  # what is not finite is refused
        found: Array = np.asarray(gguf.quants.dequantize(longer, tensor.quantisation), np.float32)
    return found.reshape(len(rows), tensor.shape[-1])


def _bits(numbers: Array, quantisation: Quantisation) -> np.ndarray[Any, Any]:
    """fp32 numbers in the type that the checkpoint gets."""
    if quantisation is Quantisation.F32:
        return numbers
    if quantisation is Quantisation.BF16:  # exact: they were bfloat16 before
        return (np.ascontiguousarray(numbers).view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(np.float16)
