"""Which matrices of an adapter add to which product of a block, and to which of its outputs."""

import functools
from dataclasses import dataclass

from mynah.models.adapter import matrix_sizes
from mynah.models.architecture import Architecture

QKV, OUT, UP, DOWN = range(4)  # the products of a block


@dataclass(frozen=True, slots=True)
class Part:
    """A pair of matrices A and B, or the part of B that is scaled by itself.

    Attributes:
        product: Which product of the block it adds to.
        name: Of the matrix within the block, as in `adapter.matrix_sizes`.
        inputs: Of the product.
        first: The first of the product's outputs that it adds to.
        outputs: How many these are.
        skipped: Rows of B before its own.
        factor: That the base model's matrix is multiplied by.
    """

    product: int
    name: str
    inputs: int
    first: int
    outputs: int
    skipped: int = 0
    factor: float = 1.0


@functools.cache
def parts_of(of: Architecture) -> tuple[Part, ...]:
    """The parts of an adapter for one block."""
    sizes = matrix_sizes(of)
    queries, keys = of.heads * of.head, of.kv_heads * of.head
    scale = 1.0 if of.qk_norms else of.score_scale  # which a norm of queries takes in itself
    if of.family == "gpt2":
        return (
            Part(QKV, "attn.c_attn", of.width, 0, queries, factor=scale),
            Part(QKV, "attn.c_attn", of.width, queries, 2 * keys, skipped=queries),
            Part(OUT, "attn.c_proj", of.width, 0, of.width),
            Part(UP, "mlp.c_fc", of.width, 0, of.inner),
            Part(DOWN, "mlp.c_proj", of.inner, 0, of.width),
        )
    places = {
        "self_attn.q_proj": (QKV, 0), "self_attn.k_proj": (QKV, queries), "self_attn.v_proj": (QKV, queries + keys),
        "self_attn.o_proj": (OUT, 0), "mlp.gate_proj": (UP, 0), "mlp.up_proj": (UP, of.inner), "mlp.down_proj": (DOWN, 0),
    }  # fmt: skip
    return tuple(
        Part(product, name, sizes[name][1], first, sizes[name][0], factor=scale if name.endswith("q_proj") else 1.0)
        for name, (product, first) in places.items()
    )


def product_sizes(of: Architecture) -> tuple[tuple[int, int], ...]:
    """Outputs and inputs of the four products."""
    inside = of.heads * of.head
    up = (2 if of.is_gated else 1) * of.inner
    return (inside + 2 * of.kv_heads * of.head, of.width), (of.width, inside), (up, of.width), (of.width, of.inner)
