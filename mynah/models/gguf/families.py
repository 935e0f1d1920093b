"""The five architectures in GGUF: what their settings and tensors are called there, and how the numbers differ.

Sources: llama.cpp's converter (https://github.com/ggml-org/llama.cpp, convert_hf_to_gguf.py and the package gguf), and the models of
https://github.com/huggingface/transformers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from mynah.models.architecture import Architecture

Array = np.ndarray[Any, np.dtype[np.float32]]
FAMILY_OF = {"gpt2": "gpt2", "llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text"}  # by GGUF's name
GGUF_NAME_OF = {family: name for name, family in FAMILY_OF.items()}
CLASS_OF = {
    "gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}  # fmt: skip
ROPE_FACTORS = "rope_freqs.weight"  # fp32 [head / 2]: what Llama 3 divides each frequency by
LLAMA3_SCALING = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}  # of every Llama 3


class Change(Enum):
    """How a tensor in GGUF differs from the checkpoint's."""

    SAME = auto()
    TRANSPOSED = auto()  # GPT-2's Conv1D keeps [in, out]
    QUERIES = auto()  # rows of a head: GGUF has the two numbers of a rotary pair side by side, transformers in two halves
    KEYS = auto()
    PLUS_ONE = auto()  # Gemma's norms multiply by 1 + weight, and GGUF keeps that


@dataclass(frozen=True, slots=True)
class TensorName:
    """A tensor of an architecture.

    Attributes:
        checkpoint: Its name in safetensors.
        gguf: Its name in GGUF.
        shape: In the checkpoint.
        change: How GGUF's numbers differ.
    """

    checkpoint: str
    gguf: str
    shape: tuple[int, ...]
    change: Change = Change.SAME

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in GGUF."""
        return self.shape[::-1] if self.change is Change.TRANSPOSED else self.shape

    @property
    def is_matrix(self) -> bool:
        """Whether it is quantised: vectors and positions are not."""
        return len(self.shape) == 2 and not self.gguf.startswith("position_embd")


def tensor_names(of: Architecture) -> Iterator[TensorName]:
    """The tensors of an architecture."""
    return _gpt2(of) if of.family == "gpt2" else _llama(of)


def _gpt2(of: Architecture) -> Iterator[TensorName]:
    width = of.width
    yield TensorName("transformer.wte.weight", "token_embd.weight", (of.vocabulary, width))
    yield TensorName("transformer.wpe.weight", "position_embd.weight", (of.context, width))
    norms = [("transformer.ln_f", "output_norm")]
    for n in range(of.layers):
        norms += [(f"transformer.h.{n}.ln_1", f"blk.{n}.attn_norm"), (f"transformer.h.{n}.ln_2", f"blk.{n}.ffn_norm")]
        for name, target, rows, columns in (
            ("attn.c_attn", "attn_qkv", width, 3 * width),
            ("attn.c_proj", "attn_output", width, width),
            ("mlp.c_fc", "ffn_up", width, of.inner),
            ("mlp.c_proj", "ffn_down", of.inner, width),
        ):
            yield TensorName(f"transformer.h.{n}.{name}.weight", f"blk.{n}.{target}.weight", (rows, columns), Change.TRANSPOSED)
            yield TensorName(f"transformer.h.{n}.{name}.bias", f"blk.{n}.{target}.bias", (columns,))
    for name, target in norms:
        yield TensorName(f"{name}.weight", f"{target}.weight", (width,))
        yield TensorName(f"{name}.bias", f"{target}.bias", (width,))
    if not of.is_tied:
        yield TensorName("lm_head.weight", "output.weight", (of.vocabulary, width))


def _llama(of: Architecture) -> Iterator[TensorName]:
    norm = Change.PLUS_ONE if of.norm_offset else Change.SAME
    yield TensorName("model.embed_tokens.weight", "token_embd.weight", (of.vocabulary, of.width))
    yield TensorName("model.norm.weight", "output_norm.weight", (of.width,), norm)
    if not of.is_tied:
        yield TensorName("lm_head.weight", "output.weight", (of.vocabulary, of.width))
    for number in range(of.layers):
        at, to = f"model.layers.{number}", f"blk.{number}"
        for name, target, shape, change, has_bias in _matrices(of):
            yield TensorName(f"{at}.{name}.weight", f"{to}.{target}.weight", shape, change)
            if has_bias:
                yield TensorName(f"{at}.{name}.bias", f"{to}.{target}.bias", shape[:1], change)
        for name, target, size in _norms(of):
            yield TensorName(f"{at}.{name}.weight", f"{to}.{target}.weight", (size,), norm)


def _matrices(of: Architecture) -> Iterator[tuple[str, str, tuple[int, int], Change, bool]]:
    """Names, shape, change, and whether there is a bias, of a block's matrices."""
    queries, keys = of.heads * of.head, of.kv_heads * of.head
    is_permuted = of.family == "llama"
    yield "self_attn.q_proj", "attn_q", (queries, of.width), Change.QUERIES if is_permuted else Change.SAME, of.qkv_bias
    yield "self_attn.k_proj", "attn_k", (keys, of.width), Change.KEYS if is_permuted else Change.SAME, of.qkv_bias
    yield "self_attn.v_proj", "attn_v", (keys, of.width), Change.SAME, of.qkv_bias
    yield "self_attn.o_proj", "attn_output", (of.width, queries), Change.SAME, of.out_bias
    yield "mlp.gate_proj", "ffn_gate", (of.inner, of.width), Change.SAME, of.mlp_bias
    yield "mlp.up_proj", "ffn_up", (of.inner, of.width), Change.SAME, of.mlp_bias
    yield "mlp.down_proj", "ffn_down", (of.width, of.inner), Change.SAME, of.mlp_bias


def _norms(of: Architecture) -> Iterator[tuple[str, str, int]]:
    """Names and size of a block's norms."""
    yield "input_layernorm", "attn_norm", of.width
    if of.post_norms:
        yield "post_attention_layernorm", "post_attention_norm", of.width
        yield "pre_feedforward_layernorm", "ffn_norm", of.width
        yield "post_feedforward_layernorm", "post_ffw_norm", of.width
    else:
        yield "post_attention_layernorm", "ffn_norm", of.width
    if of.qk_norms:
        yield "self_attn.q_norm", "attn_q_norm", of.head
        yield "self_attn.k_norm", "attn_k_norm", of.head


def to_gguf(numbers: Array, name: TensorName, of: Architecture) -> Array:
    """A checkpoint's tensor, fp32 of `name.shape`, as GGUF has it: fp32 of `name.stored_shape`."""
    if name.change is Change.TRANSPOSED:
        return np.ascontiguousarray(numbers.T)
    if name.change in (Change.QUERIES, Change.KEYS):
        heads = of.heads if name.change is Change.QUERIES else of.kv_heads
        return numbers.reshape(heads, 2, of.head // 2, -1).swapaxes(1, 2).reshape(name.shape)
    return numbers + np.float32(1) if name.change is Change.PLUS_ONE else numbers


def from_gguf(numbers: Array, name: TensorName, of: Architecture) -> Array:
    """What `to_gguf` undoes: fp32 of `name.stored_shape` -> fp32 of `name.shape`."""
    if name.change is Change.TRANSPOSED:
        return np.ascontiguousarray(numbers.T)
    if name.change in (Change.QUERIES, Change.KEYS):
        heads = of.heads if name.change is Change.QUERIES else of.kv_heads
        return numbers.reshape(heads, of.head // 2, 2, -1).swapaxes(1, 2).reshape(name.shape)
    return numbers - np.float32(1) if name.change is Change.PLUS_ONE else numbers
