"""The architectures that Mynah trains and serves, described by the values of a checkpoint's config.json. Imports no torch.

A description says what a block computes; the decoder reads nothing else of a configuration. Sources: the configurations and models of
https://github.com/huggingface/transformers (gpt2, llama, qwen2, qwen3, gemma3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError
from mynah.models.rotary import Rotary

MAX_SIZE = 10**7  # of any number in a configuration
MAX_LAYERS = 1000
MAX_CONTEXT = 8192  # tokens: posts need no more, and the tables of positions and the caches of longer contexts take gigabytes
GELU = ("gelu_new", "gelu_pytorch_tanh")
LLAMA3_ROPE = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a decoder-only transformer computes.

    Attributes:
        family: config.json's model_type.
        vocabulary: Token ids.
        context: The longest sequence, in tokens; 8,192 at most.
        width: Numbers of a hidden state.
        layers: Blocks.
        heads: Query heads of a block.
        kv_heads: Key and value heads; each serves heads / kv_heads query heads (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).
        head: Numbers per head.
        inner: Width of the MLP.
        epsilon: Of the norms.
        activation: "gelu_tanh" or "silu".
        is_gated: Whether the MLP multiplies the activation of one product by another one (Shazeer 2020, https://arxiv.org/abs/2002.05202).
        rms_norm: Root-mean-square norms without bias (Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467), else layer norms.
        norm_offset: Added to the stored weights of the norms.
        qk_norms: Whether queries and keys are normalised per head.
        post_norms: Whether what attention and MLP add is normalised.
        qkv_bias: Whether the products for queries, keys and values have a bias.
        out_bias: Whether attention's last product has.
        mlp_bias: Whether the MLP's products have.
        score_scale: Factor of the attention's scores.
        embedding_scale: Factor of the token embeddings.
        rotary: A layer's rotary embeddings, one for each layer; empty where positions are learned embeddings.
        windows: Tokens that a layer attends to, one for each layer; 0: all.
        logits_cap: Logits are kept within this by tanh; 0: they are not.
        is_tied: Whether the last layer's weights are those of the token embeddings.
    """

    family: str
    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    epsilon: float
    activation: str
    windows: tuple[int, ...]
    is_gated: bool = True
    rms_norm: bool = True
    norm_offset: float = 0.0
    qk_norms: bool = False
    post_norms: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    score_scale: float = 1.0
    embedding_scale: float = 1.0
    rotary: tuple[Rotary, ...] = ()
    logits_cap: float = 0.0
    is_tied: bool = True

    @property
    def matrix_parameters(self) -> int:
        """Weights of the blocks' matrices."""
        attention = self.width * self.head * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + (3 if self.is_gated else 2) * self.width * self.inner)

    @property
    def parameters(self) -> int:
        """Weights of the model, but for norms and biases."""
        positions = 0 if self.rotary else self.context * self.width
        return self.matrix_parameters + positions + self.vocabulary * self.width * (1 if self.is_tied else 2)


def read_architecture(config: Mapping[str, Any], folder: Path) -> Architecture:
    """Describe the model of a config.json.

    Args:
        config: The configuration.
        folder: The checkpoint's folder, for messages.

    Raises:
        InputError: The architecture is not supported, or its values are impossible.
    """
    require_family(config, folder)
    try:
        found = _READERS[config["model_type"]](_Config(config, folder))
    except (TypeError, KeyError, ValueError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{folder}/config.json cannot be read: {error!r}", "Fetch or train the model again.") from error
    sizes = (found.vocabulary, found.context, found.width, found.layers, found.heads, found.kv_heads, found.head, found.inner)
    whole = all(isinstance(size, int) and 0 < size < MAX_SIZE for size in sizes)
    heads_fit = found.head % 2 == 0 if found.rotary else found.head * found.heads == found.width
    if not (whole and heads_fit and found.heads % found.kv_heads == 0):
        raise InputError(f"{folder}/config.json has impossible sizes: {list(sizes)}", "Fetch or train the model again.")
    if len(found.windows) != found.layers or len(found.rotary) not in (0, found.layers):
        raise InputError(
            f"{folder}/config.json does not say what each of {found.layers} layers computes", "Fetch the model again."
        )
    return found


def require_family(config: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError unless config.json names a supported architecture."""
    family = config.get("model_type")
    if family not in _READERS:
        kind = _kind(config)
        raise InputError(
            f"{folder} holds a model of type {family!r}{kind}, which is not supported",
            f"Use a model of one of these types: {', '.join(SUPPORTED)}.",
        )


def _kind(config: Mapping[str, Any]) -> str:
    if config.get("is_encoder_decoder"):
        return " (an encoder-decoder)"
    if any(key in config for key in ("num_experts", "num_local_experts", "n_routed_experts")):
        return " (a mixture of experts)"
    return " (text and images)" if "vision_config" in config else ""


class _Config:
    """Values of a config.json, with the refusals for what is not computed."""

    def __init__(self, values: Mapping[str, Any], folder: Path) -> None:
        self.values, self._folder = values, folder

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - JSON
        """The value, or the default where it is missing or null."""
        value = self.values.get(key)
        return default if value is None else value

    def layers(self, key: str, default: int | None = None) -> int:
        """The number of blocks, checked before anything is made for each of them."""
        layers = self.get(key, default)
        if not isinstance(layers, int) or not 0 < layers <= MAX_LAYERS:
            raise InputError(
                f"{self._folder}/config.json has impossible sizes: {key} = {layers!r}", "Fetch or train the model again."
            )
        return layers

    def require(self, key: str, *allowed: Any, default: Any = None) -> None:  # noqa: ANN401
        """Raise InputError for a value that means another computation."""
        if (value := self.get(key, default)) not in allowed:
            raise InputError(
                f"{self._folder}: {key} = {value!r} is not supported",
                f"Use a model with {key} = {' or '.join(map(str, allowed))}.",
            )

    def rotary(self, values: Mapping[str, Any]) -> Rotary:
        """Of `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` merged (before)."""
        kind = values.get("rope_type", values.get("type")) or "default"
        theta = float(values["rope_theta"])
        if values.get("partial_rotary_factor", 1.0) != 1.0:
            raise InputError(f"{self._folder}: partial rotary embeddings are not supported", "Use another model.")
        if kind == "default":
            return Rotary(theta)
        if kind == "linear":
            return Rotary(theta, float(values["factor"]))
        if kind == "llama3":
            factor, low, high, context = (float(values[key]) for key in LLAMA3_ROPE)
            return Rotary(theta, factor, (low, high, context))
        raise InputError(
            f"{self._folder}: the RoPE scaling {kind!r} is not supported", "Use a model with default, linear or llama3 scaling."
        )

    def rope(self, default_theta: float) -> Rotary:
        """One for all layers."""
        old = {"rope_theta": self.get("rope_theta", default_theta), **(self.get("rope_scaling") or {})}
        return self.rotary({**old, **self.get("rope_parameters", {})})


def _gpt2(config: _Config) -> Architecture:
    for key, value in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False), ("add_cross_attention", False)):
        config.require(key, value, default=value)
    config.require("activation_function", *GELU, default=GELU[0])
    width, heads, layers = config.get("n_embd", 768), config.get("n_head", 12), config.layers("n_layer", 12)
    return Architecture(
        "gpt2", config.get("vocab_size", 50257), config.get("n_positions", 1024), width, layers, heads, heads, width // heads,
        config.get("n_inner", 4 * width), float(config.get("layer_norm_epsilon", 1e-5)), "gelu_tanh", (0,) * layers,
        is_gated=False, rms_norm=False, qkv_bias=True, out_bias=True, mlp_bias=True, score_scale=(width // heads) ** -0.5,
        is_tied=config.get("tie_word_embeddings", True),
    )  # fmt: skip


def _rope_model(config: _Config, default_theta: float = 10_000.0, **changes: Any) -> Architecture:  # noqa: ANN401
    """Llama and its kin: RMS norms, rotary positions, gated MLPs without bias."""
    width, heads, layers = config.values["hidden_size"], config.values["num_attention_heads"], config.layers("num_hidden_layers")
    head = config.get("head_dim", width // heads)
    values: dict[str, Any] = {
        "activation": "silu", "windows": (0,) * layers, "score_scale": head**-0.5,
        "is_tied": config.get("tie_word_embeddings", False),
    }  # fmt: skip
    if "rotary" not in changes:
        values["rotary"] = (config.rope(default_theta),) * layers
    return Architecture(
        config.values["model_type"], config.values["vocab_size"], min(MAX_CONTEXT, config.get("max_position_embeddings", 2048)), width, layers, heads,
        config.get("num_key_value_heads", heads), head, config.values["intermediate_size"],
        float(config.get("rms_norm_eps", 1e-6)), **(values | changes),
    )  # fmt: skip


def _llama(config: _Config) -> Architecture:
    config.require("hidden_act", "silu", default="silu")
    config.require("pretraining_tp", 1, default=1)
    bias = bool(config.get("attention_bias", False))
    return _rope_model(config, qkv_bias=bias, out_bias=bias, mlp_bias=bool(config.get("mlp_bias", False)))


def _qwen2(config: _Config) -> Architecture:
    config.require("hidden_act", "silu", default="silu")
    return _rope_model(config, qkv_bias=True, windows=_windows(config))


def _qwen3(config: _Config) -> Architecture:
    config.require("hidden_act", "silu", default="silu")
    bias = bool(config.get("attention_bias", False))
    return _rope_model(config, qk_norms=True, qkv_bias=bias, out_bias=bias, windows=_windows(config))


def _windows(config: _Config) -> tuple[int, ...]:
    """Qwen's sliding windows, which most of its models do not use."""
    layers, window = config.layers("num_hidden_layers"), config.get("sliding_window", 0)
    if not config.get("use_sliding_window", False) or not window:
        return (0,) * layers
    first = config.get("max_window_layers", 28)
    kinds = config.get("layer_types", ["full_attention"] * min(first, layers) + ["sliding_attention"] * max(0, layers - first))
    return tuple(window if kind == "sliding_attention" else 0 for kind in kinds)


def _gemma3(config: _Config) -> Architecture:
    config.require("hidden_activation", *GELU, default=GELU[1])
    config.require("use_bidirectional_attention", False, default=False)
    config.require("attn_logit_softcapping", 0.0, default=0.0)  # transformers reads it and computes without
    layers, pattern = (
        config.layers("num_hidden_layers"),
        config.get("sliding_window_pattern", config.get("_sliding_window_pattern", 6)),
    )
    by_pattern = ["full_attention" if number % pattern == 0 else "sliding_attention" for number in range(1, layers + 1)]
    kinds = config.get("layer_types", by_pattern)
    bias = bool(config.get("attention_bias", False))
    width = config.values["hidden_size"]
    return _rope_model(
        config, rotary=_gemma3_rotary(config, kinds), activation="gelu_tanh", norm_offset=1.0, qk_norms=True, post_norms=True,
        qkv_bias=bias, out_bias=bias, embedding_scale=width**0.5, score_scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
        windows=tuple(config.get("sliding_window", 4096) if kind == "sliding_attention" else 0 for kind in kinds),
        logits_cap=float(config.get("final_logit_softcapping", 0.0)),
        is_tied=config.get("tie_word_embeddings", True),
    )  # fmt: skip


def _gemma3_rotary(config: _Config, kinds: list[str]) -> tuple[Rotary, ...]:
    """Local layers have their own base and no scaling."""
    given = config.get("rope_parameters", {})
    if "full_attention" in given:
        by_kind = {kind: config.rotary(values) for kind, values in given.items()}
    else:
        by_kind = {
            "full_attention": config.rope(1_000_000.0),
            "sliding_attention": Rotary(float(config.get("rope_local_base_freq", 10_000.0))),
        }
    return tuple(by_kind[kind] for kind in kinds)


_READERS: dict[str, Callable[[_Config], Architecture]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma3_text": _gemma3,
}
SUPPORTED = tuple(_READERS)
