"""How fast a model trains, and how much of what the device could do that is."""

import resource
import sys
import time
from typing import Any

import torch

# Dense bf16 products in FLOP/s, from NVIDIA's data sheets; T4 and V100 have none and are given for fp16.
PEAKS = {
    "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12,
    "A10G": 70e12, "A10": 125e12, "V100": 125e12, "T4": 65e12,
}  # fmt: skip
SIDE, SECONDS = 1024, 0.1  # of the square matrices, and how long, by which an unknown device is measured


def flops_per_token(config: Any, length: int) -> float:  # noqa: ANN401 - transformers' own
    """Floating-point operations that training needs for a token in a row of `length`: 6 N + 12 L d T (Chowdhery et al. 2022, appendix B).

    N counts the matrices: GPT-2's blocks and its output layer, not the look-up of embeddings.
    """
    layers, width = int(config.n_layer), int(config.n_embd)
    return 6.0 * (12 * layers * width**2 + int(config.vocab_size) * width) + 12.0 * layers * width * length


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s that the device can reach: by its data sheet, or what a bare product of two matrices reaches here."""
    if device.type == "cuda" and dtype is torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        for kind, flops in PEAKS.items():
            if kind in name:
                return flops
    matrix = torch.randn(SIDE, SIDE, dtype=dtype, device=device)
    matrix @ matrix
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        matrix @ matrix
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times += 1
    return 2.0 * SIDE**3 * times / (time.perf_counter() - began)


def memory_gb(device: torch.device) -> float:
    """The most memory held so far, in 10^9 bytes: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held * (1 if sys.platform == "darwin" else 1024) / 1e9
