"""Write a checkpoint folder as one GGUF file, which llama.cpp and what is built on it read.

Matrices get the type that is asked for; norms, biases and positions stay float32, as llama.cpp's own converter has it. Every text begins
with the token that a post begins with (`add_bos_token`), so that a program that knows nothing of Mynah continues a prompt as Mynah does.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Quantisation

from mynah.core.errors import InputError
from mynah.models.architecture import Architecture, read_architecture
from mynah.models.checkpoint import check_folder
from mynah.models.checkpoint_files import end_token, weight_files
from mynah.models.gguf.config import GEMMA_27B_LAYERS, GEMMA_LOCAL_THETA, GEMMA_PATTERN, rope_divisors
from mynah.models.gguf.families import GGUF_NAME_OF, LLAMA3_SCALING, ROPE_FACTORS, Array, TensorName, tensor_names, to_gguf
from mynah.models.gguf.tokenizer_json import load_tokenizer_json, vocabulary_of
from mynah.models.gguf.tokens import Json, Vocabulary
from mynah.models.rotary import Rotary

MatrixType = Literal["f32", "f16", "q8_0"]
MATRIX_TYPES: dict[str, Quantisation] = {kind: Quantisation[kind.upper()] for kind in get_args(MatrixType)}
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}  # fmt: skip
Opened = dict[str, tuple[Any, str]]  # a safetensors file, and a tensor's name in it


def write_gguf(checkpoint: Path, path: Path, kind: str = "f16", *, name: str = "", licence: str = "") -> Path:
    """Write the model of `checkpoint` to `path`, a tensor at a time.

    Args:
        checkpoint: Hugging Face's folder.
        path: The file.
        kind: The type of the matrices, one of MATRIX_TYPES. A matrix whose rows q8_0 does not divide is f16.
        name: The model's name in the file.
        licence: Its licence there, as an SPDX identifier.

    Returns:
        `path`.

    Raises:
        InputError: The checkpoint is not whole, or GGUF cannot express it.
    """
    config = check_folder(checkpoint)
    of = read_architecture(config, checkpoint)
    _require_expressible(checkpoint, of)
    tokenizer = load_tokenizer_json(checkpoint)
    vocabulary = vocabulary_of(checkpoint, tokenizer, of.vocabulary)
    end = end_token(config)
    if end is None or end >= len(vocabulary.tokens):
        raise InputError(f"{checkpoint} names no end token of its tokenizer: {end}", "Save its own tokenizer beside the model.")
    writer = gguf.GGUFWriter(path, GGUF_NAME_OF[of.family])
    try:
        _add_settings(writer, of, config, kind)
        if name:
            writer.add_name(name)
        if licence:
            writer.add_license(licence)
        _add_tokenizer(writer, vocabulary, _begin(checkpoint, tokenizer, vocabulary, end), end)
        _write_tensors(writer, checkpoint, of, kind)
    finally:
        writer.close()
    return path


def _require_expressible(checkpoint: Path, of: Architecture) -> None:
    """Raise InputError for a model that llama.cpp would read without an error and compute otherwise."""
    problem = ""
    if of.family == "gemma3_text":
        kinds = [number % GEMMA_PATTERN > 0 for number in range(1, of.layers + 1)]
        scale = (of.width // of.heads if of.layers == GEMMA_27B_LAYERS else of.head) ** -0.5
        local = {of.rotary[number].theta for number, is_local in enumerate(kinds) if is_local}
        if [window > 0 for window in of.windows] != kinds or local - {GEMMA_LOCAL_THETA}:
            problem = "its local layers are not Gemma 3's (five of six, with a base of 10,000)"
        elif not np.isclose(of.score_scale, scale) or of.logits_cap or of.qkv_bias:
            problem = "its attention is not Gemma 3's"
    elif any(of.windows):
        problem = "it has sliding windows"
    if problem:
        raise InputError(f"{checkpoint} cannot be written as GGUF: {problem}", "Export it --to folder.")


def _add_settings(writer: gguf.GGUFWriter, of: Architecture, config: dict[str, Any], kind: str) -> None:
    writer.add_block_count(of.layers)
    writer.add_context_length(int(config.get("max_position_embeddings") or of.context))
    writer.add_embedding_length(of.width)
    writer.add_feed_forward_length(of.inner)
    writer.add_head_count(of.heads)
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if not of.rms_norm:
        return writer.add_layer_norm_eps(of.epsilon)
    writer.add_layer_norm_rms_eps(of.epsilon)
    writer.add_vocab_size(of.vocabulary)
    writer.add_head_count_kv(of.kv_heads)
    writer.add_key_length(of.head)
    writer.add_value_length(of.head)
    writer.add_rope_dimension_count(of.head)
    rotary = _global_rotary(of)
    writer.add_rope_freq_base(rotary.theta)
    if rotary.factor != 1.0 and not rotary.llama3:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rotary.factor)
    if window := max(of.windows):
        writer.add_sliding_window(window)
    return None


def _global_rotary(of: Architecture) -> Rotary:
    """Of the layers without a window, which is what GGUF's settings mean."""
    return next((rotary for rotary, window in zip(of.rotary, of.windows, strict=True) if not window), of.rotary[0])


def _begin(checkpoint: Path, found: Json, vocabulary: Vocabulary, end: int) -> int:
    """The id of the token that a post begins with, as `mynah.models.checkpoint.load` has it."""
    import tokenizers

    if not found.get("post_processor"):
        return end
    try:
        first = tokenizers.Tokenizer.from_str(json.dumps(found)).encode("").ids[:1]
    except Exception as error:  # the library raises plain Exception for whatever it cannot read
        raise InputError(
            f"the tokenizer of {checkpoint} cannot be read: {str(error)[:200]}", "Save it beside the model again."
        ) from error
    return int(first[0]) if first and first[0] < len(vocabulary.tokens) else end


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: Vocabulary, begin: int, end: int) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre or "default")
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.kinds))
    if vocabulary.model == "gpt2":
        writer.add_token_merges(list(vocabulary.merges))
    else:
        writer.add_token_scores(list(vocabulary.scores))
    writer.add_add_space_prefix(vocabulary.adds_blank)
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _write_tensors(writer: gguf.GGUFWriter, checkpoint: Path, of: Architecture, kind: str) -> None:
    names = list(tensor_names(of))
    for name in names:
        block, nbytes = gguf.GGML_QUANT_SIZES[_type_of(name, kind)]
        size = int(np.prod(name.shape)) // block * nbytes
        writer.add_tensor_info(name.gguf, name.stored_shape, np.dtype(np.float32), size, _type_of(name, kind))
    rotary = _global_rotary(of) if of.rotary else None
    if rotary and rotary.llama3:
        _require_llama3(checkpoint, rotary.llama3)
        writer.add_tensor_info(ROPE_FACTORS, (of.head // 2,), np.dtype(np.float32), 2 * of.head, Quantisation.F32)
    where = _opened(checkpoint)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in names:
        numbers = to_gguf(_take(checkpoint, where, name), name, of)
        writer.write_tensor_data(_quantised(checkpoint, numbers, name, _type_of(name, kind)))
    if rotary and rotary.llama3:
        writer.write_tensor_data(rope_divisors(rotary, of.head))


def _opened(checkpoint: Path) -> Opened:
    """The checkpoint's weight files by tensor, each with the tensor's name in it. Raises InputError for one that cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        files: list[Any] = [safe_open(path, "pt") for path in weight_files(checkpoint)]
        return {_plain(name): (file, name) for file in files for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"the weights of {checkpoint} cannot be read: {error}", "Are they whole? Train it again.") from error


def _require_llama3(checkpoint: Path, found: tuple[float, float, float]) -> None:
    if found != tuple(map(float, LLAMA3_SCALING.values())):
        raise InputError(
            f"{checkpoint} cannot be written as GGUF: its RoPE scaling is not Llama 3's own", "Export it --to folder."
        )


def _plain(name: str) -> str:
    """A tensor's name without what some checkpoints put before it."""
    return name.removeprefix("transformer.").removeprefix("model.")


def _take(checkpoint: Path, where: Opened, name: TensorName) -> Array:
    """A tensor of the checkpoint in fp32."""
    file, stored = where.get(_plain(name.checkpoint), (None, ""))
    if file is None:
        raise InputError(f"{checkpoint} lacks its weights {name.checkpoint!r}", "Train it again.")
    found: Array = file.get_tensor(stored).float().numpy()
    if found.shape != name.shape:
        raise InputError(
            f"{checkpoint}: {stored} is {list(found.shape)}, and must be {list(name.shape)} by its config.json", "Train it again."
        )
    return found


def _type_of(name: TensorName, kind: str) -> Quantisation:
    if not name.is_matrix:
        return Quantisation.F32
    found = MATRIX_TYPES[kind]
    return Quantisation.F16 if name.stored_shape[-1] % gguf.GGML_QUANT_SIZES[found][0] else found


def _quantised(checkpoint: Path, numbers: Array, name: TensorName, kind: Quantisation) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.ascontiguousarray(gguf.quants.quantize(np.ascontiguousarray(numbers), kind))
    if not np.isfinite(numbers).all() or (
        kind is not Quantisation.F32 and np.abs(numbers).max(initial=0) > np.finfo(np.float16).max
    ):
        raise InputError(f"{checkpoint}: {name.checkpoint} has numbers that {kind.name} cannot hold", "Train it again.")
    return found
