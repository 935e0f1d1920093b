"""Going on from a fine-tuned model with new posts: what is learnt, kept and forgotten, beside starting over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluate.step import EvaluateSettings, evaluate
from components.filter.step import FilterSettings, filter_posts
from components.finetune.continue_training import continue_training
from components.finetune.parent_model import ParentModel, parent_from_folder
from components.finetune.replay import characters, count, partition
from components.finetune.settings import FinetuneSettings
from mynah.core.files import digest
from mynah.data.datasets import read_by_author, read_texts
from mynah.data.text_digests import key, read_seen
from mynah.data.verbatim_filter import ngrams, read_bloom, words
from mynah.models import checkpoint
from mynah.models.scoring import score
from mynah.training.recipe import Recipe, build
from mynah.training.training_record import TrainingRecord
from tests.model.continual.continued_models import RECIPE, TRAINS, settings


def test_with_a_replay_both_styles_are_known_and_without_the_old_one_is_forgotten(
    champion, tiny_checkpoint, data, later, tmp_path
):
    losses = {}
    for replay in (0.0, 1.0):
        record = continue_training(
            later, tmp_path / "model", settings(tiny_checkpoint, replay=replay), parent_from_folder(champion, data)
        )
        losses[replay] = record.continual.loss
    assert losses[1.0]["champion"] > 2  # it knows the old style alone
    assert losses[1.0]["continue"] < 0.8  # of both, so neither is unknown
    assert losses[0.0]["continue"] > 1.5
    assert losses[0.0]["start over"] == losses[1.0]["start over"] < 0.8


def test_the_better_one_is_kept_with_its_lineage(went_on, champion, tiny_checkpoint, data, later):
    record, out, _ = went_on
    found = record.continual
    assert (found.chosen, found.beats, found.parent, found.authors) == ("continue", True, "model", ("ann",))
    assert found.loss["continue"] < found.loss["start over"]
    assert found.loss["champion"] == pytest.approx(score(checkpoint.load(champion), read_texts(later, "held_out")).loss, abs=1e-4)
    assert record == TrainingRecord.read(out)
    # The base model is the champion's own, and the texts are all of today's: so evaluation, registry and card take it for what it is.
    assert record.base_model == TrainingRecord.read(champion).base_model
    assert record.data_digest == digest(later / "train.jsonl")
    assert record.held_out_digest == digest(later / "held_out.jsonl")
    assert record.continued_from == digest(champion)
    assert record.posts == found.new_posts + found.replayed_posts
    assert (record.recipe["learning_rate"], record.posts) == (
        5e-3,
        count(read_by_author(later, "train")),
    )  # all are replayed
    assert score(checkpoint.load(out), read_texts(later, "held_out")).loss == pytest.approx(found.loss["continue"], abs=1e-4)
    assert read_seen(out) == {key(text) for text in read_texts(data, "train")}
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_the_server_keeps_it_from_repeating_old_posts_too(went_on, data, later):
    bloom = read_bloom(went_on[1])
    runs = [run for text in [*read_texts(data, "train"), *read_texts(later, "train")] for run in ngrams(words(text), 8)]
    assert len(runs) > 200
    assert all(run in bloom for run in runs)


def test_both_curves_are_told_by_their_names(went_on):
    record, _, steps = went_on
    curves = {
        name: [metrics[name] for _, metrics in steps if name in metrics]
        for name in ("continue/held_out_loss", "start_over/held_out_loss")
    }
    assert [len(curve) for curve in curves.values()] == [2, 2]
    assert min(curves["continue/held_out_loss"]) == record.continual.loss["continue"]
    assert min(curves["start_over/held_out_loss"]) == record.continual.loss["start over"]


def test_what_the_champion_was_trained_on_judges_nobody(champion, tiny_checkpoint, data, later, went_on, tmp_path):
    """The split of another seed holds out what the champion knows."""
    raw = later.parent / "raw"
    filter_posts(raw, tmp_path / "data", FilterSettings("default,-near-duplicates", seed=7))
    known = {text.casefold() for text in read_texts(data, "train")}
    held_out = read_texts(tmp_path / "data", "held_out")
    fair = [text for text in held_out if text.casefold() not in known]
    assert 5 < len(fair) < len(held_out) - 5
    record = continue_training(
        tmp_path / "data", tmp_path / "model", settings(tiny_checkpoint, epochs=1), parent_from_folder(champion, data)
    )
    found = record.continual
    assert (found.held_out_posts, found.held_out_left_out) == (len(fair), len(held_out) - len(fair))
    assert found.chosen == "continue"
    evaluate(tmp_path / "model", tmp_path / "data", tmp_path / "report", EvaluateSettings(str(tiny_checkpoint), samples=5))
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["held_out_loss"] == pytest.approx(found.loss["continue"], abs=1e-4)
    # And so on: who goes on from it knows what the champion knew.
    again = parent_from_folder(tmp_path / "model", tmp_path / "data")
    assert again.seen_digests == {key(text) for text in [*read_texts(data, "train"), *read_texts(tmp_path / "data", "train")]}


WORDS = st.lists(st.sampled_from(["a", "bb", "Ccc", "ccc", "dddd", "BB"]), min_size=1, max_size=4).map(" ".join)
KEPT = st.dictionaries(st.sampled_from(["ann", "bob", "cleo"]), st.lists(WORDS, min_size=1, max_size=30), min_size=1)


@given(KEPT, KEPT, st.lists(WORDS), st.sampled_from([0.0, 0.5, 1.0, 3.0, 100.0]), st.integers(0, 99))
def test_the_parts_are_apart(train, held_out, earlier, replay, seed):
    known = {text.casefold() for text in earlier}
    fold = lambda texts: {text.casefold() for theirs in texts.values() for text in theirs}  # noqa: E731
    ancestor = Ancestor_of(earlier)
    parts = partition(train, held_out, ancestor, Recipe(replay=replay, seed=seed))
    assert fold(parts.new).isdisjoint(known)
    assert fold(parts.replayed) <= known & fold(train)
    assert fold(parts.held_out).isdisjoint(known)
    assert count(parts.held_out) + parts.excluded == count(held_out)
    assert parts.removed == len(known - fold(train) - fold(held_out))
    for author, theirs in train.items():
        both = [*parts.new[author], *parts.replayed[author]]
        assert sorted(text for text in theirs if text.casefold() not in known) == sorted(parts.new[author])
        assert all(both.count(text) <= theirs.count(text) for text in both)  # none more often than it is there
        wanted = replay * characters(parts.new) / len(train)
        old = [text for text in theirs if text.casefold() in known]
        drawn = parts.replayed[author]
        assert sum(map(len, drawn)) >= min(wanted, sum(map(len, old)))
        assert not drawn or sum(map(len, drawn[:-1])) < wanted  # one less would be too few
    assert parts == partition(train, held_out, ancestor, Recipe(replay=replay, seed=seed))


def Ancestor_of(texts):  # noqa: N802
    from pathlib import Path

    return ParentModel(Path("/nowhere"), texts, frozenset({"ann"}), "a model")


def test_the_authors_of_a_blend_share_the_replay(champion, data):
    old = read_texts(data, "train")
    train = {"ann": [*old[:200], *TRAINS[:90]], "bob": [*old[200:400], *TRAINS[90:]]}
    known = Ancestor_of(old)
    parts = partition(train, {"ann": ["x"]}, known, Recipe(weights={"ann": 0.75}, replay=1.0))
    lengths = [sum(map(len, parts.replayed[author])) for author in ("ann", "bob")]
    assert lengths == pytest.approx([0.75 * characters(parts.new), 0.25 * characters(parts.new)], abs=60)


def test_both_share_the_time(champion, tiny_checkpoint, data, later, tmp_path):
    hurried = FinetuneSettings(str(tiny_checkpoint), build("default", RECIPE), seconds=0.0)
    record = continue_training(later, tmp_path / "model", hurried, parent_from_folder(champion, data))
    assert record.out_of_time
    assert max(record.continual.tokens.values()) < 1000  # a step each


@pytest.mark.parametrize("where", ["continue", "start_over"])
def test_interrupted_in_either_it_goes_on_in_that_one(where, champion, tiny_checkpoint, data, later, went_on, tmp_path):
    whole, model, _ = went_on
    kept = FinetuneSettings(
        str(tiny_checkpoint), build("default", {**RECIPE, "epochs": 1}), None, str(tmp_path / "states" / "wren"), 0.0
    )
    ancestor = ParentModel(champion, read_texts(data, "train"), frozenset({"ann", "ben"}), "version 1 of wren", 1)

    def interrupt(step, metrics):
        if step == 5 and f"{where}/train_loss" in metrics:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        continue_training(later, tmp_path / "model", kept, ancestor, interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["states"]
    (states,) = (tmp_path / "states" / "wren").iterdir()  # where `mynah forget` looks, and of this training alone
    authors = json.loads((states / "step-000004" / "state.json").read_text())["values"]["authors"]
    assert authors == (["ann", "ben"] if where == "continue" else ["ann"])
    told = []
    record = continue_training(later, tmp_path / "model", kept, ancestor, lambda step, metrics: told.append((step, *metrics)))
    assert (1, "continue/held_out_loss") not in told
    assert record.continual.loss == whole.continual.loss
    assert record.resumed_at == ((4,) if where == "continue" else ())
    assert digest(tmp_path / "model" / "model.safetensors") == digest(model / "model.safetensors")
    assert not list((tmp_path / "states").glob("wren/*"))


def test_by_hand_on_the_command_line(champion, tiny_checkpoint, data, later, tmp_path, capsys):
    import subprocess
    import sys

    sets = [f"--set={name}={value}" for name, value in {**RECIPE, "epochs": 1}.items()]
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "finetune",
        later,
        "--out",
        tmp_path / "model",
        "--base-model",
        tiny_checkpoint,
        *sets,
    ]
    alone = subprocess.run([*map(str, command), "--from-model", champion], capture_output=True, text=True)
    assert (alone.returncode, "--from-model and --trained-on go together" in alone.stderr) == (2, True)
    done = subprocess.run(
        [*map(str, command), "--from-model", champion, "--trained-on", data, "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record == json.loads((tmp_path / "model" / "training.json").read_text())
    lines = done.stderr.splitlines()
    assert f"continuing from {champion}: 162 new posts, 450 old ones replayed, judged on 68 held-out posts" in lines
    loss = record["continual"]["loss"]
    assert any(
        line.startswith(
            f"continuing from {champion} wins: held-out loss {loss['continue']:.3f} against {loss['start over']:.3f} of starting over"
        )
        for line in lines
    )
