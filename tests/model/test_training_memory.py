"""Training keeps within memory: what a recipe leaves open is derived, and batches that do not fit are halved."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components.finetune.derived_settings import derive, describe
from components.finetune.forward import TrainingForward
from components.finetune.optimizer_step import Optimizer
from components.finetune.process_group import ProcessGroup
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError
from mynah.core.machine import free_memory
from mynah.models import checkpoint
from mynah.models.architecture import read_architecture
from mynah.training.recipe import Recipe, build
from tests.model.finetune_runs import FAST, curve


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


# What is derived


def test_what_a_recipe_leaves_open_is_derived_and_what_it_says_stays(loaded):
    config = loaded.architecture
    found = derive(Recipe(), config, 100_000, None, "fp32")
    assert (found.block, found.batch_tokens, found.micro_batch_tokens) == (64, 2048, 2048)
    assert found.learning_rate > derive(Recipe(), _gpt2(), 100_000, None, "fp32").learning_rate > 0
    large = derive(Recipe(), _gpt2(), 100_000, None, "fp32")
    assert [(each.epochs, each.beta2) for each in (found, large)] == [(4, 0.999), (2, 0.95)]
    assert derive(Recipe(), config, 1000, None, "fp32").batch_tokens < 2048  # few posts: smaller steps, or there were hardly any
    said = build(
        "default", {"epochs": 3, "beta2": 0.9, "learning_rate": 1e-4, "batch_tokens": 512, "block": 32, "micro_batch_tokens": 64}
    )
    assert derive(said, config, 100_000, 1, "fp32") == said
    original = derive(build("huggingtweets"), _gpt2(), 1000, None, "fp32")
    assert (original.block, original.epochs, original.beta2) == (1024, 4, 0.999)
    with pytest.raises(InputError, match="block is 128, and the model's context has 64 tokens"):
        derive(build("default", {"block": 128}), config, 1000, None, "fp32")


def test_as_much_at_once_as_memory_holds():
    batch = build("default", {"batch_tokens": 65536})
    sizes = [derive(batch, _gpt2(), 10**6, gigabytes * 10**9, "bf16").micro_batch_tokens for gigabytes in (80, 16, 8, 4, 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 65536
    assert sizes[-1] == 128  # a row at least
    assert "(4,096 at once)" in describe(
        derive(build("default", {"batch_tokens": 8192, "micro_batch_tokens": 4096}), _gpt2(), 10**6, None, "bf16"), 3, "bf16", 2
    )


def _gpt2():
    return read_architecture({"model_type": "gpt2"}, Path("gpt2"))


def test_free_memory_is_what_the_container_has_left(tmp_path):
    def free(groups=tmp_path, own="") -> int | None:
        (tmp_path / "own").write_text(own)
        return free_memory(groups, lambda: 1_024_000_000, tmp_path / "own")

    def write(folder, **values):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in values.items():
            (folder / f"memory.{name}").write_text(text)

    assert free() == 1_024_000_000
    write(tmp_path, max="500000\n", current="300000\n", stat="anon 1\ninactive_file 50000\n")
    assert free() == 250_000
    write(tmp_path, max="max\n")
    assert free() == 1_024_000_000
    write(
        tmp_path / "slurm" / "job", max="90000\n", current="20000\n", stat="inactive_file 0\n"
    )  # no container: a job's own group
    assert free(own="1:name=systemd:/other\n0::/slurm/job/step\n") == 70_000
    write(tmp_path / "slurm", max="50000\n", current="20000\n", stat="inactive_file 0\n")
    assert free(own="0::/slurm/job/step\n") == 30_000  # the group above allows less
    (tmp_path / "memory.max").unlink()
    write(tmp_path / "memory", limit_in_bytes="500000", usage_in_bytes="600000", stat="total_inactive_file 10")
    assert free() == 0
    write(tmp_path / "memory", usage_in_bytes="0")
    write(tmp_path / "memory" / "docker", limit_in_bytes="80000", usage_in_bytes="10000", stat="total_inactive_file 10")
    assert free(own="4:cpu,memory:/docker\n0::/\n") == 70_010
    assert free_memory(tmp_path / "none", lambda: None, tmp_path / "none") is None


def test_free_memory_of_this_machine():
    assert 0 < free_memory() <= psutil.virtual_memory().total


# Memory


def test_a_batch_in_parts_takes_the_same_step(loaded, data, tmp_path, tiny_checkpoint):
    whole = finetune(data, tmp_path / "whole", FinetuneSettings(str(tiny_checkpoint), FAST))
    parts = build("default", FAST.to_record() | {"micro_batch_tokens": 64})
    record = finetune(data, tmp_path / "parts", FinetuneSettings(str(tiny_checkpoint), parts))
    assert record.recipe["micro_batch_tokens"] == 64
    assert curve(tmp_path / "parts") == pytest.approx(curve(tmp_path / "whole"), abs=2e-2 if record.precision == "bf16" else 1e-4)
    assert record.history[-1].held_out_loss == pytest.approx(whole.history[-1].held_out_loss, abs=2e-2)


def test_what_does_not_fit_into_memory_is_halved_and_goes_on(tmp_path):
    """A real refusal by the system: the process may not take more than some hundred MB, and says how much it takes at once."""
    code = """
import resource, sys, torch
from transformers import GPT2Config, GPT2LMHeadModel
from components.finetune.optimizer_step import Optimizer
from components.finetune.forward import TrainingForward
from components.finetune.process_group import ProcessGroup
from mynah.training.recipe import build
from mynah.core.errors import PlatformError
from mynah.models.architecture import read_architecture
from mynah.models.checkpoint import Checkpoint
torch.manual_seed(0)
config = GPT2Config(n_layer=4, n_embd=256, n_head=4, vocab_size=512, n_positions=128, eos_token_id=0, bos_token_id=0)
model = Checkpoint(None, GPT2LMHeadModel(config).train(), None, read_architecture(config.to_dict(), "a model"), 0, 0)
recipe = build("default", {"block": 128, "batch_tokens": 8192, "micro_batch_tokens": 8192, "learning_rate": 1e-3})
learner = Optimizer(TrainingForward(model, recipe, bf16=False), recipe, ProcessGroup())
batch = [[torch.randint(1, 512, (129,)).tolist()] for _ in range(64)]
held = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[1]),) * 2)
try:
    print(learner.step(batch, 8192, 1e-3), learner.micro_batch_tokens)
except PlatformError as error:
    print(error)
"""

    def limited(megabytes):
        command = [sys.executable, "-c", code, str(megabytes << 20)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # libgomp ends a process that has no memory for a second thread
        return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)

    done = limited(400)
    assert "out of memory: from now on 4,096 tokens at once" in done.stderr, done.stderr
    nats, _, at_once = done.stdout.replace("(", "").replace(",", "").replace(")", "").split()
    assert 128 <= int(at_once) < 8192
    assert float(nats) / 8192 == pytest.approx(6.24, abs=0.3)  # ln 512: nothing of what was given up is counted
    assert "not even one row of the batch fits into memory" in limited(1).stdout


def test_another_error_of_torch_is_no_lack_of_memory(loaded):
    recipe = derive(FAST, loaded.architecture, 1000, None, "fp32")
    learner = Optimizer(TrainingForward(loaded, recipe, bf16=False), recipe, ProcessGroup())
    with pytest.raises(IndexError):
        learner.step([[[0, 10**6, 0]]], 2, 1e-3)  # no such token
