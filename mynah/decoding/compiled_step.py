"""A step of a body's sequences as one program of compiled functions: all blocks, from the embeddings to the last norm.

Called one by one from Python they left the cores idle for a third of a step of GPT-2 with one sequence, and two thirds of one of SmolLM2. A body's
steps are computed either all by a program or none, whatever the number of sequences: what a row is to the bit depends on nothing beside it.
"""

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from mynah.decoding.adapter_parts import DOWN, OUT, QKV, UP
from mynah.decoding.body import Body, Layer, LayerNorm
from mynah.decoding.compiled_adapter import CompiledRows
from mynah.decoding.compiled_attention import attention_call
from mynah.decoding.compiled_int8 import ALONE, CompiledInt8Linear
from mynah.decoding.compiled_program import Operation, Program
from mynah.decoding.kernels import Linear

NORMALISE, TURN, ACTIVATE = struct.Struct("9q"), struct.Struct("10q"), struct.Struct("5q")  # those of compiled.rows

PRODUCTS = 4  # of a block


def runs_as_program(body: Body) -> bool:
    """Return whether a body's steps are programs: its kernels are compiled, its matrices wide, and nothing else stands in its blocks."""
    return body.kernels.is_compiled and all(_is_simple(layer) for layer in body.layers)


def _is_simple(layer: Layer) -> bool:
    found = _products(layer)
    return len(found) == PRODUCTS and all(each.is_whole for each in found)


def _products(layer: Layer) -> list[CompiledInt8Linear]:
    """Those of a block's products that are compiled."""
    return [each for each in (layer.qkv, layer.out, layer.up, layer.down) if isinstance(each, CompiledInt8Linear)]


class CompiledStep:
    """A step of a number of sequences, as long as their caches stay where they are and their adapters are the same."""

    def __init__(self, body: Body, caches: Sequence[Tensor], count: int, adapters: CompiledRows | None) -> None:
        """Prepare steps.

        Args:
            body: Whose `runs_as_program` holds.
            caches: Keys and values of each block, fp32 [2, slots, kv_heads, keys, head], contiguous; in the first `count` slots are sequences.
            count: Sequences.
            adapters: Of the sequences; None where none has one.
        """
        from mynah.decoding.compiled import rows as compiled

        of = body.architecture
        self._body, self._caches, self._count, self._adapters = body, caches, count, adapters  # which the program points to
        self._functions = compiled
        self._epsilon = struct.unpack("i", struct.pack("f", of.epsilon))[0]
        inside, inner = of.heads * of.head, of.inner * (2 if of.is_gated else 1)
        sizes = of.width, of.width, inside + 2 * of.kv_heads * of.head, inside, of.width, inner, of.inner
        self._hidden, self._normed, self._qkv, self._mixed, self._added, self._up, self._inner = (
            torch.empty(count, size) for size in sizes
        )
        self._places = torch.empty(count, dtype=torch.int64)
        self._scores = torch.empty(count * of.kv_heads, caches[0].shape[3])
        self._scratch = torch.empty(max(each.scratch_bytes(count) for each in _products(body.layers[0])), dtype=torch.uint8)
        operations = [each for number in range(of.layers) for each in self._block(number)]
        self._program = Program([*operations, self._normalise(self._added, body.layers[-1].post_norm_2, body.norm)])

    def __call__(self, hidden: Tensor, places: Tensor) -> Tensor:
        """Compute a step.

        Args:
            hidden: The new tokens' embeddings, fp32 [count, width].
            places: Their positions, int64 [count].

        Returns:
            fp32 [count, width], after the last norm.
        """
        self._hidden.copy_(hidden)
        self._places.copy_(places)
        self._program.run()
        return self._normed.clone()

    def _block(self, number: int) -> list[Operation]:
        layer = self._body.layers[number]
        added, added_norm = (self._added, self._body.layers[number - 1].post_norm_2) if number else (None, None)
        return [
            self._normalise(added, added_norm, layer.norm_1),
            *self._multiply(number, QKV, layer.qkv, self._normed, self._qkv),
            *self._turn(layer),
            self._attend(number),
            *self._multiply(number, OUT, layer.out, self._mixed, self._added),
            self._normalise(self._added, layer.post_norm_1, layer.norm_2),
            *self._multiply(number, UP, layer.up, self._normed, self._up, activation=layer.has_gelu),
            *self._activate(layer),
            *self._multiply(number, DOWN, layer.down, self._up if layer.has_gelu else self._inner, self._added),
        ]

    def _operation(self, function: int, call: bytes) -> Operation:
        """On rows, of which a few are done before the team has begun."""
        return Operation(function, call, self._count > ALONE)

    def _normalise(self, added: Tensor | None, added_norm: Tensor | None, norm: LayerNorm) -> Operation:
        """Of hidden states, with what a product adds to them after its own norm."""
        weight, bias = norm or (None, None)
        call = NORMALISE.pack(
            self._count, self._body.architecture.width, self._hidden.data_ptr(), _address(added), _address(added_norm),
            _address(weight), _address(bias), self._epsilon, self._normed.data_ptr(),
        )  # fmt: skip
        return self._operation(self._functions.normalise.address, call)

    def _multiply(
        self, number: int, product: int, linear: Linear, x: Tensor, y: Tensor, *, activation: bool = False
    ) -> list[Operation]:
        """A product of a block, with what the adapters add."""
        assert isinstance(linear, CompiledInt8Linear)
        found = linear.operations(x, y, self._scratch, activation=activation)
        return [*found, self._adapters.operation(number, product, x, y)] if self._adapters else found

    def _turn(self, layer: Layer) -> list[Operation]:
        if layer.rotary is None:
            return []
        of = self._body.architecture
        call = TURN.pack(
            self._count, of.heads + of.kv_heads, of.head, self._qkv.data_ptr(), 4 * self._qkv.stride(0), _address(layer.qk_norm), self._epsilon,
            *(table.data_ptr() for table in layer.rotary), self._places.data_ptr(),
        )  # fmt: skip
        return [self._operation(self._functions.turn.address, call)]

    def _attend(self, number: int) -> Operation:
        of, window = self._body.architecture, self._body.layers[number].window
        query, added = torch.split(self._qkv, [of.heads * of.head, 2 * of.kv_heads * of.head], 1)
        return attention_call(of, query, added, self._caches[number], window, self._places, self._scores, self._mixed)

    def _activate(self, layer: Layer) -> list[Operation]:
        if layer.has_gelu:
            return []
        of, compiled = self._body.architecture, self._functions
        kind = compiled.GELU if not of.is_gated else compiled.GATED_SILU if of.activation == "silu" else compiled.GATED_GELU
        call = ACTIVATE.pack(self._count, of.inner, self._up.data_ptr(), kind, self._inner.data_ptr())
        return [self._operation(compiled.activate.address, call)]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
