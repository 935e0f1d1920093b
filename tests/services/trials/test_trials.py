"""A sweep's trials against real MLflow: each is a nested run, sees its siblings, stops early, fails alone; the choice among them."""

import json

import pytest
import torch

from components.sweep.best_trial import choose
from components.sweep.trial import TrialSettings, search_space_for
from components.sweep.trial_records import COMPLETED, FAILED, PRUNED, SKIPPED, TRIAL_TAG, trials_of
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.mlflow_client.client import client
from mynah.training.recipe import build, read
from tests.services.trials.trial_runs import LONG, QUICK, Sweeping


def test_trials_are_nested_runs_that_the_next_ones_learn_from(store, data, tiny_checkpoint, tmp_path):
    sweeping = Sweeping(store, data, tiny_checkpoint)
    done = [sweeping.run(number) for number in (1, 2, 3)]
    assert [each.state for each in done] == [COMPLETED] * 3
    assert done[0].built() == search_space_for(data, TrialSettings(1, **sweeping.settings)).recipe
    assert len({json.dumps(dict(each.params)) for each in done}) == 3
    assert {each.recipe["epochs"] for each in done} == {2}  # what was set
    for number, each in enumerate(done, 1):
        run = sweeping.runs()[f"trial-{number}"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mynah.trial_state"] == "completed"
        assert float(run.data.params["learning_rate"]) == each.recipe["learning_rate"]
        assert run.data.metrics["best_held_out_loss"] == pytest.approx(each.loss)
        curve = client(store.tracking_uri).get_metric_history(run.info.run_id, "held_out_loss")
        assert sorted(point.value for point in curve) == pytest.approx(sorted([each.before, *each.losses]))
    assert [each.loss for each in trials_of(store, sweeping.parent)] == pytest.approx([each.loss for each in done], abs=1e-4)
    again = Sweeping(store, data, tiny_checkpoint)
    assert [again.run(number).losses for number in (1, 2, 3)] == [each.losses for each in done]
    assert sweeping.run(2).params == done[1].params  # a step that is tried again after it was done trains no more
    chosen = choose(tmp_path / "search", store, sweeping.parent)
    assert chosen.best.loss == min(each.loss for each in chosen.trials)
    assert read(tmp_path / "search" / "recipe.yaml") == chosen.best.built()
    assert (tmp_path / "search" / "search.png").read_bytes().startswith(b"\x89PNG")


def test_the_originals_space_trains_the_originals_way(store, data, tiny_checkpoint):
    sweeping = Sweeping(store, data, tiny_checkpoint, space="huggingtweets", recipe=build("huggingtweets", {"epochs": 1}))
    done = [sweeping.run(number) for number in (1, 2)]
    assert [(each.state, each.preset, each.recipe["packing"]) for each in done] == [(COMPLETED, "huggingtweets", "stream")] * 2
    assert (done[0].recipe["learning_rate"], done[0].recipe["batch_tokens"]) == (1.372e-4, 1024)
    assert done[1].recipe["learning_rate"] != 1.372e-4


def test_a_hopeless_trial_is_stopped_and_not_chosen(store, data, tiny_checkpoint, tmp_path):
    sweeping = Sweeping(store, data, tiny_checkpoint, {**LONG, "learning_rate": 5e-3})
    done = [sweeping.run(number) for number in range(1, 5)]
    assert [each.state for each in done] == [COMPLETED] * 4
    slow = sweeping.run(5, recipe=build("default", {**LONG, "learning_rate": 1e-8}))
    assert (slow.state, len(slow.losses)) == (PRUNED, 2)
    learnt = [
        len(client(store.tracking_uri).get_metric_history(sweeping.runs()[f"trial-{number}"].info.run_id, "train_loss"))
        for number in (1, 5)
    ]
    assert learnt[0] == 2 * learnt[1]
    chosen = choose(tmp_path / "search", store, sweeping.parent)
    assert chosen.best.number != 5
    assert json.loads((tmp_path / "search" / "trials.json").read_text())["trials"][4]["state"] == "pruned"


def test_an_exploding_loss_is_a_failed_trial_and_all_of_them_an_error(store, data, tiny_checkpoint, tmp_path):
    sweeping = Sweeping(store, data, tiny_checkpoint, {**QUICK, "learning_rate": 1.0, "max_grad_norm": 1e6, "warmup": 0.0})
    failed = sweeping.run(1)
    assert failed.state == FAILED
    assert "the loss" in failed.cause
    run = sweeping.runs()["trial-1"]
    assert (run.info.status, run.data.tags["mynah.trial_state"]) == ("FINISHED", "failed")
    with pytest.raises(MynahError, match=r"all 1 trials failed, the last of them \(1\): the loss"):
        choose(tmp_path / "search", store, sweeping.parent)
    assert not (tmp_path / "search").exists()
    assert sweeping.run(2, recipe=build("default", QUICK)).state == COMPLETED
    assert choose(tmp_path / "search", store, sweeping.parent).best.number == 2


def test_a_store_that_goes_away_ends_no_training(store, data, tiny_checkpoint, monkeypatch):
    sweeping = Sweeping(store, data, tiny_checkpoint)
    answers = [[]]  # at the trial's start; then it is away

    def answer(*_):
        if answers:
            return answers.pop()
        raise PlatformError("the tracking store failed", "Is it running?")

    monkeypatch.setattr("components.sweep.trial.trials_of", answer)
    assert sweeping.run(1).state == COMPLETED
    assert answers == []


def test_what_would_fail_every_trial_ends_the_sweep(store, data, tiny_checkpoint):
    sweeping = Sweeping(store, data, tiny_checkpoint, {"block": 65})  # of 64
    with pytest.raises(InputError, match="block is 65"):
        sweeping.run(1)
    assert sweeping.runs()["trial-1"].info.status == "FAILED"


def test_a_gpu_node_without_a_gpu_ends_the_sweep(store, data, tiny_checkpoint, monkeypatch):
    monkeypatch.setenv("MYNAH_NODE_KIND", "gpu-spot")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sweeping = Sweeping(store, data, tiny_checkpoint)
    with pytest.raises(PlatformError, match="of the kind 'gpu-spot'"):
        sweeping.run(1)
    assert trials_of(store, sweeping.parent) == []


@pytest.mark.parametrize("limit", [{"minutes": 1e-9}, {"budget": 1e-9}])
def test_no_trial_begins_when_the_rest_is_needed(store, data, tiny_checkpoint, tmp_path, monkeypatch, limit):
    monkeypatch.setenv("MYNAH_NODE_KIND", "cpu")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    sweeping = Sweeping(store, data, tiny_checkpoint)
    assert sweeping.run(1, **dict.fromkeys(limit, 1000000.0)).state == COMPLETED
    late = sweeping.run(2, **limit)
    assert (late.state, late.losses) == (SKIPPED, ())
    assert choose(tmp_path / "search", store, sweeping.parent).best.number == 1
    none = Sweeping(store, data, tiny_checkpoint, **limit)
    none.run(1)
    with pytest.raises(MynahError, match="did not suffice for a single trial"):
        choose(tmp_path / "none", store, none.parent)


def test_foreign_runs_and_tags_do_no_harm(store, data, tiny_checkpoint, tmp_path):
    sweeping = Sweeping(store, data, tiny_checkpoint)
    api, experiment = client(store.tracking_uri), client(store.tracking_uri).get_experiment_by_name("mynah").experiment_id
    for name, tag in (
        ("trial-7", "{"),
        ("trial-8", "[1]"),
        ("trial-9", '{"number": 9, "losses": ["NaN"]}'),
        ("trial-ten", "x"),
        ("", ""),
    ):
        api.create_run(
            experiment, tags={"mlflow.parentRunId": sweeping.parent, "mynah.step": name, TRIAL_TAG: tag, "mynah.seconds": "x"}
        )
    with pytest.raises(MynahError, match="no trial of this sweep"):
        choose(tmp_path / "search", store, sweeping.parent)
    assert sweeping.run(1).state == COMPLETED
    assert sweeping.run(7).state == COMPLETED  # its own run, whatever stands in it
    assert [each.number for each in choose(tmp_path / "search", store, sweeping.parent).trials] == [1, 7]
