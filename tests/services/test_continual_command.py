"""`mynah run --continue`: from the champion of the registry, through every step, and whose posts the bot then knows."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from registry_inputs import make_outputs, register_all

from components.card.step import card
from components.evaluate.step import EvaluateSettings, evaluate
from components.fetch.step import fetch
from components.filter.new_texts import champion_trained_on, champion_tried_with, version_without_news
from components.filter.step import FilterSettings, filter_posts
from components.finetune.continue_training import finetune_from
from components.finetune.parent_model import parent_from_champion
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from components.promote.step import promote
from components.register.step import register_folders
from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.data.markdown import markdown
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from mynah.tracking.step_run import StepRun
from mynah.training.recipe import build
from tests.code.card_inputs import continual
from tests.services.kubeflow_commands import SUBMIT, refused, told

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
        register_folders("wren", *(folder / each for each in ("model", "data", "report", "card")), folder / "work")
        promote("wren", open_store(folder / "work"), force="it shall go on")
    return folder


def continue_with(champion, base_model, posts, **recipe):
    """`mynah run --continue` in the champion's work folder: what it said."""
    call = [
        "run",
        "--name",
        "wren",
        "--base-model",
        base_model,
        "--workdir",
        champion / "work",
        "--from",
        posts,
        "--basis",
        "permission",
        "--continue",
        "--json",
    ]
    sets = [f"--set={name}={value}" for name, value in {**RECIPE, **recipe}.items()]
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *map(str, [*call, *sets])], capture_output=True, text=True, timeout=200
    )


@pytest.fixture(scope="module")
def in_vain(champion, tiny_checkpoint):
    """A run at a rate so high that every epoch is worse than the model before it."""
    posts = write(champion, "other.jsonl", "ann_author", (*WHEN, LATER[0]))
    return continue_with(champion, tiny_checkpoint, posts, learning_rate=0.1)


@pytest.fixture(scope="module")
def went(champion, tiny_checkpoint):
    """The same continued with later posts of ann's alone: the work folder, and what the run said."""
    later = write(champion, "later.jsonl", "ann_author", (*WHEN, *LATER))
    done = continue_with(champion, tiny_checkpoint, later)
    assert done.returncode in (0, 4), done.stderr  # whether the gate passes a random model that has learnt for a second
    return champion / "work", done


def test_without_a_champion_it_starts_from_the_base_model_and_says_so(champion, tiny_checkpoint, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", open_store(champion / "work").tracking_uri)
    settings = FinetuneSettings(str(tiny_checkpoint), build("default", RECIPE))
    record = finetune_from("champion", "lark", StepRun(), champion / "data", tmp_path / "model", settings)
    assert f"lark has no champion yet: training starts from {tiny_checkpoint}" in capsys.readouterr().err.splitlines()
    assert record.continual is None
    with pytest.raises(InputError, match="cannot start from 'champoin'"):
        finetune_from("champoin", "wren", StepRun(), champion / "data", tmp_path / "model", settings)


def test_what_brought_nothing_is_no_version_and_the_champion_stays(champion, in_vain):
    assert in_vain.returncode == 4, in_vain.stderr
    lines, outcome = in_vain.stderr.splitlines(), json.loads(in_vain.stdout)
    assert lines[-2] == "error: no new version of wren: continuing brought nothing, and version 1 stays the champion"
    assert any(line.startswith("continuing from version 1 of wren brought nothing: no epoch lowered") for line in lines)
    assert (outcome["version"], outcome["promoted"]) == (None, False)
    assert outcome["decision"] == "unchanged: continuing brought nothing, and version 1 stays the champion"
    assert (outcome["continual"]["chosen"], outcome["continual"]["unchanged"]) == ("continue", True)
    model = Path(outcome["folder"]) / "model"
    assert digest(model / "model.safetensors") == digest(champion / "model" / "model.safetensors")
    store = open_store(champion / "work")
    bot = Registry(store).bot("wren")
    assert ([each.version for each in bot.versions], bot.aliases["champion"]) == ([1], 1)
    run = Registry(store).client.get_run(outcome["mlflow_run"])
    assert (run.info.status, run.data.tags["mynah.promotion"]) == ("FINISHED", outcome["decision"])
    data = Path(outcome["folder"]) / "data"
    assert champion_tried_with("wren", data, store) == 1  # so a schedule does not try it again
    assert champion_tried_with("wren", champion / "data", store) == champion_tried_with("lark", data, store) == 0


def test_its_card_tells_what_the_weights_learnt_from(champion, in_vain):
    outcome = json.loads(in_vain.stdout)
    card = (Path(outcome["folder"]) / "card" / "README.md").read_text()
    trained = len((champion / "data" / "train.jsonl").read_text().splitlines())
    new = outcome["continual"]["new_posts"]
    [told] = [line for line in card.splitlines() if line.startswith("The weights are those of version 1, unchanged")]
    assert f"they learnt from its {trained:,} posts by {markdown('@ann_author')}, {markdown('@bob_author')}" in told
    assert f", and from none of the {new} new posts." in told
    assert f"The weights are those of version 1 and learnt from its {trained:,} posts alone." in card
    assert "were trained on and" not in card
    assert "see the card of version 1" in card
    assert "The earlier version was kept unchanged" in (Path(outcome["folder"]) / "report" / "report.html").read_text()


def test_by_hand_it_is_not_registered_either(champion, in_vain, tiny_checkpoint, tmp_path, mynah):
    folder = Path(json.loads(in_vain.stdout)["folder"])
    made = [folder / "data", "--out", tmp_path / "model", "--base-model", tiny_checkpoint]
    sets = [f"--set={name}={value}" for name, value in {**RECIPE, "learning_rate": 0.1}.items()]
    parent = ["--from-model", champion / "model", "--trained-on", champion / "data"]
    done = mynah("finetune", *made, *parent, *sets, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["continual"]["unchanged"] is True
    assert f"the checkpoint is {champion / 'model'}, unchanged, and is no new version" in done.stderr
    outputs = [tmp_path / "model", folder / "data", folder / "report", folder / "card"]
    told = mynah("register", "--name", "wren", *outputs, "--workdir", champion / "work")
    assert told.returncode == 4, told.stderr
    assert f"{tmp_path / 'model'} was not registered: continuing from model brought nothing" in told.stderr
    assert "The champion of wren stays" in told.stderr
    assert [each.version for each in Registry(open_store(champion / "work")).bot("wren").versions] == [1]


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
    assert any(line.startswith("continuing from version 1 of wren wins: held-out loss") for line in lines)
    assert outcome["metrics"]["held_out_loss"] == pytest.approx(found["loss"]["continue"], abs=1e-3)
    card = (Path(outcome["folder"]) / "card" / "README.md").read_text()
    assert "It is the result of continuing from version 1, with a held-out loss of" in card
    assert f"Continuing used {found['new_posts']} new posts and {found['replayed_posts']} old ones" in card
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
    assert champion_trained_on("wren", data, store) == (2 if version == 2 else 0)
    if version == 1:
        promote("wren", store, 2, force="it shall go on")
    assert champion_trained_on("wren", data, store) == 2
    assert champion_trained_on("lark", data, store) == 0
    assert version_without_news("wren", data, store, "champion") == 2
    assert version_without_news("lark", data, store, "champion") == 0
    ancestor = parent_from_champion("wren", store)
    assert (ancestor.version, ancestor.authors) == (2, {"ann_author", "bob_author"})


def test_who_is_forgotten_takes_the_bots_with_them_that_went_on_from_theirs(went, tmp_path, mynah):
    """The second run had no post of bob's, and its model was made from one that had."""
    workdir, _ = went
    found = mynah("forget", "@bob_author", "--workdir", workdir, "--dry-run")
    assert found.returncode == 0, found.stderr
    assert "the bot wren, versions 1, 2\n" in found.stdout
    done = mynah("forget", "--yes", "@bob_author", "--workdir", workdir, "--blends", "remove", "--json")
    assert done.returncode == 0, done.stderr
    assert Registry(open_store(workdir)).bots() == []


def test_by_hand_the_authors_go_along_too(tiny_checkpoint, tmp_path, mynah):
    make_outputs(tmp_path / "duo", tiny_checkpoint, "bob_author")
    training = json.loads((tmp_path / "duo" / "model" / "training.json").read_text())
    training |= {"continued_from": "0" * 64, "continual": continual("ann_author")}
    (tmp_path / "duo" / "model" / "training.json").write_text(json.dumps(training))
    register_all({"duo": tmp_path / "duo"}, tmp_path / "work")
    found = mynah("forget", "@ann_author", "--workdir", tmp_path / "work", "--blends", "retrain", "--dry-run", "--json")
    assert found.returncode == 0, found.stderr
    assert {"kind": "version", "address": "duo/1"}.items() <= json.loads(found.stdout)["items"][0].items()
    shown = mynah("forget", "--yes", "@ann_author", "--workdir", tmp_path / "work")
    assert (shown.returncode, "duo was made from posts of @ann_author and of others" in shown.stderr) == (2, True)


@pytest.mark.usefixtures("kubeflow")
def test_a_search_does_not_go_on(mynah):
    refused(mynah(*SUBMIT, "--continue", "--trials", "3"), 2, "a search of the recipe starts from the base model")


def test_what_is_sent_to_a_cluster(kubeflow, mynah):
    for more in ((), ("--continue",)):
        assert mynah(*SUBMIT, "--no-wait", *more).returncode == 0
    assert [told(run).start for run in kubeflow.runs.values()] == ["base", "champion"]
    assert mynah(*SUBMIT, "--continue", "--schedule", "0 3 * * 1").returncode == 0
    inputs = told(kubeflow.recurring[0])
    assert (inputs.start, inputs.only_news) == ("champion", True)
