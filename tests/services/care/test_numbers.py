"""Numbers about a bot that say what they are: differences on the same posts, times of steps by hand, and decisions that change nothing."""

import json
import re

import pytest
from registry_inputs import add_version, aliases, make_outputs, register_all

from components.promote.step import promote
from mynah.models.metric_definitions import METRICS, ON_HELD_OUT
from mynah.registry.history import events
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from mynah.tracking.runs import end_run, start_parent
from mynah.tracking.step_run import step_run


def diff(mynah, workdir, *versions):
    done = mynah("diff", "wren", *versions, "--workdir", workdir, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), mynah("diff", "wren", *versions, "--workdir", workdir).stdout


def test_versions_of_the_same_posts_differ_by_what_they_measured_on_them(workdir, mynah):
    add_version(workdir, 3.5)
    record, shown = diff(mynah, workdir, "1", "2")
    assert record["comparison"] == {"losses": [4.0, 3.5], "unit": "nats per token", "posts": None, "problem": ""}
    assert record["not_comparable"] == []
    assert "On the same held-out posts: version 1 has 4.000, version 2 3.500 nats per token (-0.500)." in shown


def test_versions_of_other_posts_are_scored_on_the_same_ones(workdir, tmp_path, tiny_checkpoint, mynah):
    outputs = make_outputs(tmp_path / "more", tiny_checkpoint, "ann_author", posts=120)
    (outputs / "report" / "metrics.json").write_text(json.dumps({"held_out_loss": 3.0, "distinct_1": 0.5}))
    register_all({"wren": outputs}, workdir, promoted=False)
    record, shown = diff(mynah, workdir, "1", "2")
    found = record["comparison"]
    assert (found["problem"], found["losses"][0] == found["losses"][1]) == ("", True)  # the same weights
    assert found["posts"] == 40
    assert record["metrics"] == {"held_out_loss": [4.0, 3.0], "distinct_1": [None, 0.5]}
    assert record["not_comparable"] == ["held_out_loss"]
    assert "On the same 40 posts that neither was trained on: version 1 has" in shown
    [row] = re.findall(r"held_out_loss.*", shown)
    assert "not comparable" in row
    assert "-1.0000" not in row


def test_versions_that_cannot_be_compared_are_said_to_be_so(workdir, mynah):
    add_version(workdir, 3.5, posts="c" * 64)
    client = Registry(open_store(workdir)).client
    run = next(run for run in client.search_runs(["1"]) if run.info.run_name == "filter")
    client.set_tag(run.info.run_id, "mynah.step", "elsewhere")  # as if no posts were recorded
    record, shown = diff(mynah, workdir, "1", "2")
    assert record["comparison"]["losses"] == [None, None]
    assert record["comparison"]["problem"]
    assert "They cannot be compared on the same posts: " in shown


def test_a_version_does_not_differ_from_itself(workdir, mynah):
    record, shown = diff(mynah, workdir, "1", "champion")
    assert (record["comparison"], record["metrics"]) == (None, {})
    assert "Nothing that was recorded differs" in shown


def test_the_metrics_of_held_out_posts_are_all_known():
    """A new metric whose formula speaks of them is one of them, or is left out here for a reason."""
    counts = {"held_out_posts", "champion_posts"}
    told = {name for name, metric in METRICS.items() if "held-out" in metric.formula + metric.label}
    assert told - counts <= ON_HELD_OUT <= set(METRICS)


def test_the_time_of_steps_by_hand_counts_training_and_evaluation(workdir, tmp_path, tiny_checkpoint, mynah):
    outputs = make_outputs(tmp_path / "hand", tiny_checkpoint, "bob_author")
    (outputs / "report" / "metrics.json").write_text(json.dumps({"held_out_loss": 4.0, "evaluation_seconds": 1000.0}))
    register_all({"heron": outputs}, workdir, promoted=False)
    [version] = json.loads(mynah("show", "heron", "--workdir", workdir, "--json").stdout)["versions"]
    trained = json.loads((outputs / "model" / "training.json").read_text())["seconds"]
    assert trained + 1000 <= version["seconds"]
    assert version["cost_usd"] is None  # where it was trained is unknown


def test_the_time_of_a_pipelines_steps_is_their_own(workdir, tmp_path, tiny_checkpoint):
    from components.register.step import register

    outputs = make_outputs(tmp_path / "run", tiny_checkpoint, "bob_author")
    store = open_store(workdir)
    parent = start_parent(store, "robin", {})
    for name in ("finetune", "evaluate"):
        with step_run(name, store, parent):
            pass
    with step_run("register", store, parent) as run:
        register("robin", outputs / "model", outputs / "report", outputs / "card", store, run.run_id)
    end_run(store, parent, "FINISHED")
    [version] = Registry(store).bot("robin").versions
    trained = json.loads((outputs / "model" / "training.json").read_text())["seconds"]
    assert version.number("mynah.seconds") < trained
    assert version.number("mynah.cost_usd") is not None


@pytest.mark.parametrize("force", ["", "because"])
def test_promoting_the_champion_again_is_no_decision(workdir, mynah, force):
    before = events(Registry(open_store(workdir)).bot("wren"))
    decided = promote("wren", open_store(workdir), 0, force)
    assert (decided.promoted, decided.changed, decided.forced) == (True, False, "")
    done = mynah("promote", "wren", "--workdir", workdir, *(["--force", force] if force else []))
    assert done.stdout == "wren version 1 is the champion already: nothing changes\n"
    assert events(Registry(open_store(workdir)).bot("wren")) == before
    assert aliases(workdir) == {"challenger": 1, "champion": 1}


def test_a_champion_that_was_forced_is_forced_once(workdir):
    number = add_version(workdir, 9.0)
    assert promote("wren", open_store(workdir), number, "first").forced == "first"
    assert not promote("wren", open_store(workdir), number, "second").changed
    bot = Registry(open_store(workdir)).bot("wren")
    assert [event.forced for event in events(bot)] == ["", "first"]
    assert bot.champion.tags["mynah.promotion_forced"] == "first"


def test_no_bots_says_where(mynah, tmp_path):
    done = mynah("bots", "--workdir", tmp_path / "none")
    assert done.stdout.startswith(f"No bots in {tmp_path / 'none'} yet.")
    assert mynah("bots", "--workdir", tmp_path / "none", "--json").stdout == "[]\n"
