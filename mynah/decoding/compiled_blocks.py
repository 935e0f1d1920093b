"""The operations of all blocks of a body, from the embeddings to the last norm, for a number of rows, and the memory that they work in."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from mynah.decoding.adapter_parts import DOWN, OUT, QKV, UP
from mynah.decoding.body import Body, Layer, LayerNorm
from mynah.decoding.compiled_adapter import CompiledRows
from mynah.decoding.compiled_attention import Rows, attention_calls, room_for_scores
from mynah.decoding.compiled_int8 import ALONE, CompiledInt8Linear
from mynah.decoding.compiled_program import LINE, Operation
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


class Workspace:
    """What the operations of a number of rows read and write, in one piece of memory.

    Attributes:
        memory: All of it, uint8.
        hidden, normed, added: fp32 [rows, width]: the hidden states, the same after a norm, and what a product adds to them.
        qkv, mixed: fp32: queries, keys and values of all heads, and what attention gives.
        up, inner: fp32: an MLP's product, and what comes of its activation.
        scratch: uint8, of the products.
        slots, places: int64 [rows], of each token.
    """

    def __init__(self, body: Body, rows: int) -> None:
        of = body.architecture
        inside, up = of.heads * of.head, of.inner * (2 if of.is_gated else 1)
        scratch = max(each.scratch_bytes(rows) for each in _products(body.layers[0]))
        wanted = (
            *(((rows, size), torch.float32) for size in (of.width, of.width, of.width, inside + 2 * of.kv_heads * of.head, inside, up, of.inner)),
            ((scratch,), torch.uint8), ((rows,), torch.int64), ((rows,), torch.int64),
        )  # fmt: skip
        lengths = [-(-prod(shape) * dtype.itemsize // LINE) * LINE for shape, dtype in wanted]
        self.memory = torch.empty(sum(lengths), dtype=torch.uint8)
        tensors = (
            part[: prod(shape) * dtype.itemsize].view(dtype).view(shape)
            for part, (shape, dtype) in zip(torch.split(self.memory, lengths), wanted, strict=True)
        )
        self.hidden, self.normed, self.added, self.qkv, self.mixed, self.up, self.inner, self.scratch, self.slots, self.places = (
            tensors
        )


@dataclass(slots=True)
class Places:
    """The numbers of the operations that change with the caches and the adapters.

    Attributes:
        puts: Of those that put keys and values of prompts into the cache, one for each block.
        attends: Of those that attend, one for each block.
        adds: Of those that add adapters, for each product of a block.
    """

    puts: list[int]
    attends: list[int]
    adds: tuple[list[int], ...]


def operations_of(
    body: Body, workspace: Workspace, caches: Sequence[Tensor], rows: Rows, adapters: CompiledRows | None
) -> tuple[list[Operation], Places]:
    """Return the operations of all blocks and of the last norm.

    Args:
        body: Whose `runs_as_program` holds.
        workspace: What they work in, for as many rows.
        caches: Keys and values of each block, fp32 [2, slots, kv_heads, keys, head], contiguous.
        rows: The tokens.
        adapters: Of the rows; None where none has one.
    """
    writer = _Writer(body, workspace, caches, rows, adapters)
    for number in range(len(body.layers)):
        writer.block(number)
    writer.normalise(workspace.added, body.layers[-1].post_norm_2, body.norm)
    return writer.operations, writer.places


class _Writer:
    """Writes the operations down, one after the other."""

    def __init__(
        self, body: Body, workspace: Workspace, caches: Sequence[Tensor], rows: Rows, adapters: CompiledRows | None
    ) -> None:
        from mynah.decoding.compiled import rows as compiled

        self.operations: list[Operation] = []
        self.places = Places([], [], ([], [], [], []))
        self._body, self._of, self._space, self._caches = body, body.architecture, workspace, caches
        self._rows, self._adapters, self._functions = rows, adapters, compiled
        self._count, self._scores = len(rows.slots), room_for_scores(caches[0])
        self._epsilon = struct.unpack("i", struct.pack("f", body.architecture.epsilon))[0]

    def block(self, number: int) -> None:
        layer, space = self._body.layers[number], self._space
        if number:
            self.normalise(space.added, self._body.layers[number - 1].post_norm_2, layer.norm_1)
        else:
            self.normalise(None, None, layer.norm_1)
        self._multiply(number, QKV, layer.qkv, space.normed, space.qkv)
        self._turn(layer)
        self._attend(number)
        self._multiply(number, OUT, layer.out, space.mixed, space.added)
        self.normalise(space.added, layer.post_norm_1, layer.norm_2)
        self._multiply(number, UP, layer.up, space.normed, space.up, activation=layer.has_gelu)
        if not layer.has_gelu:
            self._activate()
        self._multiply(number, DOWN, layer.down, space.up if layer.has_gelu else space.inner, space.added)

    def normalise(self, added: Tensor | None, added_norm: Tensor | None, norm: LayerNorm) -> None:
        """Of hidden states, with what a product adds to them after its own norm."""
        weight, bias = norm or (None, None)
        self._write(self._functions.normalise.address, NORMALISE.pack(
            self._count, self._of.width, self._space.hidden.data_ptr(), _address(added), _address(added_norm),
            _address(weight), _address(bias), self._epsilon, self._space.normed.data_ptr(),
        ))  # fmt: skip

    def _write(self, function: int, call: bytes) -> None:
        """An operation on rows, of which a few are done before the team has begun."""
        self.operations.append(Operation(function, call, self._count > ALONE))

    def _multiply(self, number: int, product: int, linear: Linear, x: Tensor, y: Tensor, *, activation: bool = False) -> None:
        """A product of a block, with what the adapters add."""
        assert isinstance(linear, CompiledInt8Linear)
        self.operations += linear.operations(x, y, self._space.scratch, activation=activation)
        if self._adapters:
            self.places.adds[product].append(len(self.operations))
            self.operations.append(self._adapters.operation(number, product, x, y))

    def _turn(self, layer: Layer) -> None:
        if layer.rotary is None:
            return
        of, qkv = self._of, self._space.qkv
        self._write(self._functions.turn.address, TURN.pack(
            self._count, of.heads + of.kv_heads, of.head, qkv.data_ptr(), 4 * qkv.stride(0), _address(layer.qk_norm), self._epsilon,
            *(table.data_ptr() for table in layer.rotary), self._rows.places.data_ptr(),
        ))  # fmt: skip

    def _attend(self, number: int) -> None:
        of, window = self._of, self._body.layers[number].window
        query, added = torch.split(self._space.qkv, [of.heads * of.head, 2 * of.kv_heads * of.head], 1)
        found = attention_calls(of, query, added, self._caches[number], window, self._rows, self._scores, self._space.mixed)
        if self._rows.copies is not None:
            self.places.puts.append(len(self.operations))
        self.operations += found
        self.places.attends.append(len(self.operations) - 1)

    def _activate(self) -> None:
        of, compiled = self._of, self._functions
        kind = compiled.GELU if not of.is_gated else compiled.GATED_SILU if of.activation == "silu" else compiled.GATED_GELU
        call = ACTIVATE.pack(self._count, of.inner, self._space.up.data_ptr(), kind, self._space.inner.data_ptr())
        self._write(compiled.activate.address, call)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
