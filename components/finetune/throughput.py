"""Training throughput and the share of the device's peak that it uses."""

import re
import resource
import sys
import time

import torch

from mynah.models.architecture import Architecture

# Peak of dense bf16 matrix products in FLOP/s, from NVIDIA's data sheets; T4 and V100 have no bf16, theirs are of fp16.
PEAKS = {
    "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12,
    "A10G": 70e12, "A10": 125e12, "V100": 125e12, "T4": 65e12,
}  # fmt: skip
# The product that measures an unknown device, and for how long: on a GPU a small one is over before the next is started.
MATRIX_SIDE, MEASURE_SECONDS = {"cpu": 1024, "cuda": 4096}, 0.1


class Utilisation:
    """The share of the peak of the devices that a training run's own arithmetic needs.

    A peak that was measured while other programs used the processor is too low. It is measured again when training exceeds it, and a share
    above 1, which nothing can have, is not reported.

    Args:
        flops: floating-point operations per token, of `flops_per_token`.
        device: the device of this process.
        dtype: of the matrix products.
        processes: the processes that train together, each with a device of its own kind.
    """

    def __init__(self, flops: float, device: torch.device, dtype: torch.dtype, processes: int = 1) -> None:
        self._flops, self._device, self._dtype, self._processes = flops, device, dtype, processes
        self._known = known_peak(torch.cuda.get_device_name(device), dtype) if device.type == "cuda" else None
        self._peak = self._known or measured_peak(device, dtype)

    def share(self, tokens_per_second: float) -> float | None:
        """Return the share at a speed of all processes together, 0 to 1; None where the peak is unknown, for it was exceeded."""
        needed = tokens_per_second * self._flops / self._processes
        if needed > self._peak and not self._known:
            self._peak = max(self._peak, measured_peak(self._device, self._dtype))
        return needed / self._peak if needed <= self._peak else None


def flops_per_token(architecture: Architecture, length: int, *, adapters: bool = False) -> float:
    """Return the floating-point operations of training per token: 6 N + 12 L d T, and with adapters 4 N + 12 L d T.

    The formula is that of Chowdhery et al. 2022, "PaLM", appendix B, https://arxiv.org/abs/2204.02311. N counts the parameters of the
    blocks and of the output layer, without the embedding look-up. Of the 6, two are the forward pass, two the gradient of the activations
    and two that of the weights, which frozen ones do not have; the adapters' own weights are too few to count.

    Args:
        architecture: the model's.
        length: tokens per row (T).
        adapters: whether only LoRA adapters are trained.
    """
    of = architecture
    per_weight = 4.0 if adapters else 6.0
    return per_weight * (of.matrix_parameters + of.vocabulary * of.width) + 12.0 * of.layers * of.heads * of.head * length


def known_peak(name: str, dtype: torch.dtype) -> float | None:
    """Return the peak of a GPU in FLOP/s by its data sheet; None for another GPU or type.

    Args:
        name: the GPU's, as its driver gives it: "NVIDIA A100-SXM4-80GB".
        dtype: of the matrix products.
    """
    if dtype is not torch.bfloat16:
        return None
    return next((flops for kind, flops in PEAKS.items() if re.search(rf"\b{kind}\b", name)), None)  # an L40 is no L4


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the speed of the fastest of several matrix products of `dtype`, in FLOP/s: others may disturb most of them."""
    side = MATRIX_SIDE[device.type]
    matrix = torch.randn(side, side, dtype=dtype, device=device)
    matrix @ matrix
    fastest, until = float("inf"), time.perf_counter() + MEASURE_SECONDS
    while True:
        started = time.perf_counter()
        matrix @ matrix
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = time.perf_counter()
        fastest = min(fastest, ended - started)
        if ended > until:
            return 2.0 * side**3 / fastest


def memory_gb(device: torch.device) -> float:
    """Return the peak memory so far in 10^9 bytes: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_memory * (1 if sys.platform == "darwin" else 1024) / 1e9
