"""Whether a row of a layer's result is the same to the bit whatever the other rows are: tried, because processors differ.

oneDNN, FBGEMM and MKL choose the blocks in which they add up by the number of rows, the sizes of the matrix, the instructions that the
processor has and the number of threads. With AMX, for example, oneDNN 3.7 adds up to 32 rows in another order than more.
"""

import functools
import threading

import torch
from torch import Tensor

from mynah.decoding.kernels import THREADS, Kernels

# The libraries change their blocks between these; the larger ones are prompts, of which many rows are computed together.
ROWS = (1, 2, 3, 5, 8, 14, 20, 32, 48, 64, 130, 185, 300)
MAX_RESULTS = 1 << 23  # numbers; the last layer of GPT-2 has 50,432 for each row, and never more than 64 rows
DISTINCT = 64  # outputs; the rest of the matrix repeats them
SEED = 0


@functools.cache
def rows_are_independent(kernels: Kernels, outputs: int, inputs: int, activation: bool) -> bool:
    """Return whether it holds for layers of these sizes on this machine, with the threads that decode.

    The trial runs in a thread of its own, which ends: OpenMP's team of it would be in the engine's way (`model.use_one_core`). Blocks:
    some 10 ms for fledgling's layers, half a second for GPT-2's, once in a process.

    Args:
        kernels: What multiplies.
        outputs: Numbers that the layer gives for each row.
        inputs: Numbers in a row.
        activation: Whether GPT-2's GELU follows.
    """
    found: list[bool] = []

    def work() -> None:
        torch.set_num_threads(THREADS)
        found.append(_try(kernels, outputs, inputs, activation))

    trial = threading.Thread(target=work, name="exactness")
    trial.start()
    trial.join()
    return found[0]


@torch.inference_mode()
def _try(kernels: Kernels, outputs: int, inputs: int, activation: bool) -> bool:
    counts = [count for count in ROWS if count * outputs <= MAX_RESULTS]
    weight, rows = _cancelling(outputs, inputs, counts[-1])
    layer, _ = kernels.make_linear(weight.to(kernels.device), torch.zeros(outputs, device=kernels.device), activation)
    rows = rows.to(kernels.device, kernels.dtype)
    results = layer(rows)
    return all(torch.equal(layer(rows[:count]), results[:count]) for count in counts)


def _cancelling(outputs: int, inputs: int, count: int) -> tuple[Tensor, Tensor]:
    """A matrix and rows whose products cancel one another: what a result has is rounding alone, which shows any other order of adding.

    Returns:
        fp32 [outputs, inputs] and fp32 [count, inputs].
    """
    generator = torch.Generator().manual_seed(SEED)
    half = inputs // 2
    first, second = torch.randperm(inputs, generator=generator)[: 2 * half].view(2, half)
    positive = torch.randn(min(outputs, DISTINCT), half, generator=generator)
    weight, rows = torch.zeros(len(positive), inputs), torch.zeros(count, inputs)
    weight[:, first], weight[:, second] = positive, -positive
    rows[:, first] = rows[:, second] = torch.randn(count, half, generator=generator)
    return weight.repeat(-(-outputs // len(weight)), 1)[:outputs], rows
