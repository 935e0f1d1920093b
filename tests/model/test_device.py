"""The device that a training run computes on: it is named first, and a GPU that was paid for is used or the run ends."""

import stat

import pytest
import torch

from components.finetune import device
from mynah.core.machine import processor_name
from mynah.training.training_record import TrainingRecord

QUICK = ("--set", "epochs=1", "--set", "batch_tokens=2048")


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A function that puts a program nvidia-smi first on the PATH."""

    def put(script: str) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        program = tmp_path / "bin" / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    return put


@pytest.fixture
def gpu_node(monkeypatch):
    """A node of the GPU pool whose torch sees no GPU; a developer's own GPU is hidden."""
    monkeypatch.setenv("MYNAH_NODE_KIND", "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_gpu_node_without_a_gpu_ends_at_once_with_what_was_seen(
    mynah, gpu_node, smi, tiny_checkpoint, data, tmp_path, monkeypatch
):
    smi("echo 'GPU 0: NVIDIA H200 (UUID: GPU-0c5a2b0e)'")
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module  580.95.05\nGCC version: 12.2.0\n")
    done = mynah("finetune", data, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, *QUICK)
    assert done.returncode == 3
    assert not (tmp_path / "model").exists()
    for seen in (
        "of the kind 'gpu' (MYNAH_NODE_KIND)", "580.95.05", "nvidia-smi: GPU 0: NVIDIA H200;", f"torch {torch.__version__}", "--no-gpu",
    ):  # fmt: skip
        assert seen in done.stderr
    assert "GPU-0c5a2b0e" not in done.stderr


@pytest.mark.parametrize(
    ("built", "driver", "script", "seen", "fix"),
    [
        (None, True, "exit 0", "no answer (exit code 0)", "Build the images with CUDA"),
        ("13.0", False, "echo 'command failed' >&2; exit 9", "nvidia-smi: command failed", "device plugin"),
        ("13.0", True, "echo 'GPU 0: Tesla T4'", "nvidia-smi: GPU 0: Tesla T4", "a driver for CUDA 13.0"),
    ],
)
def test_the_fix_follows_from_what_was_seen(
    mynah, gpu_node, smi, tiny_checkpoint, data, tmp_path, monkeypatch, built, driver, script, seen, fix
):
    smi(script)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    if driver:
        (tmp_path / "version").write_text("NVRM version: 470.1\n")
    done = mynah("finetune", data, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, *QUICK)
    assert (done.returncode, seen in done.stderr, fix in done.stderr) == (3, True, True), done.stderr
    assert ("driver: none" in done.stderr) is not driver


def test_the_first_line_and_the_record_name_the_device_and_the_kernels(mynah, tiny_checkpoint, data, tmp_path):
    done = mynah("finetune", data, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, *QUICK)
    assert done.returncode == 0, done.stderr
    record = TrainingRecord.read(tmp_path / "model")
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name()
    assert (record.device_name, bool(record.kernels)) == (name, True)
    assert done.stderr.splitlines()[0] == f"training on {name} ({record.kernels}) in {record.precision}"
