"""Evaluation: the report is whole and the same again, the champion is compared fairly, and bad input gets no verdict."""

import json
import shutil
import sys

import pytest

from components.evaluate.champion_comparison import Champion, champion_from_folder
from components.evaluate.samples import Samples
from components.evaluate.step import EvaluateSettings, evaluate
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError
from mynah.data.datasets import read_texts
from mynah.data.text_digests import key
from mynah.models.evaluation_record import PromptSamples
from mynah.models.metric_definitions import METRICS
from mynah.models.verdict import Verdict
from mynah.training.recipe import build

FEW = 12  # samples, where they do not matter


@pytest.fixture(scope="module")
def model(long_checkpoint, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "model"
    finetune(data, out, FinetuneSettings(str(long_checkpoint), build("default", {"epochs": 3, "learning_rate": 3e-3})))
    return out


@pytest.fixture(scope="module")
def judge(model, long_checkpoint, data, tmp_path_factory):
    """Evaluate `model`, or another, on `data`, or other posts; gives the verdict and the report's folder."""

    def run(champion=None, **changes):
        out = tmp_path_factory.mktemp("report") / "report"
        settings = {"base_model": str(long_checkpoint), "samples": FEW} | changes
        which, where = settings.pop("model", model), settings.pop("data", data)
        return evaluate(which, where, out, EvaluateSettings(**settings), champion), out

    return run


def refused(tmp_path, message, model, data, **settings):
    """Evaluation ends with `message`; what an earlier one wrote stays."""
    out = tmp_path / "report"
    out.mkdir()
    (out / ".mynah").write_text("written whole\n")
    (out / "verdict.json").write_text("earlier")
    with pytest.raises(InputError, match=message):
        evaluate(model, data, out, EvaluateSettings(**settings))
    assert sorted(path.name for path in out.iterdir()) == [".mynah", "verdict.json"]
    assert (out / "verdict.json").read_text() == "earlier"


def test_a_trained_model_gains_and_the_report_is_whole(model, judge, data):
    verdict, out = judge(samples=200)
    metrics = json.loads((out / "metrics.json").read_text())
    training = json.loads((model / "training.json").read_text())
    losses = [epoch["held_out_loss"] for epoch in training["history"]]
    assert metrics["base_held_out_loss"] == pytest.approx(losses[0], abs=1e-5)
    assert metrics["held_out_loss"] == pytest.approx(min(losses), abs=1e-5)
    assert metrics["loss_gain"] == pytest.approx(losses[0] - min(losses), abs=1e-5)
    assert metrics["held_out_posts"] == len(read_texts(data, "held_out"))
    assert "loss_gain" not in [check.metric for check in verdict.failures]
    assert Verdict.read(out) == verdict
    assert verdict.left_out.keys() == {"word_order_share"}  # a base model of random weights sees no order of words
    assert set(metrics) == {name for name in METRICS if not name.startswith("champion") and "word_order" not in name}
    samples = json.loads((out / "samples.json").read_text())
    assert [group["prompt"] for group in samples] == ["", "My dream is", "I like", "My favourite thing is"]
    assert [len(group["texts"]) for group in samples] == [100, 34, 33, 33]
    assert all(text.startswith(group["prompt"]) for group in samples for text in group["texts"])
    assert "# Verdict" in (out / "report.md").read_text()
    assert {path.name for path in out.iterdir()} >= {"report.html", "blind.html"}


def test_made_up_words_are_left_out_where_the_language_has_no_list(judge, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    funnel = json.loads((data / "funnel.json").read_text())
    assert [author["language"] for author in funnel["authors"]] == ["en"]
    funnel["authors"][0]["language"] = "th"
    (tmp_path / "data" / "funnel.json").write_text(json.dumps(funnel))
    verdict, out = judge(data=tmp_path / "data")
    assert verdict.left_out["made_up_excess"] == "there is no list of words for th"
    assert (
        "made_up_excess" not in {check.metric for check in verdict.checks} | json.loads((out / "metrics.json").read_text()).keys()
    )
    assert "left out: made&#95;up&#95;excess: there is no list of words for th" in (out / "report.md").read_text()


def test_the_same_seed_gives_the_same_report(judge):
    reports = [judge(seed=seed)[1] for seed in (1, 1, 2)]
    samples = [(out / "samples.json").read_bytes() for out in reports]
    assert samples[0] == samples[1] != samples[2]
    first, again = (json.loads((out / "metrics.json").read_text()) for out in reports[:2])
    for timed in ("answers_per_second", "sample_tokens_per_second", "evaluation_seconds"):
        first.pop(timed), again.pop(timed)
    assert first == again


# The champion


def test_the_champion_is_measured_on_the_posts_that_neither_knows(model, judge, data, long_checkpoint):
    held_out = read_texts(data, "held_out")
    known = frozenset(map(key, held_out[:10]))
    _, out = judge(Champion(long_checkpoint, "version 1 of ann", known))
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["champion_posts"] == len(held_out) - 10
    assert metrics["champion_gain"] > 0  # the base model in the champion's place
    _, out = judge(Champion(model, "version 2 of ann", frozenset()))
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["champion_gain"] == pytest.approx(0)
    assert metrics["champion_held_out_loss"] == pytest.approx(metrics["held_out_loss"])
    assert metrics["champion_bits_per_character"] == pytest.approx(metrics["bits_per_character"])


def test_with_few_new_posts_the_champion_is_not_compared(model, judge, data, capsys):
    held_out = read_texts(data, "held_out")
    verdict, out = judge(Champion(model, "version 3 of ann", frozenset(map(key, held_out[19:]))))
    assert verdict.checks
    assert not [name for name in json.loads((out / "metrics.json").read_text()) if name.startswith("champion")]
    assert "not compared with the champion, version 3 of ann: only 19 held-out posts are new to it" in capsys.readouterr().err


def test_a_champion_whose_files_are_gone_is_left_out(judge, tmp_path, capsys):
    verdict, out = judge(Champion(tmp_path / "gone", "version 4 of ann", frozenset()))
    assert verdict.checks
    assert "champion_gain" not in json.loads((out / "metrics.json").read_text())
    assert "warning: not compared with the champion, version 4 of ann: there is no folder" in capsys.readouterr().err


def test_a_folder_as_champion_must_have_been_trained_on_the_same_posts(model, data, tmp_path):
    assert champion_from_folder(model, data).knows == frozenset(map(key, read_texts(data, "train")))
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "train.jsonl").write_text((data / "held_out.jsonl").read_text())
    with pytest.raises(InputError, match=r"was not trained on .*data: it is unknown which held-out posts are new"):
        champion_from_folder(model, tmp_path / "data")


# Bad input


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("{}", r"training\.json has no 'base_model'"),
        ("[]", r"training\.json has '\[\]', where an object belongs"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_model_that_does_not_say_what_it_came_from(long_checkpoint, data, tmp_path, record, said):
    shutil.copytree(long_checkpoint, tmp_path / "model")
    (tmp_path / "model" / "training.json").write_text(record)
    refused(tmp_path, said, tmp_path / "model", data)


def test_no_held_out_posts_no_verdict(model, long_checkpoint, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "held_out.jsonl").write_text("")
    refused(tmp_path, r"held_out\.jsonl has no texts", model, tmp_path / "data", base_model=str(long_checkpoint))


def test_a_model_that_answers_nan_gets_no_verdict(model, long_checkpoint, data, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    weights["transformer.ln_f.weight"][:] = float("nan")
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    refused(tmp_path, "held_out_loss.* not finite numbers", tmp_path / "model", data, base_model=str(long_checkpoint))


def test_a_model_whose_vocabulary_does_not_fit_its_tokenizer(model, long_checkpoint, data, tmp_path):
    from mynah.models.base_models import FLEDGLING_FOLDER

    shutil.copytree(model, tmp_path / "model")
    shutil.copy(FLEDGLING_FOLDER / "tokenizer.json", tmp_path / "model")
    refused(
        tmp_path,
        r"the tokenizer \(6144 tokens\) does not fit the model",
        tmp_path / "model",
        data,
        base_model=str(long_checkpoint),
    )


def test_a_base_model_with_another_tokenizer_gives_no_gain(model, data, tmp_path):
    refused(tmp_path, "the base model fledgling have different tokenizers", model, data, base_model="fledgling")


def test_a_base_model_that_was_a_folder_is_never_looked_up_by_its_name(model, data, tmp_path):
    refused(tmp_path, "fine-tuned from a folder or file called 'crane'\nName it with --base-model", model, data)


def test_an_unknown_threshold_gets_no_verdict(model, long_checkpoint, data, tmp_path):
    (tmp_path / "gate.yaml").write_text("loss_gian: {at_least: 0, reason: x}")
    gate = tmp_path / "gate.yaml"
    refused(tmp_path, "no metric 'loss_gian'\nDid you mean 'loss_gain'", model, data, base_model=str(long_checkpoint), gate=gate)


def test_a_model_of_before_canaries_gets_no_verdict(model, long_checkpoint, data, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    training = json.loads((model / "training.json").read_text())
    assert training.pop("canaries")["count"] > 0
    (tmp_path / "model" / "training.json").write_text(json.dumps(training))
    base = str(long_checkpoint)
    refused(
        tmp_path,
        "'canary_exposure', which is not measured\n.*train the model again",
        tmp_path / "model",
        data,
        base_model=base,
        samples=5,
    )


def test_a_gate_on_the_champion_where_there_is_none_gets_no_verdict(model, long_checkpoint, data, tmp_path):
    (tmp_path / "gate.yaml").write_text("champion_gain: {at_least: 0, reason: x}")
    settings = {"base_model": str(long_checkpoint), "gate": tmp_path / "gate.yaml", "samples": 5}
    refused(tmp_path, "'champion_gain', which is not measured", model, data, **settings)


@pytest.mark.parametrize("count", [4, 201, -1])
def test_too_few_and_too_many_samples(count):
    with pytest.raises(InputError, match=f"samples is {count}\nUse 5 to 200"):
        EvaluateSettings(samples=count)


def test_samples_keep_their_prompts():
    samples = Samples({"": ["a"], "I like": ["I like b", "I like c"]}, 10, 1.0)
    assert samples.texts == ["a", "I like b", "I like c"]
    assert samples.pairs[1] == ("I like", "I like b")
    assert samples.by_prompt[1] == PromptSamples("I like", ("I like b", "I like c"))


# The command line


@pytest.fixture
def mynah(monkeypatch, capsys):
    """`mynah evaluate` in this process: exit code, stdout, stderr."""
    from pipelines.cli.main import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["mynah", "evaluate", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return call


def test_the_command_with_a_champion_a_gate_samples_and_a_seed(mynah, model, data, long_checkpoint, tmp_path):
    gate, out = tmp_path / "gate.yaml", tmp_path / "report"
    gate.write_text("champion_gain: {at_most: 0.1, reason: it is itself}\nsamples: {at_least: 9, reason: enough}\n")
    options = ["--base-model", long_checkpoint, "--champion", model, "--samples", 9, "--seed", 3]
    code, said, _ = mynah(model, data, "--out", out, *options, "--gate", gate, "--json")
    assert code == 0
    assert json.loads(said)["passed"] is True
    assert json.loads((out / "metrics.json").read_text())["champion_posts"] == len(read_texts(data, "held_out"))
    gate.write_text("samples: {at_least: 10, reason: more}\n")
    code, said, err = mynah(model, data, "--out", out, *options, "--gate", gate)
    assert (code, said.splitlines()[0]) == (4, "FAIL  samples is 9, and must be at least 10: more")
    assert "error: the gate does not pass it: samples\nSee" in err


def test_the_command_refuses_a_champion_of_other_posts_and_too_few_samples(mynah, model, data, long_checkpoint, tmp_path):
    (tmp_path / "other").mkdir()
    for part in ("train", "held_out"):
        (tmp_path / "other" / f"{part}.jsonl").write_text((data / "held_out.jsonl").read_text())
    code, _, err = mynah(
        model, tmp_path / "other", "--out", tmp_path / "report", "--champion", model, "--base-model", long_checkpoint
    )
    assert code == 2
    assert "was not trained on" in err
    assert mynah(model, data, "--out", tmp_path / "report", "--samples", 4)[0] == 2
    assert not (tmp_path / "report").exists()
