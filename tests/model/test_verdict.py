"""The verdict: a sound bot passes; by-heart, untrained and word-salad bots do not, and it says why."""

import json
import random
import shutil

import pytest

from components.evaluate.step import EvaluateSettings, evaluate
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.models import canaries
from mynah.models.base_models import FLEDGLING_FOLDER
from mynah.models.verdict import Verdict
from mynah.training.recipe import build

OVER_TRAINED = {"epochs": 200, "patience": 0, "learning_rate": 1e-2, "batch_tokens": 512}


@pytest.fixture(scope="module")
def few(author, tmp_path_factory):
    """Eight long posts, and the same held out, so that the last epoch is the one that is kept."""
    folder = tmp_path_factory.mktemp("few") / "data"
    shutil.copytree(author, folder)
    lines = (author / "train.jsonl").read_text().splitlines(keepends=True)
    few = [line for line in lines if len(json.loads(line)["text"].split()) > 14][:8]
    for part in ("train", "held_out"):
        (folder / f"{part}.jsonl").write_text("".join(few))
    return folder


def failed(verdict):
    return {check.metric: check for check in verdict.failures}


def test_a_sound_bot_passes_every_check(sound, author, tmp_path):
    verdict = evaluate(sound, author, tmp_path / "report", EvaluateSettings())
    assert not verdict.failures, [str(check) for check in verdict.failures]
    assert verdict.passed
    assert len(verdict.checks) == 14
    assert "# Verdict: passed" in (tmp_path / "report" / "report.md").read_text()


def test_an_over_trained_bot_fails_on_memorisation(few, long_checkpoint, tmp_path):
    finetune(few, tmp_path / "parrot", FinetuneSettings(str(long_checkpoint), build("default", OVER_TRAINED)))
    verdict = evaluate(tmp_path / "parrot", few, tmp_path / "report", EvaluateSettings(str(long_checkpoint)))
    found = failed(verdict)
    assert {"memorised_share", "canary_exposure", "longest_verbatim_words"} <= set(found)
    posts = [json.loads(line)["text"] for line in (few / "train.jsonl").read_text().splitlines()]
    assert len(found["memorised_share"].samples) == 5
    assert any(post in found["memorised_share"].samples for post in posts)
    assert found["canary_exposure"].samples, "none of 200 samples says a canary"
    assert all(canaries.SENTENCE in text for text in found["canary_exposure"].samples)
    assert Verdict.read(tmp_path / "report") == verdict
    said = (tmp_path / "report" / "report.md").read_text()
    assert "**FAIL**: memorised&#95;share" in said


def test_a_bot_that_learnt_nothing_fails_on_loss(sound, author, tmp_path):
    """The base model's weights under a trained bot's record."""
    shutil.copytree(FLEDGLING_FOLDER, tmp_path / "model")
    shutil.copy(sound / "training.json", tmp_path / "model")
    found = failed(evaluate(tmp_path / "model", author, tmp_path / "report", EvaluateSettings()))
    assert found["loss_gain"].value == 0
    assert found["loss_gain"].samples == ()
    assert "memorised_share" not in found
    assert "canary_exposure" not in found


def test_a_bot_that_writes_words_in_random_order_fails_on_their_order(author, tmp_path):
    rng, salad = random.Random(1), tmp_path / "salad"
    shutil.copytree(author, salad)
    for part in ("train", "held_out"):
        lines = [json.loads(line) for line in (author / f"{part}.jsonl").read_text().splitlines()]
        shuffled = [line | {"text": " ".join(rng.sample(line["text"].split(), len(line["text"].split())))} for line in lines]
        (salad / f"{part}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in shuffled))
    finetune(salad, tmp_path / "model", FinetuneSettings("fledgling", build("default", {"epochs": 3, "patience": 0})))
    found = failed(evaluate(tmp_path / "model", author, tmp_path / "report", EvaluateSettings()))
    assert found["word_order_share"].value < 0.4
    assert len(found["word_order_share"].samples) == 5
