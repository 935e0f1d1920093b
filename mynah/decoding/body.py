"""A language model in memory, laid out for decoding: what each block computes, and the weights in the form that it computes with."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mynah.decoding.adapter_parts import UP, product_sizes
from mynah.decoding.exactness import attention_is_independent, rows_are_independent
from mynah.decoding.kernels import Kernels, Linear
from mynah.decoding.tokenizer import Tokenizer
from mynah.models.architecture import Architecture

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
        has_gelu: Whether GELU follows within `up`; else what adapters add comes before the activation, or it is gated.
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

    @property
    def is_exact(self) -> bool:
        """Whether a row's result is the same to the bit whatever the other rows are. Blocks for a moment when it is asked first."""
        return (
            self.kernels.is_exact
            and all(rows_are_independent(self.kernels, *sizes) for sizes in self.sizes)
            and attention_is_independent(self.kernels, self.architecture)
        )

    @property
    def sizes(self) -> frozenset[tuple[int, int, bool]]:
        """Of the layers: outputs, inputs, whether GELU follows."""
        of, has_gelu = self.architecture, self.layers[0].has_gelu
        products = [(*sizes, has_gelu and product == UP) for product, sizes in enumerate(product_sizes(of))]
        return frozenset([*products, (padded(of.vocabulary), of.width, False)])

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.tokens.device


def padded(vocabulary: int) -> int:
    """Return the outputs of the last layer."""
    return -(-vocabulary // PAD) * PAD
