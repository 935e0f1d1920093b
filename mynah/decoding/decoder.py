"""The decoder: many sequences of one model side by side, a step at a time, each in a slot of one key-value cache.

A sequence joins at any step and leaves at any step. Nothing is copied from step to step: the cache is written in place, and
grows by whole blocks. What a sequence's logits are does not depend on its neighbours, to the bit on a CPU: every kernel in
here computes a row from that row alone, and masked keys weigh exactly nothing.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from components.decoding.model import Model

BLOCK = 32  # keys; the cache is exactly as long as is attended to, for matmul copies a cache that is longer


class Batch:
    """Running sequences of one model, in slots 0 to `size` - 1. Not thread-safe."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._lengths: list[int] = []  # tokens in each slot
        self._caches: list[Tensor] = []  # a layer's keys and values: [2, slots, heads, keys, head]
        self._slots = self._keys = 0

    @property
    def size(self) -> int:
        """How many sequences run."""
        return len(self._lengths)

    @torch.inference_mode()
    def add(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> Tensor:
        """Prefill `prompts` together, `copies[i]` sequences from prompt i, in the next slots; fp32 hidden states [tokens, width].

        The states of all prompts' tokens, one prompt after the other: from that of a prompt's last token its first new one is drawn.
        A prompt is computed once however many sequences begin with it.
        """
        model, shape, start = self.model, self.model.shape, self.size
        lengths = [len(prompt) for prompt in prompts]
        self._lengths += [length for length, count in zip(lengths, copies, strict=True) for _ in range(count)]
        self._reserve()
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=model.device)
        places = torch.tensor([place for length in lengths for place in range(length)], device=model.device)
        begins = [0, *accumulate(lengths)]
        groups = _alike(lengths, begins, model.device)
        sources, slots = _spread(lengths, begins, copies, start, model.device)
        rows = self._rows(slots, places[sources])
        hidden = model.tokens[ids].float() + model.positions[places]

        def attend(number: int, qkv: Tensor) -> Tensor:
            parts = qkv.view(-1, 3, shape.heads, shape.head)
            self._caches[number].view(-1, shape.head).index_copy_(
                0, rows, parts[sources, 1:].transpose(0, 1).reshape(-1, shape.head)
            )
            mixed = torch.empty(len(qkv), shape.width, dtype=qkv.dtype, device=qkv.device)
            for members in groups:  # [prompts of one length, length]: row numbers
                query, key, value = parts[members].float().permute(2, 0, 3, 1, 4)
                found = scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
                mixed[members] = found.transpose(1, 2).reshape(*members.shape, shape.width).to(qkv.dtype)
            return mixed

        return self._last(self._layers(hidden, attend))

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append `tokens`, one to each sequence; fp32 hidden states [size, width] from which the next ones are drawn."""
        model, shape, count = self.model, self.model.shape, self.size
        places = torch.tensor(self._lengths, device=model.device)
        self._lengths = [length + 1 for length in self._lengths]
        self._reserve()
        rows = self._rows(torch.arange(count, device=model.device), places)
        ahead = torch.arange(self._keys, device=model.device) > places[:, None]
        mask = torch.zeros(count, 1, 1, self._keys, device=model.device).masked_fill_(ahead[:, None, None], -torch.inf)
        hidden = model.tokens[torch.tensor(tokens, device=model.device)].float() + model.positions[places]

        def attend(number: int, qkv: Tensor) -> Tensor:
            cache = self._caches[number]
            added = qkv[:, shape.width :].view(count, 2, shape.heads, shape.head).transpose(0, 1).reshape(-1, shape.head)
            cache.view(-1, shape.head).index_copy_(0, rows, added)
            query = qkv[:, : shape.width].view(count, shape.heads, 1, shape.head)
            weights = torch.softmax(query @ cache[0, :count].transpose(-1, -2) + mask, -1).to(qkv.dtype)
            return (weights @ cache[1, :count]).view(count, shape.width)

        return self._last(self._layers(hidden, attend))

    @torch.inference_mode()
    def remove(self, slot: int) -> None:
        """End the sequence in `slot`; the last one moves into its place."""
        last = self.size - 1
        if slot != last:
            self._lengths[slot] = self._lengths[last]
            for cache in self._caches:
                cache[:, slot] = cache[:, last]
        self._lengths.pop()

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 [rows, padded vocabulary], less a number per row (`hidden @ model.mean`); -inf in the padding."""
        return self.model.head(hidden.bfloat16()).float()

    def _layers(self, hidden: Tensor, attend: Callable[[int, Tensor], Tensor]) -> Tensor:
        width, epsilon = (self.model.shape.width,), self.model.epsilon
        for number, layer in enumerate(self.model.layers):
            hidden += layer.out(attend(number, layer.qkv(layer_norm(hidden, width, *layer.norm_1, epsilon).bfloat16())))
            hidden += layer.down(layer.up(layer_norm(hidden, width, *layer.norm_2, epsilon).bfloat16()))
        return hidden

    def _last(self, hidden: Tensor) -> Tensor:
        return layer_norm(hidden, (self.model.shape.width,), *self.model.norm, self.model.epsilon)

    def _rows(self, slots: Tensor, places: Tensor) -> Tensor:
        """Where in a cache, seen as rows of one head each, the keys and values for `places` of `slots` belong: [2 x slots x heads]."""
        heads = self.model.shape.heads
        sides = torch.arange(2, device=slots.device)[:, None, None] * self._slots + slots[None, :, None]
        return ((sides * heads + torch.arange(heads, device=slots.device)) * self._keys + places[None, :, None]).reshape(-1)

    def _reserve(self) -> None:
        """Make room for every sequence, and not for many more: a copy, once in 32 steps and whenever the number doubles or halves."""
        shape = self.model.shape
        slots, needed = self._slots, -(-max(self._lengths) // BLOCK) * BLOCK
        while slots < self.size:
            slots = 2 * slots or 1
        if 4 * self.size <= slots:
            slots //= 2
        # Long sequences leave, and the short ones that stay must not attend to the room they had.
        keys = needed if needed > self._keys or needed < self._keys // 2 else self._keys
        if (slots, keys) == (self._slots, self._keys):
            return
        for number in range(shape.layers):
            # Zeros: a masked value is multiplied by nothing, and nothing times a NaN that memory happened to hold is NaN.
            grown = torch.zeros(2, slots, shape.heads, keys, shape.head, dtype=torch.bfloat16, device=self.model.device)
            if self._slots:
                both = (slice(None), slice(min(slots, self._slots)), slice(None), slice(min(keys, self._keys)))
                grown[both] = self._caches[number][both]
                self._caches[number] = grown
            else:
                self._caches.append(grown)
        self._slots, self._keys = slots, keys


def cache_bytes(model: Model, slots: int, tokens: int) -> int:
    """What the cache of `slots` sequences takes, the longest of `tokens`: slots are doubled, and tokens come by blocks."""
    keys = -(-tokens // BLOCK) * BLOCK
    return model.shape.layers * 2 * (1 << max(0, slots - 1).bit_length()) * model.shape.width * keys * 2


def _alike(lengths: Sequence[int], begins: Sequence[int], device: torch.device) -> list[Tensor]:
    """The prompts of each length as one tensor of row numbers, [prompts, length], for attention has no padding."""
    groups: dict[int, list[int]] = {}
    for length, begin in zip(lengths, begins, strict=False):
        groups.setdefault(length, []).append(begin)
    return [
        torch.tensor(members, device=device)[:, None] + torch.arange(length, device=device) for length, members in groups.items()
    ]


def _spread(
    lengths: Sequence[int], begins: Sequence[int], copies: Sequence[int], start: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """For every key of every new sequence: the row it comes from, and the slot it goes to."""
    sources: list[int] = []
    slots: list[int] = []
    slot = start
    for length, begin, count in zip(lengths, begins, copies, strict=False):
        for _ in range(count):
            sources += range(begin, begin + length)
            slots += [slot] * length
            slot += 1
    return torch.tensor(sources, device=device), torch.tensor(slots, device=device)
