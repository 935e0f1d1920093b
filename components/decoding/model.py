"""One bot's GPT-2 in memory, laid out for decoding: read from safetensors without transformers, whose import takes seconds.

Architecture: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; the names are those of
https://github.com/huggingface/transformers, models/gpt2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, linear

from components.checkpoint import check_folder
from components.decoding.tokenizer import Tokenizer, shared_tokenizer
from components.errors import InputError
from components.machine import cores_to_use
from components.verbatim import Bloom, read_bloom

THREADS = cores_to_use(torch.get_num_threads())  # as the machine, the container or OMP_NUM_THREADS has it
PAD = 256  # the vocabulary is padded to a multiple of this: see sampler.py
Op = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. `qkv` holds the scale of the attention's scores already."""

    norm_1: tuple[Tensor, Tensor]
    qkv: Op
    out: Op
    norm_2: tuple[Tensor, Tensor]
    up: Op  # with its GELU
    down: Op


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a GPT-2."""

    vocabulary: int
    context: int
    width: int
    heads: int
    layers: int

    @property
    def head(self) -> int:
        """Numbers per head."""
        return self.width // self.heads


@dataclass(frozen=True, eq=False)
class Model:
    """A bot's weights, tokenizer and Bloom filter. Compared by identity."""

    folder: Path
    shape: Shape
    end: int  # the id of the token that stands between posts
    epsilon: float
    tokens: Tensor  # bf16 [vocabulary, width]
    positions: Tensor  # fp32 [context, width]
    layers: tuple[Layer, ...]
    norm: tuple[Tensor, Tensor]
    head: Op  # bf16 [rows, width] -> bf16 [rows, padded vocabulary]: the logits less a number per row; -inf in the padding
    mean: Tensor  # fp32 [width]: `hidden @ mean` is that number
    tokenizer: Tokenizer
    bloom: Bloom | None
    nbytes: int

    @property
    def context(self) -> int:
        """The longest sequence the model attends to, in tokens."""
        return self.shape.context

    def encode(self, text: str) -> list[int]:
        """Token ids; a literal <|endoftext|> in the text is taken as plain characters."""
        return self.tokenizer.encode(text)

    def warm_up(self) -> None:
        """Generate a token for nothing, so that no caller waits for kernels that are chosen on their first use. Blocks."""
        from components.decoding.decoder import Batch

        batch = Batch(self)
        batch.add([[self.end]], [1])
        batch.step([self.end])

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.tokens.device


def decode_here() -> None:
    """Make the calling thread the one that computes with every core. See `load_here`."""
    torch.set_num_threads(THREADS)


def load_here() -> None:
    """Keep the calling thread to one core, now and later.

    OpenMP gives each thread that computes a team of its own, and lets teams sleep between two operations as soon as there are more
    of them than cores: a step of GPT-2 then takes 13 ms instead of 8. So only the engine's thread has a team.
    """
    torch.set_num_threads(1)


def load_model(folder: Path, device: str = "") -> Model:
    """Load a Hugging Face folder, bf16, in 10 to 300 ms; `device` "" is the GPU where there is one, else the CPU. Blocks.

    Raises InputError when the folder is not a whole GPT-2 checkpoint, or is one of a kind that is not served.
    """
    config = check_folder(folder)
    shape = _shape(folder, config)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    tokenizer = shared_tokenizer(folder)
    end = _end(folder, config, tokenizer)
    with torch.inference_mode():
        return _assemble(folder, config, shape, _Weights(folder, shape), where, tokenizer, end)


def _assemble(
    folder: Path, config: dict[str, Any], shape: Shape, weights: "_Weights", where: torch.device, tokenizer: Tokenizer, end: int
) -> Model:
    width, make = shape.width, _Linears(where)

    def norm(name: str) -> tuple[Tensor, Tensor]:
        pair = weights.take(f"{name}.weight", width).float(), weights.take(f"{name}.bias", width).float()
        return make.keep(pair[0]), make.keep(pair[1])

    def affine(name: str, rows: int, columns: int, *, activation: bool = False, scaled: int = 0) -> Op:
        weight = weights.take(f"{name}.weight", rows, columns).float().t().contiguous()  # Conv1D keeps [in, out]
        bias = weights.take(f"{name}.bias", columns).float().clone()
        weight[:scaled] *= shape.head**-0.5
        bias[:scaled] *= shape.head**-0.5
        return make.linear(weight, bias, activation=activation)

    inner = int(config.get("n_inner") or 4 * width)
    layers = tuple(
        Layer(
            norm(f"h.{number}.ln_1"),
            affine(f"h.{number}.attn.c_attn", width, 3 * width, scaled=width),
            affine(f"h.{number}.attn.c_proj", width, width),
            norm(f"h.{number}.ln_2"),
            affine(f"h.{number}.mlp.c_fc", width, inner, activation=True),
            affine(f"h.{number}.mlp.c_proj", inner, width),
        )
        for number in range(shape.layers)
    )
    tokens = weights.take("wte.weight", shape.vocabulary, width)
    last = weights.head(tokens)
    mean = last.float().mean(0)
    # Softmax does not see a number that is taken from every logit of a row, and GPT-2's logits are some -100 all together:
    # without their mean, what bf16 keeps of them is ten times finer.
    padded = torch.zeros(-(-shape.vocabulary // PAD) * PAD, width)
    padded[: shape.vocabulary] = last.float() - mean
    bias = torch.zeros(len(padded))
    bias[shape.vocabulary :] = -torch.inf
    head = make.linear(padded, bias)
    return Model(
        folder, shape, end, float(config.get("layer_norm_epsilon", 1e-5)), make.keep(tokens.bfloat16()),
        make.keep(weights.take("wpe.weight", shape.context, width).float()), layers, norm("ln_f"), head, make.keep(mean),
        tokenizer, read_bloom(folder), make.nbytes,
    )  # fmt: skip


class _Linears:
    """Makes the model's linear layers, and counts what they hold."""

    def __init__(self, where: torch.device) -> None:
        self._where = where
        self.nbytes = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """A copy of its own on the device, so that no file stays mapped."""
        self.nbytes += tensor.nbytes
        return tensor.to(self._where, copy=True)

    def linear(self, weight: Tensor, bias: Tensor, *, activation: bool = False) -> Op:
        """A bf16 layer for `weight` [out, in], with GPT-2's GELU after it when `activation`."""
        weight = self.keep(weight.bfloat16())
        bias = self.keep(bias.bfloat16())
        if self._where.type == "cpu":
            return _packed(weight, bias, activation=activation)
        if activation:
            return lambda x: gelu(linear(x, weight, bias), approximate="tanh")
        return lambda x: linear(x, weight, bias)


def _packed(weight: Tensor, bias: Tensor, *, activation: bool) -> Op:
    """In the order that oneDNN's kernels read: twice as fast as `linear` for few rows, and every row's result to the bit
    whatever the other rows are, which tests/model/test_engine.py checks."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    run = torch.ops.mkldnn._linear_pointwise
    kind, algorithm = ("gelu", "tanh") if activation else ("none", "")
    return lambda x: run(x, packed, bias, kind, [], algorithm)


class _Weights:
    """The tensors of a folder's safetensors files, by name without "transformer."."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self._folder, self._shape = folder, shape
        self._tensors: dict[str, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                self._tensors |= {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
            except (SafetensorError, OSError, ValueError) as error:
                raise InputError(
                    f"{path.name} of {folder} cannot be read: {error}", "Is it whole? Fetch or train it again."
                ) from error

    def take(self, name: str, *sizes: int) -> Tensor:
        """The tensor `name`. Raises InputError when it is missing or not of these sizes."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise InputError(f"{self._folder} lacks its weights {name!r}", "Fetch or train it again.")
        if tuple(tensor.shape) != sizes:
            raise InputError(
                f"{self._folder}: {name} is {tuple(tensor.shape)}, and must be {sizes} by its config.json", "Train it again."
            )
        return tensor

    def head(self, tokens: Tensor) -> Tensor:
        """The last layer's weights: those of the tokens, unless the folder has others."""
        return self.take("lm_head.weight", *tokens.shape) if "lm_head.weight" in self._tensors else tokens


def _shape(folder: Path, config: dict[str, Any]) -> Shape:
    """Raises InputError for what the decoder does not compute, rather than compute something else."""
    plain = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
    for key, value in plain.items():
        if config.get(key, value) is not value:
            raise InputError(f"{folder}: {key} = {config[key]!r} is not served", f"Train it with {key} = {value}.")
    if config.get("activation_function", "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"):
        raise InputError(f"{folder}: the activation {config['activation_function']!r} is not served", "Train it with gelu_new.")
    sizes: list[int] = [config.get(key, 0) for key in ("vocab_size", "n_positions", "n_embd", "n_head", "n_layer")]
    if not all(isinstance(size, int) and 0 < size < 10**7 for size in sizes) or sizes[2] % sizes[3]:
        raise InputError(f"{folder}/config.json has impossible sizes: {sizes}", "Fetch or train it again.")
    return Shape(*sizes)


def _end(folder: Path, config: dict[str, Any], tokenizer: Tokenizer) -> int:
    end, size = config.get("eos_token_id"), config["vocab_size"]
    if tokenizer.size > size or end is None or tokenizer.end != end:
        raise InputError(
            f"{folder}: the tokenizer ({tokenizer.size} tokens, <|endoftext|> = {tokenizer.end}) does not fit the model ({size}, {end})",
            "Save the tokenizer that the model was trained with beside it.",
        )
    return int(end)
