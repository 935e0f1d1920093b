"""The training itself: its loss and gradients, what it derives, and how it keeps within memory, alone and with others."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components import checkpoint
from components.errors import InputError
from components.finetune import FinetuneSettings, finetune
from components.finetune.learner import Learner
from components.finetune.loss import LOGITS_AT_ONCE, vocabulary_loss
from components.finetune.objective import Objective
from components.finetune.plan import derive, told
from components.finetune.processes import Processes
from components.finetune.recipe import Recipe, build
from components.machine import free_memory

FAST = build("default", {"epochs": 2, "learning_rate": 5e-3, "batch_tokens": 256})
MYNAH = [sys.executable, "-m", "pipelines", "finetune"]


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


def run(*words, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.run([*MYNAH, *map(str, words)], capture_output=True, text=True, timeout=240, env=environment, **options)


def curve(out):
    return [
        line["train_loss"] for line in map(json.loads, (out / "steps.jsonl").read_text().splitlines()) if "train_loss" in line
    ]


# The loss


@settings(max_examples=20)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(2, 60), st.integers(0, 1000))
def test_the_vocabulary_loss_and_its_gradients_are_torchs(tokens, width, words, seed):
    torch.manual_seed(seed)
    hidden, weight = torch.randn(tokens, width, requires_grad=True), torch.randn(words, width, requires_grad=True)
    targets = torch.randint(0, words, (tokens,))
    theirs = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    expected = torch.autograd.grad(theirs / 7, (hidden, weight))
    ours = vocabulary_loss(hidden, weight, targets, torch.float32)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-4)
    for found, wanted in zip(torch.autograd.grad(ours / 7, (hidden, weight)), expected, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_many_tokens_go_through_the_vocabulary_in_parts_and_a_frozen_layer_gets_no_gradient():
    torch.manual_seed(0)
    hidden, weight = torch.randn(2 * LOGITS_AT_ONCE + 5, 8, requires_grad=True), torch.randn(30, 8)
    targets = torch.randint(0, 30, (len(hidden),))
    theirs = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    ours = vocabulary_loss(hidden, weight, targets, torch.float32)
    (expected,), (found,) = torch.autograd.grad(theirs, hidden), torch.autograd.grad(ours, hidden)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_long_text_needs_no_more_memory_for_the_vocabulary_than_a_short_one():
    """5,000 tokens of GPT-2's vocabulary would be 1 GB of fp32 logits by themselves."""
    code = (
        "import resource, torch\n"
        "from components.finetune.loss import vocabulary_loss\n"
        "hidden, weight = torch.randn(5000, 16, requires_grad=True), torch.randn(50257, 16, requires_grad=True)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "vocabulary_loss(hidden, weight, torch.randint(0, 50257, (5000,)), torch.bfloat16).backward()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    taken = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) * 1024
    assert taken < 5000 * 50257 * 4 / 2


# What is derived


def test_what_a_recipe_leaves_open_is_derived_and_what_it_says_stays(loaded):
    config = loaded.model.config
    found = derive(Recipe(), config, 100_000, None, "fp32")
    assert (found.block, found.batch_tokens, found.micro_batch_tokens) == (64, 2048, 2048)
    assert found.learning_rate > derive(Recipe(), _gpt2(), 100_000, None, "fp32").learning_rate > 0
    assert derive(Recipe(), config, 1000, None, "fp32").batch_tokens < 2048  # few posts: smaller steps, or there were hardly any
    said = build("default", {"learning_rate": 1e-4, "batch_tokens": 512, "block": 32, "micro_batch_tokens": 64})
    assert derive(said, config, 100_000, 1, "fp32") == said
    assert derive(build("huggingtweets"), _gpt2(), 1000, None, "fp32").block == 1024
    with pytest.raises(InputError, match="block is 128, and the model's context has 64 tokens"):
        derive(build("default", {"block": 128}), config, 1000, None, "fp32")


def test_as_much_at_once_as_memory_holds():
    batch = build("default", {"batch_tokens": 65536})
    sizes = [derive(batch, _gpt2(), 10**6, gigabytes * 10**9, "bf16").micro_batch_tokens for gigabytes in (80, 16, 8, 4, 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 65536
    assert sizes[-1] == 128  # a row at least
    assert "(4,096 at once)" in told(
        derive(build("default", {"batch_tokens": 8192, "micro_batch_tokens": 4096}), _gpt2(), 10**6, None, "bf16"), 3, "bf16", 2
    )


def _gpt2():
    from transformers import GPT2Config

    return GPT2Config()


def test_free_memory_is_what_the_container_has_left(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  1000000 kB\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 1_024_000_000
    for name, text in (
        ("memory.max", "500000\n"),
        ("memory.current", "300000\n"),
        ("memory.stat", "anon 1\ninactive_file 50000\n"),
    ):
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path, tmp_path / "meminfo") == 250_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 1_024_000_000
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    for name, text in (("limit_in_bytes", "500000"), ("usage_in_bytes", "600000"), ("stat", "total_inactive_file 10")):
        (tmp_path / "memory" / f"memory.{name}").write_text(text)
    assert free_memory(tmp_path, tmp_path / "meminfo") == 0
    assert free_memory(tmp_path / "none", tmp_path / "none") is None


# Memory


def test_a_batch_in_parts_takes_the_same_step(loaded, data, tmp_path, tiny_checkpoint):
    whole = finetune(data, tmp_path / "whole", FinetuneSettings(str(tiny_checkpoint), FAST))
    parts = build("default", FAST.to_record() | {"micro_batch_tokens": 64})
    record = finetune(data, tmp_path / "parts", FinetuneSettings(str(tiny_checkpoint), parts))
    assert record["recipe"]["micro_batch_tokens"] == 64
    assert curve(tmp_path / "parts") == pytest.approx(
        curve(tmp_path / "whole"), abs=2e-2 if record["precision"] == "bf16" else 1e-4
    )
    assert record["history"][-1]["held_out_loss"] == pytest.approx(whole["history"][-1]["held_out_loss"], abs=2e-2)


def test_what_does_not_fit_into_memory_is_halved_and_goes_on(tmp_path):
    """A real refusal by the system: the process may not take more than some hundred MB, and says how much it takes at once."""
    code = """
import resource, sys, torch
from transformers import GPT2Config, GPT2LMHeadModel
from components.finetune.learner import Learner
from components.finetune.objective import Objective
from components.finetune.processes import Processes
from components.finetune.recipe import build
from components.errors import PlatformError
torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=256, n_head=4, vocab_size=512, n_positions=128, eos_token_id=0, bos_token_id=0)).train()
recipe = build("default", {"block": 128, "batch_tokens": 8192, "micro_batch_tokens": 8192, "learning_rate": 1e-3})
learner = Learner(Objective(model, recipe, bf16=False), recipe, Processes())
batch = [[torch.randint(1, 512, (129,)).tolist()] for _ in range(64)]
held = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[1]),) * 2)
try:
    print(learner.learn(batch, 8192, 1e-3), learner.micro_batch_tokens)
except PlatformError as error:
    print(error)
"""

    def limited(megabytes):
        return subprocess.run([sys.executable, "-c", code, str(megabytes << 20)], capture_output=True, text=True, timeout=200)

    done = limited(400)
    assert "out of memory: from now on 4,096 tokens at once" in done.stderr, done.stderr
    nats, _, at_once = done.stdout.replace("(", "").replace(",", "").replace(")", "").split()
    assert 128 <= int(at_once) < 8192
    assert float(nats) / 8192 == pytest.approx(6.24, abs=0.3)  # ln 512: nothing of what was given up is counted
    assert "not even one row fits into memory" in limited(1).stdout


def test_another_error_of_torch_is_no_lack_of_memory(loaded):
    recipe = derive(FAST, loaded.model.config, 1000, None, "fp32")
    learner = Learner(Objective(loaded.model, recipe, bf16=False), recipe, Processes())
    with pytest.raises(IndexError):
        learner.learn([[[0, 10**6, 0]]], 2, 1e-3)  # no such token


# Other ways to train


def test_adapters_are_merged_into_a_plain_checkpoint(tiny_checkpoint, data, tmp_path):
    recipe = build("default", {"epochs": 2, "lora_rank": 4, "learning_rate": 2e-2, "batch_tokens": 256})
    record = finetune(data, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), recipe))
    losses = [epoch["held_out_loss"] for epoch in record["history"]]
    assert losses[-1] < losses[0] - 0.1
    names = set(checkpoint.load(tmp_path / "model").model.state_dict())
    assert names == set(checkpoint.load(tiny_checkpoint).model.state_dict())
    from components.filter import read_texts
    from components.scoring import score

    assert score(checkpoint.load(tmp_path / "model"), read_texts(data, "held_out")).loss == pytest.approx(min(losses), abs=1e-4)


def test_it_ends_when_further_epochs_do_not_help(tiny_checkpoint, data, tmp_path, capsys):
    recipe = build("default", {"epochs": 50, "patience": 2, "learning_rate": 2e-2, "batch_tokens": 64, "schedule": "constant"})
    record = finetune(data, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), recipe))
    losses = [epoch["held_out_loss"] for epoch in record["history"]]
    assert record["stopped_early"]
    assert len(losses) - 1 == record["best_epoch"] + 2 < 50
    assert f"lowest after epoch {record['best_epoch']}" in capsys.readouterr().err


def test_the_plan_and_the_speed_are_told(tiny_checkpoint, data, tmp_path):
    done = run(data, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, "--effort", "quick")
    assert done.returncode == 0, done.stderr
    assert "effort quick, 2 epochs of " in done.stderr
    assert " tokens a step, learning rate " in done.stderr
    steps = [json.loads(line) for line in (tmp_path / "model" / "steps.jsonl").read_text().splitlines()]
    last = [line for line in steps if "train_loss" in line][-1]
    assert {"tokens_per_second", "flops_utilisation", "memory_gb", "grad_norm"} <= set(last)
    assert last["tokens_per_second"] > 0
    assert 0.01 < last["memory_gb"] < 20
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["recipe"]["effort"] == "quick"
    assert all(record["recipe"][key] > 0 for key in ("learning_rate", "batch_tokens", "micro_batch_tokens", "block"))


def test_torchs_compiler_gives_the_same_model(tiny_checkpoint, data, tmp_path):
    import shutil

    if not shutil.which("g++"):
        pytest.skip("torch.compile needs g++")
    few = tmp_path / "few"
    few.mkdir()
    for part in ("train", "held_out"):
        lines = (data / f"{part}.jsonl").read_text().splitlines(keepends=True)
        (few / f"{part}.jsonl").write_text("".join(lines[:40]))
    words = (few, "--base-model", tiny_checkpoint, "--set", "epochs=1", "--set", "batch_tokens=256")
    losses = []
    for compiles in ("false", "true"):
        done = run(*words, "--out", tmp_path / compiles, "--set", f"compile={compiles}")
        assert done.returncode == 0, done.stderr
        losses.append(json.loads((tmp_path / compiles / "training.json").read_text())["history"][1]["held_out_loss"])
    assert losses[1] == pytest.approx(losses[0], abs=5e-3)


def test_without_a_compiler_it_says_so_before_training(tiny_checkpoint, data, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = FinetuneSettings(str(tiny_checkpoint), build("default", {"compile": True}))
    with pytest.raises(InputError, match=r"torch\.compile needs a C\+\+ compiler"):
        finetune(data, tmp_path / "model", settings, lambda *_: pytest.fail("it trained"))


# Blends


@pytest.fixture(scope="module")
def blend(data, tmp_path_factory):
    """The narrow style of ann, and a few posts of bob, who writes otherwise."""
    folder = tmp_path_factory.mktemp("blend")
    for part, count in (("train", 30), ("held_out", 10)):
        bobs = [
            {"id": f"b{n}", "author": "bob@example.org", "text": f"THE PRICE OF TEA IS {n} PENCE {part.upper()}"}
            for n in range(count)
        ]
        text = (data / f"{part}.jsonl").read_text() + "".join(json.dumps(each) + "\n" for each in bobs)
        (folder / f"{part}.jsonl").write_text(text)
    return folder


def test_the_loss_of_each_author_is_told_and_a_weight_moves_it(tiny_checkpoint, blend, tmp_path):
    seen = []
    by_share = {}
    for share in (0.0, 0.5):
        recipe = build("default", FAST.to_record() | {"weights": {"bob@example.org": share}})
        settings = FinetuneSettings(str(tiny_checkpoint), recipe)
        record = finetune(blend, tmp_path / f"{share}", settings, lambda _step, metrics: seen.append(metrics))
        by_share[share] = record["history"][-1]["by_author"]
    assert by_share[0.5]["bob@example.org"] < by_share[0.0]["bob@example.org"] - 0.5
    assert set(by_share[0.5]) == {"ann", "bob@example.org"}
    told_losses = [metrics for metrics in seen if "held_out_loss/ann" in metrics]
    assert told_losses[-1]["held_out_loss/bob-example.org"] == by_share[0.5]["bob@example.org"]  # a name that MLflow takes


def test_a_weight_of_nobody_is_told_before_anything_is_loaded(tiny_checkpoint, blend, tmp_path):
    done = run(blend, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, "--weight", "@anna=0.5")
    assert done.returncode == 2
    assert "names 'anna', and there are no posts of theirs" in done.stderr
    assert "Did you mean 'ann'?" in done.stderr


# Several processes


def test_two_processes_learn_as_one_does(tiny_checkpoint, data, tmp_path):
    words = (data, "--base-model", tiny_checkpoint, "--set", "epochs=2", "--set", "batch_tokens=256", "--set", "bf16=false")
    for processes in (1, 2):
        done = run(*words, "--out", tmp_path / f"{processes}", "--processes", processes)
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
    assert error.startswith("error: the loss explodes: ")
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
        found = subprocess.run(["pgrep", "-f", f"components.finetune.worker.*{word}"], capture_output=True, text=True).stdout
        if not found:
            return []
        time.sleep(0.2)
    return found.split()
