"""`mynah run --continue`: from the champion of the registry, through every step, and whose posts the bot then knows."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from registry_inputs import make_outputs, register_all

from components.card import card
from components.errors import InputError
from components.evaluate import EvaluateSettings, evaluate
from components.fetch import fetch
from components.filter import FilterSettings, filter_posts
from components.finetune import FinetuneSettings, finetune
from components.finetune.ancestor import champion_of
from components.finetune.continual import finetune_from
from components.finetune.recipe import build
from components.news import champion_that_knows
from components.promote import promote
from components.register import by_hand
from components.registry import Registry
from components.store import open_store
from components.tracking import StepRun
from tests.services.test_submit import SUBMIT, kubeflow, refused

__all__ = ["kubeflow"]

WHO, DOES, WHAT = (
    ("The bird", "A queen", "My neighbour", "The sea"),
    ("sings to", "forgets", "dreams of"),
    ("the rain", "a letter", "the moon"),
)
WHEN = ("today.", "again and again.", "when nobody looks.", "in the winter.", "and knows it.", "all the same.")
LATER = ("on monday.", "last tuesday.")
RECIPE = {"epochs": 2, "block": 32, "learning_rate": 5e-3, "batch_tokens": 256}


def write(folder, name, author, endings, way=1):
    """Posts whose words stand in their order, or (-1) backwards, so that none is like another author's."""
    texts = [f"{who} {does} {what} {when}" for who in WHO for does in DOES for what in WHAT for when in endings]
    texts = [" ".join(text.split()[::way]) for text in texts]
    path = folder / name
    path.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for text in texts))
    return path


@pytest.fixture(scope="module")
def champion(tiny_checkpoint, tmp_path_factory):
    """A work folder with the first version of wren, of posts of ann's and bob's."""
    folder = tmp_path_factory.mktemp("went")
    sources = [
        write(folder, "ann.jsonl", "ann_author", WHEN),
        write(folder, "bob.jsonl", "bob_author", WHEN, -1),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's and transformers' own
        fetch([str(path) for path in sources], folder / "raw", basis="permission")
        filter_posts(folder / "raw", folder / "data", FilterSettings("default,-near-duplicates"))
        finetune(folder / "data", folder / "model", FinetuneSettings(str(tiny_checkpoint), build("default", RECIPE)))
        evaluate(folder / "model", folder / "data", folder / "report", EvaluateSettings(str(tiny_checkpoint), samples=5))
        card("wren", folder / "model", folder / "data", folder / "report", folder / "card")
        by_hand("wren", *(folder / each for each in ("model", "data", "report", "card")), folder / "work")
        promote("wren", open_store(folder / "work"), force="it shall go on")
    return folder


@pytest.fixture(scope="module")
def went(champion, tiny_checkpoint):
    """The same continued with later posts of ann's alone: the work folder, and what the run said."""
    later = write(champion, "later.jsonl", "ann_author", (*WHEN, *LATER))
    call = [
        "run",
        "--name",
        "wren",
        "--base-model",
        tiny_checkpoint,
        "--workdir",
        champion / "work",
        "--from",
        later,
        "--basis",
        "permission",
        "--continue",
        "--json",
    ]
    sets = [f"--set={name}={value}" for name, value in RECIPE.items()]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *map(str, [*call, *sets])], capture_output=True, text=True, timeout=200
    )
    assert done.returncode in (0, 4), done.stderr  # whether the gate passes a random model that has learnt for a second
    return champion / "work", done


def test_without_a_champion_it_starts_from_the_base_model_and_says_so(champion, tiny_checkpoint, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", open_store(champion / "work").tracking_uri)
    settings = FinetuneSettings(str(tiny_checkpoint), build("default", RECIPE))
    record = finetune_from("champion", "lark", StepRun(), champion / "data", tmp_path / "model", settings)
    assert f"lark has no champion yet: it starts from {tiny_checkpoint}" in capsys.readouterr().err.splitlines()
    assert "continual" not in record
    with pytest.raises(InputError, match="cannot start from 'champoin'"):
        finetune_from("champoin", "wren", StepRun(), champion / "data", tmp_path / "model", settings)


def test_the_second_goes_on_and_says_what_it_gave(went):
    workdir, second = went
    outcome = json.loads(second.stdout)
    found = outcome["continual"]
    assert (found["from"], found["chosen"], found["beats"], found["authors"]) == (
        1,
        "continue",
        True,
        ["ann_author", "bob_author"],
    )
    assert found["new_posts"] > 40
    lines = second.stderr.splitlines()
    assert any(line.startswith("going on from version 1 of wren wins: held-out loss") for line in lines)
    assert outcome["metrics"]["held_out_loss"] == pytest.approx(found["loss"]["continue"], abs=1e-3)
    card = (Path(outcome["folder"]) / "card" / "README.md").read_text()
    assert "It came of going on from version 1, which gave a held-out loss of" in card
    assert f"Going on learnt from {found['new_posts']} new posts and {found['replayed_posts']} old ones" in card
    registry = Registry(open_store(workdir))
    version = registry.bot("wren").versions[0]
    assert (version.version, version.tags["mynah.continued_from"]) == (2, "1")
    steps = {run.info.run_name: run for run in registry.client.search_runs([registry.client.get_experiment_by_name("mynah").experiment_id],
                                                                          f"tags.`mlflow.parentRunId` = '{outcome['mlflow_run']}'")}  # fmt: skip
    tuned = steps["finetune"].data
    assert (tuned.params["start"], tuned.params["from"], tuned.params["chosen"], tuned.tags["mynah.continued_from"]) == (
        "champion",
        "1",
        "continue",
        "1",
    )
    assert tuned.metrics["continue/loss"] == pytest.approx(found["loss"]["continue"])
    assert tuned.metrics["start_over/loss"] == pytest.approx(found["loss"]["start over"])
    assert len(registry.client.get_metric_history(steps["finetune"].info.run_id, "continue/train_loss")) > 3


def test_it_is_compared_with_its_champion_on_posts_that_neither_knows(went):
    workdir, second = went
    version = Registry(open_store(workdir)).bot("wren").versions[0]
    compared = json.loads(version.tags["mynah.promotion_comparison"])
    assert 20 <= compared["posts"] <= json.loads(second.stdout)["funnel"]["held_out"]
    metrics = json.loads(second.stdout)["metrics"]  # the evaluation before it found the same champion, and the same posts
    assert metrics["champion_posts"] == compared["posts"]
    assert metrics["champion_held_out_loss"] == pytest.approx(compared["champion_loss"], abs=1e-3)


def test_a_schedule_passes_over_what_the_champion_knows(went):
    workdir, second = went
    store = open_store(workdir)
    data, version = Path(json.loads(second.stdout)["folder"]) / "data", Registry(store).bot("wren").champion.version
    assert champion_that_knows("wren", data, store) == (2 if version == 2 else 0)
    if version == 1:
        promote("wren", store, 2, force="it shall go on")
    assert champion_that_knows("wren", data, store) == 2
    assert champion_that_knows("lark", data, store) == 0
    ancestor = champion_of("wren", store)
    assert (ancestor.version, ancestor.authors) == (2, {"ann_author", "bob_author"})


def test_who_is_forgotten_takes_the_bots_with_them_that_went_on_from_theirs(went, tmp_path, mynah):
    """The second run had no post of bob's, and its model was made from one that had."""
    workdir, _ = went
    found = mynah("forget", "@bob_author", "--workdir", workdir, "--dry-run")
    assert found.returncode == 0, found.stderr
    assert {"wren/1", "wren/2"} <= set(found.stdout.replace("│", " ").split())
    done = mynah("forget", "@bob_author", "--workdir", workdir, "--blends", "remove", "--json")
    assert done.returncode == 0, done.stderr
    assert Registry(open_store(workdir)).bots() == []


def test_by_hand_the_authors_go_along_too(tiny_checkpoint, tmp_path, mynah):
    make_outputs(tmp_path / "duo", tiny_checkpoint, "bob_author")
    training = json.loads((tmp_path / "duo" / "model" / "training.json").read_text())
    training |= {"continued_from": "0" * 64, "continual": {"authors": ["ann_author"]}}
    (tmp_path / "duo" / "model" / "training.json").write_text(json.dumps(training))
    register_all({"duo": tmp_path / "duo"}, tmp_path / "work")
    found = mynah("forget", "@ann_author", "--workdir", tmp_path / "work", "--blends", "retrain", "--dry-run", "--json")
    assert found.returncode == 0, found.stderr
    assert {"kind": "version", "address": "duo/1"}.items() <= json.loads(found.stdout)["items"][0].items()
    shown = mynah("forget", "@ann_author", "--workdir", tmp_path / "work")
    assert (shown.returncode, "duo was made from posts of @ann_author and of others" in shown.stderr) == (2, True)


@pytest.mark.usefixtures("kubeflow")
def test_a_search_does_not_go_on(mynah):
    refused(mynah(*SUBMIT, "--continue", "--trials", "3"), 2, "a search of the recipe starts from the base model")


def test_what_is_sent_to_a_cluster(kubeflow, mynah):
    for more in ((), ("--continue",)):
        assert mynah(*SUBMIT, "--no-wait", *more).returncode == 0
    assert [run["runtime_config"]["parameters"]["start"] for run in kubeflow.runs.values()] == ["base", "champion"]
    assert mynah(*SUBMIT, "--continue", "--schedule", "0 3 * * 1").returncode == 0
    parameters = kubeflow.recurring[0]["runtime_config"]["parameters"]
    assert (parameters["start"], parameters["only_news"]) == ("champion", True)
