"""Loads the body of a checkpoint, once for all bots that have it.

Bots that are adapters of one base model share its body, as do bots of the same folder. GPT-2 itself and its adapters have a body each, with
the same weights: GELU is computed within a product for the one, and for the others after what an adapter adds to it.
"""

import functools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from mynah.core.errors import InputError
from mynah.decoding.body import Body, Layer, LayerNorm, padded
from mynah.decoding.huge_pages import side_by_side
from mynah.decoding.kernels import Kernels, Linear
from mynah.decoding.tokenizer import FILES as TOKENIZER_FILES
from mynah.decoding.tokenizer import Tokenizer, shared_tokenizer
from mynah.decoding.weights import BlockWeights, Norm, Weights
from mynah.models.architecture import Architecture, read_architecture
from mynah.models.checkpoint_files import check_full, end_token, weight_files
from mynah.models.rotary import Rotary

_Files = tuple[tuple[str, int, int], ...]  # name, bytes and time of each
_Key = tuple[Path, Kernels, _Files]
_loaded: "WeakValueDictionary[tuple[_Key, bool], Body]" = WeakValueDictionary()
_locks: "WeakValueDictionary[_Key, threading.Lock]" = WeakValueDictionary()
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
    has_gelu = not (takes_adapters or architecture.is_gated)
    key = folder.resolve(), kernels, _files(folder)
    with _locks_lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        body = _loaded.get((key, has_gelu))
        if body is None:
            same = _loaded.get((key, not has_gelu))
            body = (
                replace(same, layers=_layers_with(same, has_gelu))
                if same
                else _load(folder, config, architecture, kernels, has_gelu)
            )
            _loaded[key, has_gelu] = body
        return body


def _layers_with(body: Body, has_gelu: bool) -> tuple[Layer, ...]:
    """The layers of a body of which GELU stands in another place: its weights are the same."""
    return tuple(replace(layer, has_gelu=has_gelu) for layer in body.layers)


def _files(folder: Path) -> _Files:
    """What changes when any of the files that a body is made of does."""
    paths = [*weight_files(folder), *(folder / name for name in ("config.json", *TOKENIZER_FILES))]
    states = [(path.name, path.stat()) for path in paths if path.is_file()]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


def _load(folder: Path, config: dict[str, Any], architecture: Architecture, kernels: Kernels, has_gelu: bool) -> Body:
    tokenizer = shared_tokenizer(folder)
    end = _end(folder, config, architecture, tokenizer)
    with torch.inference_mode(), side_by_side(sum(file.stat().st_size for file in weight_files(folder))):
        return _assemble(folder, Weights(folder, architecture), architecture, _Maker(kernels), tokenizer, end, has_gelu)


def _assemble(
    folder: Path, weights: Weights, architecture: Architecture, make: "_Maker", tokenizer: Tokenizer, end: int, has_gelu: bool
) -> Body:
    layers = tuple(_layer(make, architecture, weights.block(number), number, has_gelu) for number in range(architecture.layers))
    last, norm = weights.head.float(), weights.last_norm
    if architecture.rms_norm:
        last = last * norm[0]
    # Softmax does not see a number that is taken from every logit of a row, and GPT-2's logits are some -100 all together:
    # without their mean, what bf16 keeps of them is ten times finer. Logits that are capped need theirs.
    mean = torch.zeros(architecture.width) if architecture.logits_cap else last.mean(0)
    vocabulary = architecture.vocabulary
    weight = torch.zeros(padded(vocabulary), architecture.width)
    torch.sub(last, mean, out=weight[:vocabulary])
    bias = torch.zeros(len(weight))
    bias[min(tokenizer.size, vocabulary) :] = -torch.inf
    del last
    head = make.linear(weight, bias)
    return Body(
        folder, make.kernels, architecture, end if tokenizer.begin is None else tokenizer.begin, end, make.keep(weights.embeddings.bfloat16()),
        None if architecture.rotary else make.keep(weights.positions), layers, make.layer_norm(norm), head, make.keep(mean),
        tokenizer, make.nbytes,
    )  # fmt: skip


def _layer(make: "_Maker", of: Architecture, block: BlockWeights, number: int, has_gelu: bool) -> Layer:
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
        up=make.linear(_with_norm(block.up[0], block.norm_2), block.up[1]),
        within_up=make.rms_norm(block.norm_2),
        has_gelu=has_gelu,
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
        self.kernels = kernels
        self.nbytes = 0

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

    def linear(self, weight: Tensor, bias: Tensor) -> Linear:
        """A layer for `weight` [out, in] and `bias` [out], fp32."""
        device = self.kernels.device
        layer, nbytes = self.kernels.make_linear(weight.to(device), bias.to(device))
        self.nbytes += nbytes
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
