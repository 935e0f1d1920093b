"""One bot's language model in memory, laid out for decoding: what each block computes, and the weights in the form that it computes with."""

import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mynah.core.errors import InputError
from mynah.data.scripts import read_scripts
from mynah.data.verbatim_filter import Bloom, read_bloom
from mynah.decoding.exactness import attention_is_independent, rows_are_independent
from mynah.decoding.huge_pages import side_by_side
from mynah.decoding.kernels import FREE_CORES, THREADS, Kernels, Linear, chosen
from mynah.decoding.tokenizer import Tokenizer, shared_tokenizer
from mynah.decoding.weights import BlockWeights, Norm, Weights
from mynah.models.architecture import Architecture, read_architecture
from mynah.models.checkpoint import check_folder, end_token, weight_files
from mynah.models.rotary import Rotary

PAD = 256  # the vocabulary is padded to a multiple of this: see sampler.py
LayerNorm = tuple[Tensor, Tensor] | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. The weights of root-mean-square norms and the scale of attention's scores are within the matrices that follow them.

    Attributes:
        norm_1: A layer norm's weight and bias, fp32 [width] each; None: a root-mean-square norm.
        qkv: [rows, width] -> [rows, (heads + 2 * kv_heads) * head].
        qk_norm: Weights of the norms of queries and keys, fp32 [heads + kv_heads, head]; None where they have none.
        rotary: Cosines and signed sines of the positions, fp32 [context, head] each; None where positions are learned.
        window: Tokens attended to; 0: all.
        out: [rows, heads * head] -> [rows, width].
        post_norm_1: The weight of the norm of what attention adds, fp32 [width]; None where there is none.
        norm_2: As norm_1, before the MLP.
        up: [rows, width] -> [rows, inner], with its activation; of a gated MLP -> [rows, 2 * inner], gate and up, without.
        down: [rows, inner] -> [rows, width].
        post_norm_2: As post_norm_1, of what the MLP adds.
    """

    norm_1: LayerNorm
    qkv: Linear
    qk_norm: Tensor | None
    rotary: tuple[Tensor, Tensor] | None
    window: int
    out: Linear
    post_norm_1: Tensor | None
    norm_2: LayerNorm
    up: Linear
    down: Linear
    post_norm_2: Tensor | None


@dataclass(frozen=True, eq=False)
class Model:
    """A bot's weights, tokenizer and Bloom filter. Compared by identity."""

    folder: Path
    kernels: Kernels
    architecture: Architecture
    begin: int  # the id of the token that a post begins with
    end: int  # the id of the token that ends a post
    tokens: Tensor  # bf16 [vocabulary, width], without the architecture's scale
    positions: Tensor | None  # fp32 [context, width]; None where positions are rotary
    layers: tuple[Layer, ...]
    norm: LayerNorm
    head: Linear  # [rows, width] -> [rows, padded vocabulary]: the logits less a number per row; -inf where there is no token
    mean: Tensor  # fp32 [width]: `hidden @ mean` is that number
    tokenizer: Tokenizer
    bloom: Bloom | None
    nbytes: int
    sizes: frozenset[tuple[int, int, bool]]  # of the layers: outputs, inputs, whether GELU follows
    scripts: frozenset[str] | None = None  # that its author writes (mynah.data.scripts); None where that is not known

    @property
    def context(self) -> int:
        """The longest sequence the model attends to, in tokens."""
        return self.architecture.context

    @property
    def is_exact(self) -> bool:
        """Whether a row's result is the same to the bit whatever the other rows are. Blocks for a moment when it is asked first."""
        return (
            self.kernels.is_exact
            and all(rows_are_independent(self.kernels, *sizes) for sizes in self.sizes)
            and attention_is_independent(self.kernels, self.architecture)
        )

    def encode(self, text: str) -> list[int]:
        """Token ids; a literal <|endoftext|> in the text is taken as plain characters."""
        return self.tokenizer.encode(text)

    def apart(self) -> "Model":
        """The same weights as a model of its own, whose sequences share no batch with this one's."""
        return replace(self)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.tokens.device


def use_all_cores() -> None:
    """Make the calling thread the one that computes with every core. See `use_one_core`."""
    decode_with(THREADS)


def decode_with(threads: int) -> None:
    """Make the calling thread compute with so many, from its next operation on."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def use_free_cores(models: Collection[Model]) -> None:
    """For steps of these models, use no more threads than find a core: on a busy one a thread keeps the others of each operation waiting.

    Does nothing where a step's bits depend on the number of threads. Prompts are read by all cores: the bits of their attention change
    with the number of threads where MKL multiplies for AVX2.
    """
    if models and all(model.kernels.any_threads for model in models):
        decode_with(FREE_CORES.threads())


def use_one_core() -> None:
    """Keep the calling thread to one core, now and later.

    OpenMP gives each thread that computes a team of its own, and lets teams sleep between two operations as soon as there are more
    of them than cores: a step of GPT-2 then takes 13 ms instead of 8. So only the engine's thread has a team.
    """
    torch.set_num_threads(1)


def load_model(folder: Path, kernels: Kernels | None = None) -> Model:
    """Load a Hugging Face folder in 10 to 300 ms, for `kernels` or those of this process. Blocks.

    Raises:
        InputError: The folder is not a whole checkpoint, or is one of an architecture that is not served; or as `kernels.chosen`.
        PlatformError: As `kernels.chosen`.
    """
    kernels = kernels or chosen()
    config = check_folder(folder)
    architecture = read_architecture(config, folder)
    tokenizer = shared_tokenizer(folder)
    end = _end(folder, config, architecture, tokenizer)
    with torch.inference_mode(), side_by_side(sum(file.stat().st_size for file in weight_files(folder))):
        return _assemble(folder, Weights(folder, architecture), architecture, kernels, tokenizer, end)


def _assemble(
    folder: Path, weights: Weights, architecture: Architecture, kernels: Kernels, tokenizer: Tokenizer, end: int
) -> Model:
    make = _Maker(kernels)
    layers = tuple(_layer(make, architecture, weights.block(number), number) for number in range(architecture.layers))
    last, norm = weights.head.float(), weights.last_norm
    if architecture.rms_norm:
        last = last * norm[0]
    # Softmax does not see a number that is taken from every logit of a row, and GPT-2's logits are some -100 all together:
    # without their mean, what bf16 keeps of them is ten times finer. Logits that are capped need theirs.
    mean = torch.zeros(architecture.width) if architecture.logits_cap else last.mean(0)
    vocabulary = architecture.vocabulary
    padded = torch.zeros(-(-vocabulary // PAD) * PAD, architecture.width)
    torch.sub(last, mean, out=padded[:vocabulary])
    bias = torch.zeros(len(padded))
    bias[min(tokenizer.size, vocabulary) :] = -torch.inf
    del last
    head = make.linear(padded, bias)
    return Model(
        folder, kernels, architecture, end if tokenizer.begin is None else tokenizer.begin, end, make.keep(weights.embeddings.bfloat16()),
        None if architecture.rotary else make.keep(weights.positions), layers, make.layer_norm(norm), head, make.keep(mean),
        tokenizer, read_bloom(folder), make.nbytes, frozenset(make.sizes), read_scripts(folder),
    )  # fmt: skip


def _layer(make: "_Maker", of: Architecture, block: BlockWeights, number: int) -> Layer:
    (qkv, qkv_bias), queries = block.qkv, of.heads * of.head
    if block.query_norm is None:
        qkv, qkv_bias = qkv.clone(), qkv_bias.clone()
        qkv[:queries] *= of.score_scale
        qkv_bias[:queries] *= of.score_scale
    return Layer(
        norm_1=make.layer_norm(block.norm_1),
        qkv=make.linear(_with_norm(qkv, block.norm_1), qkv_bias),
        qk_norm=_qk_norm(make, of, block),
        rotary=rotary_tables(of.rotary[number], of.head, of.context, make.device) if of.rotary else None,
        window=of.windows[number],
        out=make.linear(*block.out),
        post_norm_1=make.keep(block.post_norm_1[0]) if block.post_norm_1 else None,
        norm_2=make.layer_norm(block.norm_2),
        up=make.linear(_with_norm(block.up[0], block.norm_2), block.up[1], activation=not of.is_gated),
        down=make.linear(*block.down),
        post_norm_2=make.keep(block.post_norm_2[0]) if block.post_norm_2 else None,
    )


def _with_norm(weight: Tensor, norm: Norm) -> Tensor:
    """The matrix [out, in] with the weight of a root-mean-square norm before it; a layer norm has a bias, and stays by itself."""
    return weight if norm[1] is not None else weight * norm[0]


def _qk_norm(make: "_Maker", of: Architecture, block: BlockWeights) -> Tensor | None:
    if block.query_norm is None or block.key_norm is None:
        return None
    query, key = block.query_norm * of.score_scale, block.key_norm
    return make.keep(torch.cat((query.expand(of.heads, -1), key.expand(of.kv_heads, -1))))


@functools.lru_cache(maxsize=16)
def rotary_tables(rotary: Rotary, head: int, context: int, device: str) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions, shared by the models that have the same.

    Args:
        rotary: The frequencies.
        head: Numbers per head.
        context: Positions.
        device: torch's type of device.

    Returns:
        fp32 [context, head] each, the sines negative in the first half: `x * cos + x.roll(head // 2) * sin` turns x by its position.
    """
    frequencies = torch.tensor(rotary.frequencies(head), dtype=torch.float64)
    angles = torch.arange(context, dtype=torch.float64)[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    tables = torch.cat((cos, cos), 1), torch.cat((-sin, sin), 1)
    return tables[0].float().to(device), tables[1].float().to(device)


class _Maker:
    """Puts the model's tensors where the kernels compute, and counts what they take."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self.nbytes = 0
        self.sizes: set[tuple[int, int, bool]] = set()

    @property
    def device(self) -> str:
        """torch's type of device."""
        return self._kernels.device

    def layer_norm(self, norm: Norm) -> LayerNorm:
        """A layer norm's weight and bias; None for a root-mean-square norm, whose weight goes into the next matrix."""
        weight, bias = norm
        return None if bias is None else (self.keep(weight), self.keep(bias))

    def keep(self, tensor: Tensor) -> Tensor:
        """A copy of its own on the device, so that no file stays mapped."""
        self.nbytes += tensor.nbytes
        return tensor.to(self._kernels.device, copy=True)

    def linear(self, weight: Tensor, bias: Tensor, *, activation: bool = False) -> Linear:
        """A layer for `weight` [out, in] and `bias` [out], fp32, with GPT-2's GELU after it when `activation`."""
        device = self._kernels.device
        layer, nbytes = self._kernels.make_linear(weight.to(device), bias.to(device), activation)
        self.nbytes += nbytes
        self.sizes.add((*weight.shape, activation))
        return layer


def _end(folder: Path, config: dict[str, Any], architecture: Architecture, tokenizer: Tokenizer) -> int:
    end, size = end_token(config), architecture.vocabulary
    if tokenizer.size > size or end is None or not tokenizer.is_special(end):
        raise InputError(
            f"{folder}: the tokenizer ({tokenizer.size} tokens, {tokenizer.special_tokens} special) does not fit the model "
            f"({size}, end of text = {end})",
            "Save the tokenizer that the model was trained with beside it.",
        )
    return end
