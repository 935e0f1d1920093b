"""Which kernel is taken: the first that the machine can run, or the one forced; and int8's rounding and sums."""

import os
import re
import subprocess
import sys

import pytest
import torch

from mynah.decoding.int8_linear import Int8Linear
from mynah.decoding.kernels import TABLE, chosen, runnable
from mynah.models.base_models import FLEDGLING, resolve
from tests.model.runnable_kernels import RUNNABLE

# int8


def test_an_int8_layer_is_exact_but_for_the_rounding_of_its_weights():
    if "fbgemm-int8" not in {each.name for each in RUNNABLE}:
        pytest.skip("this machine cannot run fbgemm-int8")
    torch.manual_seed(1)
    weight, bias = torch.randn(384, 192) * torch.logspace(-3, 1, 384)[:, None], torch.randn(384)
    weight[7] = 0.0
    bias[9] = -torch.inf
    x = torch.randn(70, 192) * torch.logspace(-4, 4, 70)[:, None]
    x[3] = 0.0
    x[5, 11] = 3000.0  # an outlier: the others of its row keep 14 bits less of it
    layer = Int8Linear(weight, bias)
    scale = weight.abs().amax(1).clamp_min(1e-30) / 127
    rounded = (weight / scale[:, None]).round().double() * scale.double()[:, None]
    exact, found = x.double() @ rounded.T + bias.double(), layer(x).double()
    allowed = x.abs().amax(1, keepdim=True).double() / 8000 * rounded.abs().sum(1) + 1e-6 * exact.abs().nan_to_num(0, 0, 0) + 1e-6
    kept = torch.isfinite(bias)
    assert ((found - exact).abs()[:, kept] <= allowed[:, kept]).all()
    assert (found[:, 9] == -torch.inf).all()
    assert (found[:, 7] == bias[7].double()).all()


def test_int8_sums_do_not_saturate():
    """All digits at their largest, which 16-bit sums of pairs would cut off with 8 bits."""
    if "fbgemm-int8" not in {each.name for each in RUNNABLE}:
        pytest.skip("this machine cannot run fbgemm-int8")
    for sign in (1.0, -1.0):
        layer = Int8Linear(torch.full((256, 3072), sign), torch.zeros(256))
        found = layer(torch.full((3, 3072), 1.0))
        assert found[0, 0].item() == pytest.approx(sign * 3072, rel=1e-3)


# The choice


def ask_doctor(**environment):
    code = "from mynah.decoding.kernels import chosen; print(chosen().name)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize("name", [each.name for each in RUNNABLE])
def test_a_kernel_can_be_forced(name):
    assert ask_doctor(MYNAH_KERNELS=name).stdout.strip() == name


def test_the_first_that_the_machine_can_run_is_taken():
    assert chosen().name == (os.environ.get("MYNAH_KERNELS") or RUNNABLE[0].name)


def test_without_numba_fbgemm_computes():
    if not {"avx2-int8", "fbgemm-int8"} <= {each.name for each in RUNNABLE}:
        pytest.skip("this machine cannot run both")
    code = "import sys; sys.modules['numba'] = None; from mynah.decoding.kernels import runnable; print(*[each.name for each in runnable()])"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert "avx2-int8" not in names
    assert "fbgemm-int8" in names


def generate(*words, **environment):
    command = [sys.executable, "-m", "pipelines", "generate", str(resolve(FLEDGLING).folder), "I like", "--seed", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("onednn-int4", r"error: MYNAH_KERNELS is 'onednn-int4', and no such kernels are known \(cuda-bf16, .*\)\n"),
        ("mps-fp32", r"error: MYNAH_KERNELS is 'mps-fp32', and this machine lacks macOS with Metal\n"),
    ],
)
def test_one_that_cannot_be_run_is_refused_with_those_that_can(name, says):
    if name in {each.name for each in runnable()}:
        pytest.skip(f"this machine can run {name}")
    done = generate(MYNAH_KERNELS=name)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(says + r"\S.*can run: .*torch-fp32.*\n", done.stderr)


def test_the_table_names_each_once():
    assert len({each.name for each in TABLE}) == len(TABLE)
