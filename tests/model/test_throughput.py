"""The share of the peak that training reports: never above 1, by the peak of that very device."""

import pytest
import torch

from components.finetune.throughput import Utilisation, flops_per_token, known_peak, measured_peak
from mynah.models.architecture import read_architecture
from mynah.models.base_models import FLEDGLING_FOLDER
from mynah.models.checkpoint import check_folder

CPU = torch.device("cpu")


@pytest.mark.parametrize("tokens_per_second", [0.0, 1.0, 1e3, 1e5, 1e9, 1e15])
def test_a_share_is_never_above_1(tokens_per_second):
    share = Utilisation(1e6, CPU, torch.float32).share(tokens_per_second)
    assert share is None or 0 <= share <= 1


def test_a_peak_that_is_exceeded_is_measured_again_and_then_unknown():
    used = Utilisation(1e30, CPU, torch.float32)
    assert used.share(1.0) is None
    assert Utilisation(1.0, CPU, torch.float32).share(1.0) < 1e-6
    assert measured_peak(CPU, torch.float32) > 1e8


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H200", 989e12),
        ("NVIDIA L40S", 362e12), ("NVIDIA L4", 121e12), ("NVIDIA A10G", 70e12), ("NVIDIA A10", 125e12), ("Tesla V100-SXM2-16GB", 125e12),
        # Not the ones whose names begin alike: an L40 has half as much again as an L4 has.
        ("NVIDIA L40", None), ("NVIDIA RTX A1000", None), ("NVIDIA T400", None), ("NVIDIA H20", None), ("NVIDIA GeForce RTX 4090", None),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_its_whole_name(name, peak):
    assert known_peak(name, torch.bfloat16) == peak
    assert known_peak(name, torch.float32) is None


def test_frozen_weights_need_no_gradient():
    of = read_architecture(check_folder(FLEDGLING_FOLDER), FLEDGLING_FOLDER)
    weights = of.matrix_parameters + of.vocabulary * of.width
    assert flops_per_token(of, 128) - flops_per_token(of, 128, adapters=True) == 2 * weights
