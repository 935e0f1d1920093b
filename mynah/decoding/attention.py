"""Attention over prompts that are computed at once, and over the cache one token at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from mynah.models.architecture import Architecture

BLOCK = 32  # keys; the cache is exactly as long as is attended to, for matmul copies a cache that is longer
# Query heads of one key head that are multiplied at once. With four or more MKL adds in an order that depends on the cache's length, and so
# on the longest sequence beside.
HEADS_AT_ONCE = 3
# torch multiplies bf16 matrices of so many products or fewer in all by another routine than larger ones, which adds in another order
# (mkldnn_gemm_min_size in ATen/native/mkldnn/Matmul.cpp). A tiny model's are computed several times at once.
FEW_PRODUCTS = 16**3


class PromptAttention:
    """Causal attention within prompts of which some have the same length."""

    def __init__(self, of: Architecture, groups: Sequence[Tensor]) -> None:
        """`groups`: the prompts of each length, as row numbers int64 [prompts, length]."""
        self._of, self._groups = of, groups

    def __call__(self, query: Tensor, added: Tensor, window: int) -> Tensor:
        """Attend.

        Args:
            query: [rows, heads, head], scaled.
            added: Keys and values, [rows, 2, kv_heads, head].
            window: Tokens attended to; 0: all.

        Returns:
            [rows, heads * head], of the queries' dtype.
        """
        of = self._of
        mixed = torch.empty(len(query), of.heads * of.head, dtype=query.dtype, device=query.device)
        for members in self._groups:
            queries = query[members].float().transpose(1, 2)  # [prompts, heads, length, head]
            key, value = added[members].float().permute(2, 0, 3, 1, 4)
            if of.heads != of.kv_heads:
                key, value = (each.repeat_interleave(of.heads // of.kv_heads, 1) for each in (key, value))
            found = self._attend(queries, key, value, window)
            mixed[members] = found.transpose(1, 2).reshape(*members.shape, -1).to(query.dtype)
        return mixed

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
        """All fp32 [prompts, heads, length, head]."""
        length = query.shape[2]
        if not 0 < window < length:
            return scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
        seen = torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - window)
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=1.0)


class StepAttention:
    """Attention of one new token of each sequence over the sequence's cache."""

    def __init__(self, of: Architecture, places: Tensor, keys: int) -> None:
        """`places`: the tokens' positions, int64 [slots]; `keys`: the cache's length."""
        self._of, self._places, self._keys = of, places[:, None], keys
        self._masks: dict[int, Tensor] = {}

    def __call__(self, query: Tensor, cache: Tensor, window: int) -> Tensor:
        """Attend.

        Args:
            query: [slots, heads, head], scaled.
            cache: Keys and values, [2, slots, kv_heads, keys, head].
            window: Tokens attended to; 0: all.

        Returns:
            [slots, heads * head], of the queries' dtype.
        """
        of, slots = self._of, len(query)
        grouped = query.reshape(slots, of.kv_heads, of.heads // of.kv_heads, of.head)
        copies = 1 + FEW_PRODUCTS // (slots * of.kv_heads * of.head * self._keys)
        if copies > 1:
            grouped, cache = grouped.repeat(1, copies, 1, 1), cache.repeat(1, 1, copies, 1, 1)
        keys, values = cache
        if of.heads != of.kv_heads:
            keys, grouped = keys.float(), grouped.float()  # a product of bf16 would round each score to 8 bits
        if grouped.shape[2] <= HEADS_AT_ONCE:
            found = self._attend(grouped, keys, values, window)
        else:
            parts = torch.split(grouped, HEADS_AT_ONCE, 2)
            found = torch.cat([self._attend(part, keys, values, window) for part in parts], 2)
        return found[:, : of.kv_heads].reshape(slots, of.heads * of.head)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
        """Query heads that share keys and values, [slots, kv_heads, heads, head] -> the same, of the values' dtype."""
        weights = torch.softmax(query @ keys.transpose(-1, -2) + self._mask(window), -1).to(values.dtype)
        return weights @ values

    def _mask(self, window: int) -> Tensor:
        """fp32 [slots, 1, 1, keys]: 0, or -inf for keys that are not attended to."""
        if window not in self._masks:
            keys = torch.arange(self._keys, device=self._places.device)
            hidden = keys > self._places
            if window:
                hidden |= keys <= self._places - window
            mask = torch.zeros(len(self._places), 1, 1, self._keys, device=keys.device)
            self._masks[window] = mask.masked_fill_(hidden[:, None, None], -torch.inf)
        return self._masks[window]
