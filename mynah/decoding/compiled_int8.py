"""A linear layer with int8 weights by compiled functions for AVX2: all weights are read once at the speed of memory, whatever the rows.

Weights are rounded to int8 with one scale for each output (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339, section 2.1), a row
to 14 bits of its own largest number: 8 bits of it would cost language models some 0.01 nats a token, 14 cost nothing that can be measured.
"""

import struct

import torch
from torch import Tensor

from mynah.decoding import huge_pages
from mynah.decoding.team import run_here, run_in_team

LEVELS = 127  # of a weight, on either side of 0
TINY = 1e-30  # a matrix's row of zeros stays one
CALL = struct.Struct("16q")  # compiled.int8_product.CALL
ALONE = 4  # rows that the calling thread makes digits of by itself
BYTES_AT_ONCE = 128 << 10  # of weights that a thread takes at a time: some microseconds of reading
SHARES = 16  # of a matrix at least, so that no thread waits long for the others
DIGITS_AT_ONCE = (
    192 << 10
)  # bytes of rows that are multiplied with the same weights before the next: the cache of a core holds them


class CompiledInt8Linear:
    """`x @ weight.T + bias` for fp32 rows [rows, in], with GPT-2's GELU after it when `activation`: fp32 [rows, out]."""

    def __init__(self, weight: Tensor, bias: Tensor, *, activation: bool = False) -> None:
        """`weight`: fp32 [out, in]; `bias`: fp32 [out], which may hold -inf."""
        from mynah.decoding.compiled import int8_product as compiled
        from mynah.decoding.compiled.int8_tile import MAX_ROWS, PANEL

        self._out, self._in = weight.shape
        panels = -(-self._out // PANEL)
        blocks = -(-self._in // compiled.LARGEST_BLOCK)
        pairs = -(-self._in // (4 * blocks)) * 2  # in each block, an even number
        self._length = 2 * blocks * pairs
        scale = weight.abs().amax(1).clamp_min_(TINY) / LEVELS
        self._weights = huge_pages.take(panels * PANEL * self._length)
        _pack(weight, scale, self._weights.view(panels, -1, PANEL, 2))
        self._scales = torch.zeros(2, panels * PANEL)
        self._scales[0, : self._out], self._scales[1, : self._out] = scale, bias
        self.nbytes = self._weights.nbytes + self._scales.nbytes
        self._panels, self._row_bytes = panels, 4 * panels * PANEL
        rows_at_once = max(1, DIGITS_AT_ONCE // (2 * self._length * MAX_ROWS)) * MAX_ROWS
        self._about = (
            panels, self._weights.data_ptr(), self._scales[0].data_ptr(), self._scales[1].data_ptr(), int(activation), blocks, pairs,
            max(1, min(panels // SHARES, BYTES_AT_ONCE // (PANEL * self._length))), rows_at_once,
        )  # fmt: skip
        self._quantise, self._multiply = compiled.quantise.address, compiled.multiply.address

    def __call__(self, x: Tensor) -> Tensor:
        """fp32 [rows, in] -> fp32 [rows, out]."""
        rows = len(x)
        assert x.dtype == torch.float32
        assert x.shape[1] == self._in
        if x.stride(1) != 1:
            x = x.contiguous()
        y = torch.empty(rows, self._row_bytes // 4)
        scales = -(-4 * rows // 64) * 64
        scratch = torch.empty(scales + 2 * rows * self._length, dtype=torch.uint8)
        row_scales = scratch.data_ptr()
        call = CALL.pack(
            rows, self._in, x.data_ptr(), 4 * x.stride(0), y.data_ptr(), *self._about, row_scales + scales, row_scales
        )
        (run_in_team if rows > ALONE else run_here)(self._quantise, call)
        run_in_team(self._multiply, call)
        return y if y.shape[1] == self._out else y[:, : self._out].contiguous()


def _pack(weight: Tensor, scale: Tensor, packed: Tensor) -> None:
    """Write a matrix, rounded, in the order that the functions read.

    Args:
        weight: fp32 [out, in].
        scale: fp32 [out], what a weight of 1 means.
        packed: int8 [panels, length / 2, outputs of a panel, 2], zeros.
    """
    panels, halves, outputs, _ = packed.shape
    digits = torch.zeros(panels * outputs, 2 * halves, dtype=torch.int8)
    digits[: len(weight), : weight.shape[1]] = (weight / scale[:, None]).round_().to(torch.int8)
    packed.copy_(digits.view(panels, outputs, halves, 2).transpose(1, 2))
