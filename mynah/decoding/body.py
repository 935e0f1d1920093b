"""A language model in memory, laid out for decoding: what each block computes, and the weights in the form that it computes with.

Bots that are adapters of one base model share its body, as do bots of the same folder.
"""

import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from mynah.core.errors import InputError
from mynah.decoding.exactness import attention_is_independent, rows_are_independent
from mynah.decoding.huge_pages import side_by_side
from mynah.decoding.kernels import Kernels, Linear
from mynah.decoding.tokenizer import FILES as TOKENIZER_FILES
from mynah.decoding.tokenizer import Tokenizer, shared_tokenizer
from mynah.decoding.weights import BlockWeights, Norm, Weights
from mynah.models.architecture import Architecture, read_architecture
from mynah.models.checkpoint_files import check_full, end_token, weight_files
from mynah.models.rotary import Rotary

PAD = 256  # the vocabulary is padded to a multiple of this: see sampler.py
LayerNorm = tuple[Tensor, Tensor] | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. The weights of root-mean-square norms and the scale of attention's scores are within the matrices that follow them.

    Attributes:
        norm_1: A layer norm's weight and bias, fp32 [width] each; None: a root-mean-square norm.
        qkv: [rows, width] -> [rows, (heads + 2 * kv_heads) * head].
        within_qkv: The weight of the root-mean-square norm that is within `qkv`, fp32 [width]; None: a layer norm is before it.
        qk_norm: Weights of the norms of queries and keys, fp32 [heads + kv_heads, head]; None where they have none.
        rotary: Cosines and signed sines of the positions, fp32 [context, head] each; None where positions are learned.
        window: Tokens attended to; 0: all.
        out: [rows, heads * head] -> [rows, width].
        post_norm_1: The weight of the norm of what attention adds, fp32 [width]; None where there is none.
        norm_2: As norm_1, before the MLP.
        up: [rows, width] -> [rows, inner]; of a gated MLP -> [rows, 2 * inner], gate and up.
        within_up: As within_qkv, of `up`.
        has_gelu: Whether GELU follows within `up`; else the activation is still to come.
        down: [rows, inner] -> [rows, width].
        post_norm_2: As post_norm_1, of what the MLP adds.
    """

    norm_1: LayerNorm
    qkv: Linear
    within_qkv: Tensor | None
    qk_norm: Tensor | None
    rotary: tuple[Tensor, Tensor] | None
    window: int
    out: Linear
    post_norm_1: Tensor | None
    norm_2: LayerNorm
    up: Linear
    within_up: Tensor | None
    has_gelu: bool
    down: Linear
    post_norm_2: Tensor | None


@dataclass(frozen=True, eq=False)
class Body:
    """The weights and the tokenizer of a checkpoint. Compared by identity.

    Attributes:
        folder: Of the checkpoint.
        kernels: What computes.
        architecture: What is computed.
        begin: The id of the token that a post begins with.
        end: The id of the token that ends a post.
        tokens: bf16 [vocabulary, width], without the architecture's scale.
        positions: fp32 [context, width]; None where positions are rotary.
        layers: The blocks.
        norm: Before the last layer.
        head: [rows, width] -> [rows, padded vocabulary]: the logits less a number per row; -inf where there is no token.
        mean: fp32 [width]: `hidden @ mean` is that number.
        tokenizer: Its tokenizer.
        nbytes: What the weights take.
        sizes: Of the layers: outputs, inputs, whether GELU follows.
    """

    folder: Path
    kernels: Kernels
    architecture: Architecture
    begin: int
    end: int
    tokens: Tensor
    positions: Tensor | None
    layers: tuple[Layer, ...]
    norm: LayerNorm
    head: Linear
    mean: Tensor
    tokenizer: Tokenizer
    nbytes: int
    sizes: frozenset[tuple[int, int, bool]]

    @property
    def is_exact(self) -> bool:
        """Whether a row's result is the same to the bit whatever the other rows are. Blocks for a moment when it is asked first."""
        return (
            self.kernels.is_exact
            and all(rows_are_independent(self.kernels, *sizes) for sizes in self.sizes)
            and attention_is_independent(self.kernels, self.architecture)
        )

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.tokens.device


_Files = tuple[tuple[str, int, int], ...]  # name, bytes and time of each
_loaded: "WeakValueDictionary[tuple[Path, Kernels, bool, _Files], Body]" = WeakValueDictionary()
_locks: "WeakValueDictionary[tuple[Path, Kernels, bool, _Files], threading.Lock]" = WeakValueDictionary()
_locks_lock = threading.Lock()


def shared_body(folder: Path, kernels: Kernels, *, takes_adapters: bool = False) -> Body:
    """Return the body of a checkpoint, loaded once for all bots that have it, and freed with the last of them. Blocks.

    Args:
        folder: A Hugging Face folder with full weights.
        kernels: What is to compute.
        takes_adapters: Whether adapters are added to its products.

    Raises:
        InputError: The folder is not a whole checkpoint, or is one of an architecture that is not served.
    """
    config = check_full(folder)
    architecture = read_architecture(config, folder)
    is_open = (
        takes_adapters or architecture.is_gated
    )  # between a gated MLP's product and its activation adapters find room anyway
    key = folder.resolve(), kernels, is_open, _files(folder)
    with _locks_lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        body = _loaded.get(key)
        if body is None:
            body = _loaded[key] = _load(folder, config, architecture, kernels, is_open)
        return body


def _files(folder: Path) -> _Files:
    """What changes when any of the files that a body is made of does."""
    paths = [*weight_files(folder), *(folder / name for name in ("config.json", *TOKENIZER_FILES))]
    states = [(path.name, path.stat()) for path in paths if path.is_file()]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


def _load(folder: Path, config: dict[str, Any], architecture: Architecture, kernels: Kernels, is_open: bool) -> Body:
    tokenizer = shared_tokenizer(folder)
    end = _end(folder, config, architecture, tokenizer)
    with torch.inference_mode(), side_by_side(sum(file.stat().st_size for file in weight_files(folder))):
        return _assemble(folder, Weights(folder, architecture), architecture, _Maker(kernels, is_open), tokenizer, end)


def _assemble(folder: Path, weights: Weights, architecture: Architecture, make: "_Maker", tokenizer: Tokenizer, end: int) -> Body:
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
    return Body(
        folder, make.kernels, architecture, end if tokenizer.begin is None else tokenizer.begin, end, make.keep(weights.embeddings.bfloat16()),
        None if architecture.rotary else make.keep(weights.positions), layers, make.layer_norm(norm), head, make.keep(mean),
        tokenizer, make.nbytes, frozenset(make.sizes),
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
        within_qkv=make.rms_norm(block.norm_1),
        qk_norm=_qk_norm(make, of, block),
        rotary=rotary_tables(of.rotary[number], of.head, of.context, make.device) if of.rotary else None,
        window=of.windows[number],
        out=make.linear(*block.out),
        post_norm_1=make.keep(block.post_norm_1[0]) if block.post_norm_1 else None,
        norm_2=make.layer_norm(block.norm_2),
        up=make.linear(_with_norm(block.up[0], block.norm_2), block.up[1], activation=not (of.is_gated or make.is_open)),
        within_up=make.rms_norm(block.norm_2),
        has_gelu=not (of.is_gated or make.is_open),
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

    def __init__(self, kernels: Kernels, is_open: bool) -> None:
        self.kernels, self.is_open = kernels, is_open
        self.nbytes = 0
        self.sizes: set[tuple[int, int, bool]] = set()

    @property
    def device(self) -> str:
        """torch's type of device."""
        return self.kernels.device

    def layer_norm(self, norm: Norm) -> LayerNorm:
        """A layer norm's weight and bias; None for a root-mean-square norm, whose weight goes into the next matrix."""
        weight, bias = norm
        return None if bias is None else (self.keep(weight), self.keep(bias))

    def rms_norm(self, norm: Norm) -> Tensor | None:
        """The weight of a root-mean-square norm; None for a layer norm."""
        return self.keep(norm[0]) if norm[1] is None else None

    def keep(self, tensor: Tensor) -> Tensor:
        """A copy of its own on the device, so that no file stays mapped."""
        self.nbytes += tensor.nbytes
        return tensor.to(self.kernels.device, copy=True)

    def linear(self, weight: Tensor, bias: Tensor, *, activation: bool = False) -> Linear:
        """A layer for `weight` [out, in] and `bias` [out], fp32, with GPT-2's GELU after it when `activation`."""
        device = self.kernels.device
        layer, nbytes = self.kernels.make_linear(weight.to(device), bias.to(device), activation)
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
