"""Training runs: adapters, early stopping, torch's compiler, and the weights of a blend's authors."""

import json

import pytest

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError
from mynah.models import checkpoint
from mynah.training.recipe import build
from tests.model.finetune_runs import FAST, run

# One author


@pytest.fixture
def few(data, tmp_path):
    """40 posts to train on, and 40 held out."""
    (tmp_path / "few").mkdir()
    for part in ("train", "held_out"):
        lines = (data / f"{part}.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "few" / f"{part}.jsonl").write_text("".join(lines[:40]))
    return tmp_path / "few"


def test_adapters_are_merged_into_a_plain_checkpoint(tiny_checkpoint, data, tmp_path):
    recipe = build("default", {"epochs": 2, "lora_rank": 4, "merge": True, "learning_rate": 2e-2, "batch_tokens": 256})
    record = finetune(data, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), recipe))
    losses = [epoch.held_out_loss for epoch in record.history]
    assert losses[-1] < losses[0] - 0.1
    names = set(checkpoint.load(tmp_path / "model").model.state_dict())
    assert names == set(checkpoint.load(tiny_checkpoint).model.state_dict())
    from mynah.data.datasets import read_texts
    from mynah.models.scoring import score

    assert score(checkpoint.load(tmp_path / "model"), read_texts(data, "held_out")).loss == pytest.approx(min(losses), abs=1e-4)


def test_it_ends_when_further_epochs_do_not_help(tiny_checkpoint, few, tmp_path, capsys):
    recipe = build("default", {"epochs": 50, "patience": 2, "learning_rate": 2e-2, "batch_tokens": 64, "schedule": "constant"})
    record = finetune(few, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), recipe))
    losses = [epoch.held_out_loss for epoch in record.history]
    assert record.stopped_early
    assert len(losses) - 1 == record.best_epoch + 2 < 50
    assert f"lowest after epoch {record.best_epoch}" in capsys.readouterr().err


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


def test_the_rate_of_a_run_whose_epochs_are_derived_rises_once_and_falls(tiny_checkpoint, data, tmp_path):
    settings = FinetuneSettings(str(tiny_checkpoint), build("default", {"learning_rate": 1e-3}))
    record = finetune(data, tmp_path / "model", settings)
    assert record.recipe["epochs"] == 4
    rates = [
        rate
        for line in map(json.loads, (tmp_path / "model" / "steps.jsonl").read_text().splitlines())
        if (rate := line.get("learning_rate"))
    ]
    highest = rates.index(max(rates))
    assert len(rates) == record.steps > 8
    assert rates[: highest + 1] == sorted(rates[: highest + 1])
    assert rates[highest:] == sorted(rates[highest:], reverse=True)
    assert max(rates) == pytest.approx(1e-3) and rates[-1] < 1e-4


def test_torchs_compiler_gives_the_same_model(tiny_checkpoint, few, tmp_path):
    import shutil

    if not shutil.which("g++"):
        pytest.skip("torch.compile needs g++")
    recipe = build("default", {"epochs": 1, "batch_tokens": 256})
    eager = finetune(few, tmp_path / "eager", FinetuneSettings(str(tiny_checkpoint), recipe))
    words = (few, "--base-model", tiny_checkpoint, "--set", "epochs=1", "--set", "batch_tokens=256", "--set", "compile=true")
    # One thread: else torch starts compilers that it keeps for later, each of which imports torch.
    done = run(*words, "--out", tmp_path / "compiled", env={"TORCHINDUCTOR_COMPILE_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    compiled = json.loads((tmp_path / "compiled" / "training.json").read_text())
    assert compiled["recipe"]["compile"] is True
    assert compiled["history"][1]["held_out_loss"] == pytest.approx(eager.history[1].held_out_loss, abs=5e-3)


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
        by_share[share] = record.history[-1].by_author
    assert by_share[0.5]["bob@example.org"] < by_share[0.0]["bob@example.org"] - 0.5
    assert set(by_share[0.5]) == {"ann", "bob@example.org"}
    told_losses = [metrics for metrics in seen if "held_out_loss/ann" in metrics]
    assert told_losses[-1]["held_out_loss/bob-example.org"] == by_share[0.5]["bob@example.org"]  # a name that MLflow takes


def test_a_weight_of_nobody_is_told_before_anything_is_loaded(tiny_checkpoint, blend, tmp_path):
    done = run(blend, "--out", tmp_path / "model", "--base-model", tiny_checkpoint, "--weight", "@anna=0.5")
    assert done.returncode == 2
    assert "names 'anna', who has no posts here" in done.stderr
    assert "Did you mean 'ann'?" in done.stderr
