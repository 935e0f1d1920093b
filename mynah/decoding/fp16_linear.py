"""A linear layer with float16 weights and float32 sums, by FBGEMM: what an x86 processor without AVX-512 computes fastest for many rows.

The weights are widened as they are read, so that a step reads half the bytes that float32 has
(https://github.com/pytorch/FBGEMM, fbgemm/FbgemmFP16.h).
"""

from torch import Tensor
from torch.nn.functional import gelu, pad

from mynah.decoding import compat

# FBGEMM splits rows into blocks of up to six. Blocks of one and two rows add in another order than the others, and no multiple of three
# leaves any: with rows of zeros up to the next, a row's result is the same to the bit whatever the other rows are.
ROWS = 3
BLOCK = 512  # inputs: FBGEMM keeps a matrix in blocks of so many, the last one filled up


class HalfLinear:
    """`x @ weight.T + bias` for fp32 rows [rows, in]: fp32 [rows, out]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """`weight`: fp32 [out, in], of numbers that float16 holds (up to 65,504); `bias`: fp32 [out], which may hold -inf."""
        self._packed = compat.fbgemm_fp16_packed(weight.contiguous(), bias)
        self._linear = compat.fbgemm_fp16_linear()
        self.nbytes = 2 * len(weight) * padded(weight.shape[1]) + bias.nbytes

    def __call__(self, x: Tensor, *, activation: bool = False) -> Tensor:
        """fp32 [rows, in] -> fp32 [rows, out], with GPT-2's GELU after it when `activation`."""
        rows = len(x)
        if missing := -rows % ROWS:
            x = pad(x, (0, 0, 0, missing))
        found = self._linear(x, self._packed)[:rows]
        return gelu(found, approximate="tanh") if activation else found


def padded(inputs: int) -> int:
    """How many inputs a matrix takes memory for."""
    return -(-inputs // BLOCK) * BLOCK
