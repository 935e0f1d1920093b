"""Trials after a kill, beside one another and in a later search: what one found, the next takes."""

import contextlib
import json
import os
import sqlite3
import subprocess
import time
from dataclasses import replace

import pytest

from components.sweep.best_trial import choose
from components.sweep.trial_records import COMPLETED, FAILED, RUNNING, SKIPPED, record_start, trials_of
from mynah.mlflow_client.client import client
from mynah.mlflow_client.store import Store
from mynah.tracking.open import open_store
from mynah.tracking.runs import end_run, start_parent
from mynah.tracking.step_run import step_run
from tests.fork_client import RUN_CODE
from tests.services.trials.trial_runs import LONG, QUICK, Sweeping


def test_an_attempt_after_one_that_was_killed_takes_the_same_parameters(store, data, tiny_checkpoint):
    sweeping = Sweeping(store, data, tiny_checkpoint)
    sweeping.run(1)
    wanted = sweeping.run(2)
    other = Sweeping(store, data, tiny_checkpoint)
    with pytest.raises(KeyboardInterrupt), step_run("trial-2", store, other.parent) as run:
        record_start(run, begun(wanted, 2))
        raise KeyboardInterrupt
    assert other.run(2).losses == wanted.losses
    assert other.runs()["trial-2"].data.tags["mynah.attempts"] == "2"


def test_a_trial_that_ends_its_pod_again_and_again_is_given_up(store, data, tiny_checkpoint, tmp_path):
    sweeping = Sweeping(store, data, tiny_checkpoint)
    done = sweeping.run(1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), step_run("trial-2", store, sweeping.parent) as run:
            record_start(run, begun(done, 2))
            raise KeyboardInterrupt
    assert choose(tmp_path / "search", store, sweeping.parent).trials[1].cause == "its process was killed"
    given_up = sweeping.run(2)
    assert (given_up.state, "3 times" in given_up.cause) == (FAILED, True)


def begun(done, number):
    """The trial as it was when it began."""
    return replace(done, number=number, state=RUNNING, losses=(), before=None)


RACE = """
import sys
from pathlib import Path
from mynah.training.recipe import build
from mynah.mlflow_client.client import Store
from components.sweep.trial import TrialSettings, trial
from mynah.tracking.step_run import step_run

number, parent, data, base = int(sys.argv[1]), *sys.argv[2:]
store = Store.from_environment()
with step_run(f"trial-{number}", store, parent) as run:
    found = trial(Path(data), TrialSettings(number, base_model=base, recipe=build("default", {"epochs": 2, "block": 32})), store, run)
print(found.state)
"""


def test_trials_at_the_same_time_see_one_another(on_server, data, tiny_checkpoint, tmp_path):
    """Two processes, one MLflow server over PostgreSQL: different parameters, both recorded, none in the other's way."""
    store = Store.from_environment()
    parent = start_parent(store, "wren", {})
    commands = [[*RUN_CODE, RACE, str(number), parent, str(data), str(tiny_checkpoint)] for number in (2, 3)]
    racing = [
        subprocess.Popen(each, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}) for each in commands
    ]
    assert [each.communicate(timeout=120)[0].strip() for each in racing] == ["completed"] * 2
    first, second = trials_of(store, parent)
    assert first.params != second.params
    end_run(store, parent, "FINISHED")
    chosen = choose(tmp_path / "search", store, parent)
    assert {each.number for each in chosen.trials} == {2, 3}


STEP = """
import json, sys, tempfile
from pathlib import Path
from components.run_inputs import RunInputs
from components.sweep.component import trial

number, parent, data, base, changes = int(sys.argv[1]), *sys.argv[2:]
recipe = {"preset": "default", "changes": json.loads(changes)}
spec = RunInputs("lark", ["sample"], base, recipe=recipe, space="default").write(Path(tempfile.mkdtemp(), "run.json"))
print(trial.python_func(number, spec, "", parent, data))
"""


def states(store):
    """The state of each trial in the store, by its run."""
    with contextlib.closing(sqlite3.connect(store.folder / "mlflow.db")) as database:
        return dict(database.execute("SELECT run_uuid, value FROM tags WHERE key = 'mynah.trial_state'"))


def step(store, data, base_model, number, parent, changes):
    """The pipeline's step as a process of its own."""
    command = [*RUN_CODE, STEP, str(number), parent, str(data), str(base_model), json.dumps(changes)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MLFLOW_TRACKING_URI": store.tracking_uri},
    )


def test_a_search_goes_on_where_it_was_killed(data, tiny_checkpoint, tmp_path, capsys):
    """The step's own function, killed in the second trial; the result is that of a search that nobody ended."""
    store = open_store(tmp_path / "work")
    whole = Sweeping(store, data, tiny_checkpoint, LONG)
    wanted = [whole.run(number) for number in (1, 2, 3)]
    first = Sweeping(store, data, tiny_checkpoint, LONG, bot="lark")
    assert first.run(1).state == COMPLETED
    with step(store, data, tiny_checkpoint, 2, first.parent, LONG) as process:
        while "running" not in states(store).values():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.kill()
    assert [each.state for each in trials_of(store, first.parent)] == [COMPLETED, RUNNING]
    again = Sweeping(store, data, tiny_checkpoint, LONG, bot="lark")
    capsys.readouterr()
    assert again.run(1).state == COMPLETED
    told = capsys.readouterr().err.splitlines()
    assert "going on with an earlier search of the same inputs: 1 of its trials is kept" in told
    assert f"trial-1: held-out loss {wanted[0].loss:.3f}, kept from an earlier search" in told
    assert [again.run(number).state for number in (2, 3)] == [COMPLETED] * 2
    found = trials_of(store, again.parent)
    assert [(each.params, each.losses) for each in found] == [
        (each.params, pytest.approx(each.losses, rel=1e-5)) for each in wanted
    ]
    [original] = [run for name, run in first.runs().items() if name == "trial-1"]
    assert [each.kept_from for each in found] == [original.info.run_id, "", ""]
    kept = again.runs()["trial-1"]
    assert (kept.data.tags["mynah.kept_from"], kept.data.metrics["best_held_out_loss"]) == (
        original.info.run_id,
        pytest.approx(wanted[0].loss),
    )
    assert client(store.tracking_uri).get_metric_history(kept.info.run_id, "train_loss") == []
    chosen = choose(tmp_path / "search", store, again.parent)
    assert [row["kept_from"] != "" for row in chosen.to_record()["trials"]] == [True, False, False]


def test_more_trials_go_on_and_other_inputs_begin_anew(store, data, tiny_checkpoint, tmp_path, capsys):
    first = Sweeping(store, data, tiny_checkpoint, bot="robin")
    done = [first.run(number) for number in (1, 2)]
    more = Sweeping(store, data, tiny_checkpoint, bot="robin")
    capsys.readouterr()
    found = [more.run(number) for number in (1, 2, 3)]
    assert "2 of its trials are kept" in capsys.readouterr().err
    assert [each.params for each in found[:2]] == [each.params for each in done]
    assert [bool(each.kept_from) for each in found] == [True, True, False]
    cut = Sweeping(store, data, tiny_checkpoint, bot="robin")
    assert cut.run(4, minutes=1e-9).state == SKIPPED
    later = Sweeping(store, data, tiny_checkpoint, bot="robin")
    assert (later.run(4).state, later.run(4).kept_from) == (COMPLETED, "")  # nobody trained it
    assert later.run(3).kept_from == more.runs()["trial-3"].info.run_id
    other_posts = tmp_path / "data"
    other_posts.mkdir()
    for part in ("train", "held_out"):
        lines = (data / f"{part}.jsonl").read_text().splitlines(keepends=True)
        (other_posts / f"{part}.jsonl").write_text("".join(lines[1:]))
    for posts, changes, said in (
        (data, {**QUICK, "epochs": 1}, "the recipe is not as in the search before"),
        (data, {**QUICK, "epochs": 1, "seed": 7}, "the seed is not as in the search before"),
        (other_posts, QUICK, "the posts, the seed and the recipe are not as in the search before"),
    ):
        other = Sweeping(store, posts, tiny_checkpoint, changes, bot="robin")
        assert other.run(1).kept_from == ""
        assert f"a new search, which keeps no trial: {said}" in capsys.readouterr().err
    foreign = Sweeping(store, data, tiny_checkpoint, bot="wagtail")
    assert foreign.run(1).kept_from == ""  # another bot's: to forget one takes nothing from the other
    assert "a new search" not in capsys.readouterr().err
