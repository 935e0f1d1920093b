"""Training in several processes: they learn as one does, and end with whoever started them."""

import json
import os
import signal
import subprocess
import time

import pytest

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.training.recipe import build
from tests.model.finetune_runs import MYNAH, curve, run


def test_two_processes_learn_as_one_does(tiny_checkpoint, data, tmp_path):
    recipe = build("default", {"epochs": 2, "batch_tokens": 256, "bf16": False})
    finetune(data, tmp_path / "1", FinetuneSettings(str(tiny_checkpoint), recipe))
    sets = [f"--set={change}" for change in ("epochs=2", "batch_tokens=256", "bf16=false")]
    done = run(data, "--out", tmp_path / "2", "--base-model", tiny_checkpoint, *sets, "--processes", 2)
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stderr
    alone, together = (json.loads((tmp_path / name / "training.json").read_text()) for name in ("1", "2"))
    assert together["processes"] == 2
    assert curve(tmp_path / "2") == pytest.approx(curve(tmp_path / "1"), abs=1e-4)
    losses = [[epoch["held_out_loss"] for epoch in record["history"]] for record in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert together["tokens"] == alone["tokens"]


def test_an_error_in_one_of_the_processes_is_told_as_it_is(tiny_checkpoint, data, tmp_path):
    wild = ("--set", "learning_rate=1", "--set", "weight_decay=10", "--set", "schedule=constant", "--set", "epochs=50")
    done = run(data, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, "--processes", 2, *wild)
    assert done.returncode == 1
    *_, error, fix = done.stderr.strip().splitlines()
    assert error.startswith("error: the loss diverges: ")
    assert fix.startswith("Lower it")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_whoever_started_them(tiny_checkpoint, data, tmp_path, how):
    words = (data, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, "--processes", 2)
    many = ("--set", "epochs=1000", "--set", "patience=0")
    command, environment = [*MYNAH, *map(str, (*words, *many))], {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as child:
        next(line for line in child.stderr if "effort" in line)
        child.send_signal(how)
        child.stderr.read()  # until the last process that has it is gone
    assert child.returncode in (130, -9)
    assert not (tmp_path / "model").exists()
    assert not _alive(str(tmp_path))


def _alive(word):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = subprocess.run(
            ["pgrep", "-f", f"components.finetune.torchrun_worker.*{word}"], capture_output=True, text=True
        ).stdout
        if not found:
            return []
        time.sleep(0.2)
    return found.split()
