"""Evaluation: an untrained model fails, a trained one is told apart from it, and a copier is caught."""

import json
import shutil

import pytest

from components.errors import InputError
from components.evaluate import EvaluateSettings, evaluate
from components.evaluate.gate import Verdict
from components.finetune import FinetuneSettings, finetune
from components.finetune.recipe import build


@pytest.fixture(scope="module")
def model(tiny_checkpoint, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "model"
    finetune(data, out, FinetuneSettings(str(tiny_checkpoint), build("default", {"epochs": 3, "learning_rate": 3e-3})))
    return out


def test_a_trained_model_gains_and_the_report_is_whole(model, tiny_checkpoint, data, tmp_path):
    verdict = evaluate(model, data, tmp_path / "report", EvaluateSettings(str(tiny_checkpoint)))
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    training = json.loads((model / "training.json").read_text())
    losses = [epoch["held_out_loss"] for epoch in training["history"]]
    assert metrics["base_held_out_loss"] == pytest.approx(losses[0], abs=1e-5)
    assert metrics["held_out_loss"] == pytest.approx(min(losses), abs=1e-5)
    assert metrics["loss_gain"] == pytest.approx(losses[0] - min(losses), abs=1e-5)
    assert "loss_gain" not in [check.metric for check in verdict.failures]
    assert Verdict.read(tmp_path / "report") == verdict
    samples = json.loads((tmp_path / "report" / "samples.json").read_text())
    assert samples[0]["prompt"] == "My dream is"
    assert sum(len(group["texts"]) for group in samples) == metrics["samples"] == 60
    assert "# Verdict" in (tmp_path / "report" / "report.md").read_text()


def test_the_same_seed_gives_the_same_report(model, tiny_checkpoint, data, tmp_path):
    for name in ("one", "two"):
        evaluate(model, data, tmp_path / name, EvaluateSettings(str(tiny_checkpoint)))
    assert (tmp_path / "one" / "samples.json").read_bytes() == (tmp_path / "two" / "samples.json").read_bytes()


def test_an_untrained_model_fails_on_loss(tiny_checkpoint, data, tmp_path):
    shutil.copytree(tiny_checkpoint, tmp_path / "model")
    (tmp_path / "model" / "training.json").write_text(json.dumps({"base_model": {"name": str(tiny_checkpoint)}}))
    verdict = evaluate(tmp_path / "model", data, tmp_path / "report", EvaluateSettings())
    assert not verdict.passed
    assert "loss_gain" in [check.metric for check in verdict.failures]


@pytest.mark.parametrize(
    ("record", "said"), [("{}", "does not name a base model"), ("[]", "does not name a base model"), ("{", "is not valid JSON")]
)
def test_a_model_that_does_not_say_what_it_came_from(tiny_checkpoint, data, tmp_path, record, said):
    shutil.copytree(tiny_checkpoint, tmp_path / "model")
    (tmp_path / "model" / "training.json").write_text(record)
    with pytest.raises(InputError, match=said):
        evaluate(tmp_path / "model", data, tmp_path / "report", EvaluateSettings())
    assert not (tmp_path / "report").exists()


def test_no_held_out_posts_no_verdict(model, tiny_checkpoint, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "held_out.jsonl").write_text("")
    with pytest.raises(InputError, match=r"held_out\.jsonl has no texts"):
        evaluate(model, tmp_path / "data", tmp_path / "report", EvaluateSettings(str(tiny_checkpoint)))
    assert not (tmp_path / "report").exists()


def test_a_model_that_answers_nan_gets_no_verdict(model, tiny_checkpoint, data, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights["transformer.ln_f.weight"][:] = float("nan")
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not numbers"):
        evaluate(tmp_path / "model", data, tmp_path / "report", EvaluateSettings(str(tiny_checkpoint)))
    assert not (tmp_path / "report").exists()


def test_a_base_model_that_was_a_folder_is_never_looked_up_by_its_name(model, data, tmp_path):
    with pytest.raises(InputError, match="fine-tuned from a folder called 'wren'\nName that folder with --base-model"):
        evaluate(model, data, tmp_path / "report", EvaluateSettings())
    assert not (tmp_path / "report").exists()


def test_a_copier_is_caught(model, tiny_checkpoint, data, tmp_path):
    """Trained until it knows its few posts by heart, a model is refused for what it repeats."""
    shutil.copytree(data, tmp_path / "data")
    few = (tmp_path / "data" / "train.jsonl").read_text().splitlines()[:2]
    posts = [
        json.loads(line) | {"text": json.loads(line)["text"] + " and then it said the very same words once more"} for line in few
    ]
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    (tmp_path / "data" / "held_out.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    by_heart = build("default", {"epochs": 150, "learning_rate": 1e-2, "batch_tokens": 32, "patience": 0})
    finetune(tmp_path / "data", tmp_path / "parrot", FinetuneSettings(str(tiny_checkpoint), by_heart))
    verdict = evaluate(tmp_path / "parrot", tmp_path / "data", tmp_path / "report", EvaluateSettings(str(tiny_checkpoint)))
    assert "memorised_share" in [check.metric for check in verdict.failures]
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["longest_verbatim_words"] >= 10
    assert "**FAIL**: memorised_share" in (tmp_path / "report" / "report.md").read_text()
