"""Whether a row of a layer's or of attention's result is the same to the bit whatever the other rows are: tried, because processors differ.

oneDNN, FBGEMM and MKL choose the blocks in which they add up by the number of rows, the sizes of the matrix, the instructions that the
processor has and the number of threads. With AMX, for example, oneDNN 3.7 adds up to 32 rows in another order than more.
"""

import functools
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from mynah.decoding.attention import BLOCK, StepAttention
from mynah.decoding.compiled_attention import Rows, attend
from mynah.decoding.kernels import THREADS, Kernels
from mynah.models.architecture import Architecture

# The libraries change their blocks between these; the larger ones are prompts, of which many rows are computed together.
ROWS = (1, 2, 3, 5, 8, 14, 20, 32, 48, 64, 130, 185, 300)
MAX_RESULTS = 1 << 23  # numbers; the last layer of GPT-2 has 50,432 for each row, and never more than 64 rows
DISTINCT = 64  # outputs; the rest of the matrix repeats them
SEED = 0
LENGTHS = (
    20,
    50,
    90,
    120,
    150,
    180,
    220,
    250,
    300,
)  # tokens of the texts that are attended to; MKL changes its blocks between these
BESIDE = 320  # tokens of a text beside them


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
    return _in_a_thread(lambda: _try(kernels, outputs, inputs, activation))


@functools.cache
def attention_is_independent(kernels: Kernels, of: Architecture) -> bool:
    """Return whether it holds for attention over the cache, which is as long as the longest text beside needs. Blocks for milliseconds.

    Args:
        kernels: For the numbers' type.
        of: The heads.
    """
    return _in_a_thread(lambda: _try_attention(kernels, of))


def _in_a_thread(trial: Callable[[], bool]) -> bool:
    """Return the result of a trial with the threads that decode."""
    found: list[bool] = []

    def work() -> None:
        torch.set_num_threads(THREADS)
        found.append(trial())

    thread = threading.Thread(target=work, name="exactness")
    thread.start()
    thread.join()
    return found[0]


@torch.inference_mode()
def _try_attention(kernels: Kernels, of: Architecture) -> bool:
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.tensor([*LENGTHS, BESIDE])
    keys = _padded(BESIDE)
    cache = torch.randn(2, len(lengths), of.kv_heads, keys, of.head, generator=generator)
    for values, length in zip(cache[1], lengths.tolist(), strict=True):  # equal weights of these add up to rounding alone
        first, second = torch.randperm(length, generator=generator)[: length // 2 * 2].view(2, -1)
        values[:, second] = -values[:, first]
    cache = cache.to(kernels.device, kernels.dtype)
    places = (lengths - 1).to(kernels.device)
    for query in (
        torch.zeros(len(lengths), of.heads, of.head),
        torch.randn(len(lengths), of.heads, of.head, generator=generator),
    ):
        queries = query.to(kernels.device, kernels.dtype)
        together = _attend(kernels, of, places, queries, cache)
        for row, length in enumerate(LENGTHS):
            own = cache[:, row : row + 1, :, : _padded(length)].contiguous()
            alone = _attend(kernels, of, places[row : row + 1], queries[row : row + 1], own)
            if not torch.equal(alone[0], together[row]):
                return False
    return True


def _attend(kernels: Kernels, of: Architecture, places: Tensor, queries: Tensor, cache: Tensor) -> Tensor:
    """Attention as a step has it; the arguments as of `StepAttention`."""
    if not kernels.is_compiled:
        return StepAttention(of, places, cache.shape[3])(queries, cache, 0)
    newest = cache[:, torch.arange(len(places)), :, places]  # [slots, 2, kv_heads, head]
    return attend(of, queries, newest, cache, 0, Rows(torch.arange(len(places)), places))


def _padded(length: int) -> int:
    """The length of a cache for a text of `length` tokens."""
    return -(-length // BLOCK) * BLOCK


@torch.inference_mode()
def _try(kernels: Kernels, outputs: int, inputs: int, activation: bool) -> bool:
    counts = [count for count in ROWS if count * outputs <= MAX_RESULTS]
    weight, rows = _cancelling(outputs, inputs, counts[-1])
    layer, _ = kernels.make_linear(weight.to(kernels.device), torch.zeros(outputs, device=kernels.device))
    rows = rows.to(kernels.device, kernels.dtype)
    results = layer(rows, activation=activation)
    return all(torch.equal(layer(rows[:count], activation=activation), results[:count]) for count in counts)


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
