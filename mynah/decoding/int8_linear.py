"""A linear layer with int8 weights, exact in its sums: what an x86 processor without AVX-512 computes fastest.

Weights are rounded to int8 with one scale for each output (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339, section 2.1). An
input row is rounded to 14 bits of its own largest number, and goes through FBGEMM's int8 kernel as two digits of 7 bits,
`128 * high + low`, side by side as two rows. Seven bits, because AVX2 adds pairs of products in 16 bits and would cut off more
(Khudia et al. 2021, https://arxiv.org/abs/2101.05615); two digits, because one costs language models some 0.01 nats a token and
two cost nothing that can be measured. The sums are whole numbers, so that a row's result is the same to the bit whatever the other
rows are and however many threads add them up.
"""

import torch
from torch import Tensor
from torch.nn.functional import gelu

from mynah.decoding import compat

BLOCK = 512  # inputs: FBGEMM keeps a matrix in blocks of so many, the last one filled up
LEVELS = 127  # of a weight, on either side of 0
DIGIT = 128  # the base; both digits lie in [-64, 64]
LARGEST = 63.49  # of the high digit before it is rounded: the low one may add a half to it
ZERO_POINT = 64  # FBGEMM takes inputs without a sign
TINY = 1e-30  # a row of zeros stays one


class Int8Linear:
    """`x @ weight.T + bias` for fp32 rows [rows, in]: fp32 [rows, out]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """`weight`: fp32 [out, in]; `bias`: fp32 [out], which may hold -inf."""
        scale = weight.abs().amax(1).clamp_min_(TINY) / LEVELS
        digits = (weight / scale[:, None]).round_().to(torch.int8)
        self._packed = compat.fbgemm_int8_packed(digits, scale)
        self._linear = compat.fbgemm_int8_linear()
        self._bias = bias
        self._tiny = torch.tensor(TINY)
        self._in = weight.shape[1]
        self.nbytes = len(weight) * (-(-self._in // BLOCK) * BLOCK + 4) + scale.nbytes + bias.nbytes

    def __call__(self, x: Tensor, *, activation: bool = False) -> Tensor:
        """fp32 [rows, in] -> fp32 [rows, out], with GPT-2's GELU after it when `activation`."""
        # Each operation that is saved here is 50 fewer a token of GPT-2, of 2 µs and more.
        scale = torch.add(
            self._tiny, x.abs().amax(1, keepdim=True), alpha=1 / LARGEST
        )  # torch's infinity norm is ten times as slow
        digits = torch.empty(2 * len(x), self._in)
        high, low = digits.chunk(2)
        torch.round(torch.div(x, scale, out=low), out=high)
        low.sub_(high).mul_(DIGIT)  # rounded by the kernel
        found = self._linear(digits, 1.0, ZERO_POINT, self._packed)
        high, low = found.chunk(2)
        found = torch.addcmul(self._bias, high.add_(low, alpha=1 / DIGIT), scale, out=high)
        return gelu(found, approximate="tanh") if activation else found
