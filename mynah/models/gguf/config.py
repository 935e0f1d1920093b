"""config.json of a GGUF file's settings, in the form of transformers 5."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mynah.core.errors import InputError
from mynah.models.gguf.families import CLASS_OF, FAMILY_OF, LLAMA3_SCALING, ROPE_FACTORS
from mynah.models.gguf.header import GgufFile
from mynah.models.rotary import Rotary

GEMMA_LOCAL_THETA, GEMMA_PATTERN = 10_000.0, 6  # what llama.cpp takes where a file does not say
GEMMA_27B_LAYERS = 62  # the one Gemma 3 whose scores are scaled by width / heads (llama.cpp, src/models/gemma3.cpp)
LARGEST = 10**7  # of any number in a configuration


class Settings:
    """The settings of an architecture: the values whose names begin with it."""

    def __init__(self, file: GgufFile) -> None:
        """Raises InputError for an architecture that is not supported."""
        self.file = file
        self.architecture = str(file.values.get("general.architecture", ""))
        if self.architecture not in FAMILY_OF:
            raise InputError(
                f"{file.path} holds a model of the architecture {self.architecture[:40]!r}, which is not supported",
                f"Use a file of one of these: {', '.join(FAMILY_OF)}.",
            )
        if self.get("expert_count", 0):
            raise InputError(
                f"{file.path} holds a mixture of experts, which is not supported",
                f"Use a file of one of these, without experts: {', '.join(FAMILY_OF)}.",
            )

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - a number or a string
        """The value of `ARCHITECTURE.name`."""
        return self.file.values.get(f"{self.architecture}.{name}", default)

    def size(self, name: str, default: int | None = None) -> int:
        """A whole number. Raises InputError when it is missing, none, or differs between layers."""
        found = self.get(name, default)
        if isinstance(found, list) and found and all(each == found[0] for each in found):
            found = found[0]
        if not isinstance(found, int) or isinstance(found, bool) or not 0 < found < LARGEST:
            raise self.unusable(name, found)
        return found

    def real(self, name: str, default: float | None = None) -> float:
        """A positive number, as its shortest decimal: 1e-05, of which float32 keeps 9.99999974738e-06."""
        found = self.get(name, default)
        if not isinstance(found, int | float) or isinstance(found, bool) or not math.isfinite(found) or not 0 < found < 1e12:
            raise self.unusable(name, found)
        return float(str(np.float32(found)))

    def unusable(self, name: str, value: object) -> InputError:
        """The error for a value that is missing or makes no sense."""
        shown = "does not have" if value is None else f"has {str(value)[:60]} as"
        return InputError(
            f"{self.file.path} {shown} {self.architecture}.{name}", "Fetch it again, or convert it with a current llama.cpp."
        )


def config_of(file: GgufFile, begin: int | None, end: int) -> dict[str, Any]:
    """Return the config.json of a file.

    Args:
        file: The file.
        begin: The id of the token that begins a text, where the file names one.
        end: The id of the token that ends one.

    Raises:
        InputError: The architecture is not supported, or its settings are missing or impossible.
    """
    settings = Settings(file)
    family = FAMILY_OF[settings.architecture]
    embeddings = file.tensors.get("token_embd.weight")
    if embeddings is None or len(embeddings.shape) != 2:
        raise InputError(f"{file.path} has no token embeddings (token_embd.weight)", "Name a file with a whole model.")
    shared = {
        "architectures": [CLASS_OF[family]], "model_type": family, "vocab_size": embeddings.shape[0], "dtype": "float16",
        "bos_token_id": begin, "eos_token_id": end, "tie_word_embeddings": is_tied(file),
    }  # fmt: skip
    own = _gpt2(settings) if family == "gpt2" else _rope_model(settings)
    if family == "gemma3_text":
        own |= _gemma3(settings)
    return shared | own


def is_tied(file: GgufFile) -> bool:
    """Whether the last layer has the token embeddings' weights: the file has no others, or the same once more."""
    last, tokens = file.tensors.get("output.weight"), file.tensors.get("token_embd.weight")
    if last is None or tokens is None:
        return True
    if (last.shape, last.quantisation) != (tokens.shape, tokens.quantisation):
        return False
    return bool(np.array_equal(file.raw(last), file.raw(tokens)))


def _gpt2(settings: Settings) -> dict[str, Any]:
    return {
        "activation_function": "gelu_new",
        "n_positions": settings.size("context_length"),
        "n_embd": settings.size("embedding_length"),
        "n_layer": settings.size("block_count"),
        "n_head": settings.size("attention.head_count"),
        "n_inner": settings.size("feed_forward_length"),
        "layer_norm_epsilon": settings.real("attention.layer_norm_epsilon"),
    }


def _rope_model(settings: Settings) -> dict[str, Any]:
    width, heads = settings.size("embedding_length"), settings.size("attention.head_count")
    head = settings.size("attention.key_length", width // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if settings.size(name, head) != head:
            raise settings.unusable(name, settings.get(name))
    tensors = settings.file.tensors
    return {
        "max_position_embeddings": settings.size("context_length"),
        "hidden_size": width,
        "intermediate_size": settings.size("feed_forward_length"),
        "num_hidden_layers": settings.size("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": settings.size("attention.head_count_kv", heads),
        "head_dim": head,
        "rms_norm_eps": settings.real("attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "attention_bias": settings.architecture in ("llama", "qwen3") and "blk.0.attn_q.bias" in tensors,
        "mlp_bias": settings.architecture == "llama" and "blk.0.ffn_up.bias" in tensors,
        "rope_parameters": _rope(settings, head),
    }


def _rope(settings: Settings, head: int) -> dict[str, Any]:
    theta = settings.real("rope.freq_base", 10_000.0)
    if ROPE_FACTORS in settings.file.tensors:
        return _llama3_rope(settings, theta, head)
    kind = settings.get("rope.scaling.type", "none")
    if kind in ("none", "") or settings.get("rope.scaling.factor", 1.0) in (0, 1):
        return {"rope_type": "default", "rope_theta": theta}
    if kind != "linear":
        raise InputError(
            f"{settings.file.path}: the RoPE scaling {str(kind)[:40]!r} is not supported",
            "Use a model without, or with linear scaling.",
        )
    return {"rope_type": "linear", "rope_theta": theta, "factor": settings.real("rope.scaling.factor")}


def _llama3_rope(settings: Settings, theta: float, head: int) -> dict[str, Any]:
    """Llama 3's scaling, of which the file has only the result: what each frequency is divided by."""
    tensor = settings.file.tensors[ROPE_FACTORS]
    if tensor.shape != (head // 2,) or tensor.quantisation.name != "F32":
        raise settings.unusable(ROPE_FACTORS, f"{list(tensor.shape)} in {tensor.quantisation.name}")
    divisors = settings.file.raw(tensor).view(np.float32).ravel()
    factor = float(divisors[-1])
    if np.isfinite(divisors).all() and divisors.min() > 0:
        found = rope_divisors(Rotary(theta, factor, tuple(float(each) for each in LLAMA3_SCALING.values())), head)  # type: ignore[arg-type]
        if np.allclose(found, divisors, rtol=1e-3):
            return {"rope_type": "llama3", "rope_theta": theta, "factor": factor, **LLAMA3_SCALING}
    raise InputError(f"{settings.file.path}: the RoPE factors in {ROPE_FACTORS} are not those of a Llama 3", "Use another model.")


def rope_divisors(rotary: Rotary, head: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What Llama 3's scaling divides each frequency by, fp32 [head / 2]; `head`: numbers per head."""
    plain, scaled = Rotary(rotary.theta).frequencies(head), rotary.frequencies(head)
    return np.array([one / other for one, other in zip(plain, scaled, strict=True)], np.float32)


def _gemma3(settings: Settings) -> dict[str, Any]:
    layers, width, heads = (settings.size(name) for name in ("block_count", "embedding_length", "attention.head_count"))
    if layers > len(settings.file.tensors):
        raise settings.unusable("block_count", layers)
    pattern = settings.size("attention.sliding_window_pattern", GEMMA_PATTERN)
    head = settings.size("attention.key_length", width // heads)
    kinds = ["sliding_attention" if number % pattern else "full_attention" for number in range(1, layers + 1)]
    local = {"rope_type": "default", "rope_theta": settings.real("rope.freq_base_swa", GEMMA_LOCAL_THETA)}
    cap = settings.get("final_logit_softcapping")
    return {
        "hidden_activation": "gelu_pytorch_tanh",
        "layer_types": kinds,
        "sliding_window": settings.size("attention.sliding_window", 4096),
        "query_pre_attn_scalar": width // heads if layers == GEMMA_27B_LAYERS else head,
        "rope_parameters": {"full_attention": _rope(settings, head), "sliding_attention": local},
        "final_logit_softcapping": settings.real("final_logit_softcapping") if cap else None,
    }


def special_ids(values: Mapping[str, Any]) -> dict[str, int]:
    """The ids that a file gives its special tokens, such as {"bos": 1, "eos": 2}."""
    names = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
    found = {name: values.get(f"tokenizer.ggml.{key}") for name, key in names.items()}
    return {name: value for name, value in found.items() if isinstance(value, int) and not isinstance(value, bool)}
