"""A linear layer with int8 weights by compiled functions for AVX2: all weights are read once at the speed of memory, whatever the rows.

Weights are rounded to int8 with one scale for each output (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339, section 2.1), a row
to 14 bits of its own largest number: 8 bits of it would cost language models some 0.01 nats a token, 14 cost nothing that can be measured.
"""

import struct

import torch
from torch import Tensor

from mynah.decoding import huge_pages
from mynah.decoding.compiled_program import Operation

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
    """`x @ weight.T + bias` for fp32 rows [rows, in]: fp32 [rows, out]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
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
            panels,
            self._weights.data_ptr(),
            self._scales[0].data_ptr(),
            self._scales[1].data_ptr(),
        )
        self._blocks = (
            blocks, pairs,
            max(1, min(panels // SHARES, BYTES_AT_ONCE // (PANEL * self._length))), rows_at_once,
        )  # fmt: skip
        self._quantise, self._multiply = compiled.quantise.address, compiled.multiply.address

    @property
    def is_whole(self) -> bool:
        """Whether its outputs fill all panels, so that results have no padding."""
        return self._out * 4 == self._row_bytes

    def scratch_bytes(self, rows: int) -> int:
        """Return what digits and scales of so many rows take."""
        return _whole_lines(4 * rows) + 2 * rows * self._length

    def __call__(self, x: Tensor, *, activation: bool = False) -> Tensor:
        """fp32 [rows, in] -> fp32 [rows, out], with GPT-2's GELU after it when `activation`."""
        rows = len(x)
        if x.stride(1) != 1:
            x = x.contiguous()
        y = torch.empty(rows, self._row_bytes // 4)
        scratch = torch.empty(self.scratch_bytes(rows), dtype=torch.uint8)  # which the call points to
        for operation in self.operations(x, y, scratch, activation=activation):
            operation.run()
        return y if self.is_whole else y[:, : self._out].contiguous()

    def operations(self, x: Tensor, y: Tensor, scratch: Tensor, *, activation: bool = False) -> list[Operation]:
        """Return what computes a product.

        Args:
            x: fp32 [rows, in], the numbers of a row side by side.
            y: fp32 [rows, out], with its padding, contiguous, which is written.
            scratch: Room, uint8 [`scratch_bytes`].
            activation: Whether GPT-2's GELU follows.
        """
        rows = len(x)
        assert x.dtype == y.dtype == torch.float32
        assert (x.shape[1], x.stride(1)) == (self._in, 1)
        assert y.shape == (rows, self._row_bytes // 4)
        assert len(scratch) >= self.scratch_bytes(rows)
        row_scales = scratch.data_ptr()
        digits = row_scales + _whole_lines(4 * rows)
        call = CALL.pack(
            rows, self._in, x.data_ptr(), 4 * x.stride(0), y.data_ptr(), *self._about, int(activation), *self._blocks,
            digits, row_scales,
        )  # fmt: skip
        return [Operation(self._quantise, call, rows > ALONE), Operation(self._multiply, call, in_team=True)]


def _whole_lines(nbytes: int) -> int:
    return -(-nbytes // huge_pages.LINE) * huge_pages.LINE


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
