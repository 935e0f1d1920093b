"""The decoder: many sequences of one body side by side, a step at a time, each in a slot of one key-value cache.

A sequence joins at any step and leaves at any step. Nothing is copied from step to step: the cache is written in place, and
grows by whole blocks. What a sequence's logits are does not depend on its neighbours, to the bit on a CPU: every kernel in
here computes a row from that row alone, and masked keys weigh exactly nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING
from weakref import WeakSet

import torch
from torch import Tensor

from mynah.decoding import compiled_attention
from mynah.decoding.adapter import AdapterRows, adapter_rows
from mynah.decoding.adapter_parts import DOWN, OUT, QKV, UP
from mynah.decoding.attention import BLOCK, PromptAttention, StepAttention
from mynah.decoding.block import Turn, activated, capped, normalised, rms_normalised, split_heads
from mynah.decoding.body import Body, Layer
from mynah.decoding.compiled_adapter import CompiledRows
from mynah.decoding.compiled_attention import Rows
from mynah.decoding.compiled_blocks import runs_as_program
from mynah.decoding.compiled_step import CompiledStep
from mynah.decoding.kernels import Linear
from mynah.decoding.model import Model
from mynah.decoding.prompt_rows import alike, repeated, spread

if TYPE_CHECKING:
    from mynah.decoding.adapter import Adapter

Attend = Callable[
    [int, Tensor, Tensor], Tensor
]  # (layer, queries [rows, heads, head], keys and values [rows, 2, kv_heads, head])


class KVCacheBatch:
    """Running sequences of one body, in slots 0 to `size` - 1. Not thread-safe."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self._lengths: list[int] = []  # tokens in each slot
        self._adapters: list[Adapter | None] = []  # of each slot
        self._adapter_rows: AdapterRows | None = None  # for a step, until a sequence joins or leaves
        self._has_changed = False
        self._is_program = runs_as_program(body)
        self._program: CompiledStep | None = None  # for a step, until a sequence joins or leaves or the caches move
        self._caches: list[Tensor] = []  # a layer's keys and values: [2, slots, kv_heads, keys, head]
        self._slots = self._keys = 0

    @property
    def size(self) -> int:
        """How many sequences run."""
        return len(self._lengths)

    @torch.inference_mode()
    def add(
        self, prompts: Sequence[Sequence[int]], copies: Sequence[int], adapters: "Sequence[Adapter | None] | None" = None
    ) -> Tensor:
        """Prefill prompts together in the next slots. A prompt is computed once however many sequences begin with it.

        Args:
            prompts: Token ids of each.
            copies: How many sequences begin with each.
            adapters: What continues each; None: the body alone continues all.

        Returns:
            fp32 hidden states [tokens, width] of all prompts' tokens, one prompt after the other: from that of a prompt's last token its
            first new one is drawn.
        """
        body, start, adapters = self.body, self.size, adapters or [None] * len(prompts)
        lengths = [len(prompt) for prompt in prompts]
        self._adapters += repeated(adapters, copies)
        self._has_changed = True
        self._lengths += [length for length, count in zip(lengths, copies, strict=True) for _ in range(count)]
        self._reserve()
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=body.device)
        places = torch.tensor([place for length in lengths for place in range(length)], device=body.device)
        hidden, rows = self._embedded(ids, places), adapter_rows(repeated(adapters, lengths), body)
        begins = [0, *accumulate(lengths)]
        sources, slots = spread(lengths, begins, copies, start, body.device)
        if not body.kernels.is_compiled:
            return self._last(self._layers(hidden, places, self._prompt_attention(lengths, begins, sources, slots, places), rows))
        first_slots = repeated([*accumulate([start, *copies[:-1]])], lengths)  # of each prompt's sequences
        return self._compiled(
            hidden, Rows(torch.tensor(first_slots), places, torch.stack((sources, slots, places[sources]))), rows
        )

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append `tokens`, one to each sequence; fp32 hidden states [size, width] from which the next ones are drawn."""
        body = self.body
        places = torch.tensor(self._lengths, device=body.device)
        self._lengths = [length + 1 for length in self._lengths]
        self._reserve()
        if self._has_changed:
            self._adapter_rows, self._has_changed, self._program = adapter_rows(self._adapters, body), False, None
        hidden = self._embedded(torch.tensor(tokens, device=body.device), places)
        if not body.kernels.is_compiled:
            return self._last(self._layers(hidden, places, self._attention(places), self._adapter_rows))
        rows = Rows(torch.arange(self.size), places)
        if not self._is_program:
            return self._compiled(hidden, rows, self._adapter_rows)
        if self._program is None:
            self._program = self._compiled_step(rows, self._adapter_rows)
        return self._program(hidden, places)

    def _compiled(self, hidden: Tensor, rows: Rows, adapters: AdapterRows | None) -> Tensor:
        """The hidden states of rows after the last norm, fp32 [rows, width], by compiled functions as far as the body has them."""
        if self._is_program:
            return self._compiled_step(rows, adapters)(hidden, rows.places)
        of = self.body.architecture

        def over_cache(number: int, query: Tensor, added: Tensor) -> Tensor:
            return compiled_attention.attend(of, query, added, self._caches[number], self.body.layers[number].window, rows)

        return self._last(self._layers(hidden, rows.places, over_cache, adapters))

    def _compiled_step(self, rows: Rows, adapters: AdapterRows | None) -> CompiledStep:
        assert adapters is None or isinstance(adapters, CompiledRows)
        return CompiledStep(self.body, self._caches, rows, adapters)

    def _attention(self, places: Tensor) -> Attend:
        """A step's attention by torch's operations; `places`: int64 [size]."""
        body, count = self.body, self.size
        places_of_keys = self._rows(torch.arange(count, device=body.device), places)
        attention = StepAttention(body.architecture, places, self._keys)

        def attend(number: int, query: Tensor, added: Tensor) -> Tensor:
            self._write(number, added, places_of_keys)
            return attention(query, self._caches[number][:, :count], body.layers[number].window)

        return attend

    def _prompt_attention(
        self, lengths: Sequence[int], begins: Sequence[int], sources: Tensor, slots: Tensor, places: Tensor
    ) -> Attend:
        """A prefill's attention by torch's operations; the prompts' lengths and first rows, and as of `spread`; `places`: int64 [tokens]."""
        body, places_of_keys = self.body, self._rows(slots, places[sources])
        attention = PromptAttention(body.architecture, alike(lengths, begins, body.device))

        def attend(number: int, query: Tensor, added: Tensor) -> Tensor:
            self._write(number, added[sources], places_of_keys)
            return attention(query, added, body.layers[number].window)

        return attend

    @torch.inference_mode()
    def remove(self, slot: int) -> None:
        """End the sequence in `slot`; the last one moves into its place."""
        last = self.size - 1
        if slot != last:
            self._lengths[slot] = self._lengths[last]
            for cache in self._caches:
                cache[:, slot] = cache[:, last]
        self._lengths.pop()
        self._adapters[slot] = self._adapters[last]
        self._adapters.pop()
        self._has_changed = True

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 [rows, padded vocabulary], less a number per row (`hidden @ body.mean`); -inf in the padding."""
        found = self.body.head(hidden.to(self.body.kernels.dtype)).float()
        if cap := self.body.architecture.logits_cap:
            found = torch.where(found.isinf(), found, capped(found, cap))
        return found

    def _embedded(self, ids: Tensor, places: Tensor) -> Tensor:
        """Tokens before the first block, fp32 [rows, width]; `ids` and `places`: int64 [rows]."""
        body = self.body
        hidden = body.tokens[ids].float()
        if (scale := body.architecture.embedding_scale) != 1.0:
            hidden *= scale
        if body.positions is not None:
            hidden += body.positions[places]
        return hidden

    def _layers(self, hidden: Tensor, places: Tensor, attend: Attend, adapters: AdapterRows | None) -> Tensor:
        """Tokens after all blocks, fp32 [rows, width].

        Args:
            hidden: `_embedded`, changed in place.
            places: Their positions, int64 [rows].
            attend: Computes attention.
            adapters: Of the rows.
        """
        body, dtype, epsilon = self.body, self.body.kernels.dtype, self.body.architecture.epsilon
        turns: dict[int, Turn] = {}
        for number, layer in enumerate(body.layers):
            multiply = partial(_multiply, adapters, number)
            qkv = multiply(QKV, layer.qkv, normalised(hidden, layer.norm_1, epsilon).to(dtype))
            query, added = split_heads(qkv, body.architecture, layer, _turn(turns, layer, places))
            found = multiply(OUT, layer.out, attend(number, query, added))
            hidden += found if layer.post_norm_1 is None else rms_normalised(found.float(), epsilon) * layer.post_norm_1
            normed = normalised(hidden, layer.norm_2, epsilon).to(dtype)
            found = (
                layer.up(normed, activation=True)
                if layer.has_gelu
                else activated(multiply(UP, layer.up, normed), body.architecture)
            )
            found = multiply(DOWN, layer.down, found)
            hidden += found if layer.post_norm_2 is None else rms_normalised(found.float(), epsilon) * layer.post_norm_2
        return hidden

    def _last(self, hidden: Tensor) -> Tensor:
        return normalised(hidden, self.body.norm, self.body.architecture.epsilon)

    def _write(self, number: int, added: Tensor, places_of_keys: Tensor) -> None:
        """Put keys and values, [rows, 2, kv_heads, head], into a layer's cache."""
        head = self.body.architecture.head
        self._caches[number].view(-1, head).index_copy_(0, places_of_keys, added.transpose(0, 1).reshape(-1, head))

    def _rows(self, slots: Tensor, places: Tensor) -> Tensor:
        """Where in a cache, seen as rows of one head each, the keys and values for `places` of `slots` belong: [2 x slots x kv_heads]."""
        heads = self.body.architecture.kv_heads
        sides = torch.arange(2, device=slots.device)[:, None, None] * self._slots + slots[None, :, None]
        return ((sides * heads + torch.arange(heads, device=slots.device)) * self._keys + places[None, :, None]).reshape(-1)

    def _reserve(self) -> None:
        """Make room for every sequence, and not for many more: a copy, once in 32 steps and whenever the number doubles or halves."""
        of = self.body.architecture
        slots, needed = self._slots, -(-max(self._lengths) // BLOCK) * BLOCK
        while slots < self.size:
            slots = 2 * slots or 1
        if 4 * self.size <= slots:
            slots //= 2
        # Long sequences leave, and the short ones that stay must not attend to the room they had.
        keys = needed if needed > self._keys or needed < self._keys // 2 else self._keys
        if (slots, keys) == (self._slots, self._keys):
            return
        self._program = None
        for number in range(of.layers):
            # Zeros: a masked value is multiplied by nothing, and nothing times a NaN that memory happened to hold is NaN.
            grown = torch.zeros(2, slots, of.kv_heads, keys, of.head, dtype=self.body.kernels.dtype, device=self.body.device)
            if self._slots:
                both = (slice(None), slice(min(slots, self._slots)), slice(None), slice(min(keys, self._keys)))
                grown[both] = self._caches[number][both]
                self._caches[number] = grown
            else:
                self._caches.append(grown)
        self._slots, self._keys = slots, keys


_warm: "WeakSet[Body]" = WeakSet()


def warm_up(model: Model) -> None:
    """Decode a token with `model` for nothing, and try whether its rows are exact, so that no caller waits for either. Blocks.

    Does nothing for a further bot of a body that is warm.
    """
    if model.body in _warm:
        return
    batch = KVCacheBatch(model.body)
    batch.add([[model.begin]], [1], [model.adapter])
    batch.step([model.begin])
    _ = model.is_exact  # tried once in a process
    _warm.add(model.body)


def cache_bytes(body: Body, slots: int, tokens: int) -> int:
    """What the cache of `slots` sequences takes, the longest of `tokens`: slots are doubled, and tokens come by blocks."""
    keys = -(-tokens // BLOCK) * BLOCK
    of = body.architecture
    numbers = of.layers * 2 * (1 << max(0, slots - 1).bit_length()) * of.kv_heads * of.head * keys
    return numbers * body.kernels.dtype.itemsize


def _multiply(adapters: AdapterRows | None, number: int, product: int, linear: Linear, x: Tensor) -> Tensor:
    """A product of a block, with what the rows' adapters add."""
    return adapters.add(number, product, x, linear(x)) if adapters else linear(x)


def _turn(turns: dict[int, Turn], layer: Layer, places: Tensor) -> Turn | None:
    """The rows of a layer's rotary tables at `places`, int64 [rows]; layers that share the tables share them. None without rotary."""
    if layer.rotary is None:
        return None
    key = id(layer.rotary[0])
    if key not in turns:
        turns[key] = layer.rotary[0][places][:, None], layer.rotary[1][places][:, None]
    return turns[key]
