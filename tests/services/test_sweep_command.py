"""`mynah sweep` and `mynah submit --trials`: the whole way on this machine, what ends it, and what is sent to a cluster."""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from mynah.training.recipe import read
from pipelines.cli.sweep import show_search
from tests.services.kubeflow_commands import SUBMIT, refused, told
from tests.services.pipeline_runs import command, statuses, wait_until

WHO, DOES, WHAT = (
    ("The bird", "A queen", "My neighbour", "The sea"),
    ("sings to", "forgets", "dreams of"),
    ("the rain", "a letter", "the moon"),
)
WHEN = ("today.", "again and again.", "when nobody looks.", "in the winter.", "and knows it.", "all the same.")


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    path = tmp_path_factory.mktemp("posts") / "posts.csv"
    texts = [f"{who} {does} {what} {when}" for who in WHO for does in DOES for what in WHAT for when in WHEN]
    path.write_text("\n".join(["text", *texts, ""]))
    return path


def arguments(posts, base_model, workdir, *more):
    return [
        "sweep",
        "--name",
        "wren",
        "--from",
        posts,
        "--basis",
        "permission",
        "--base-model",
        base_model,
        "--workdir",
        workdir,
        "--set",
        "block=32",
        *more,
    ]


def test_the_best_recipe_makes_the_bot(posts, tiny_checkpoint, tmp_path, capsys):
    from mlflow import MlflowClient

    call = command(*arguments(posts, tiny_checkpoint, tmp_path / "work", "--trials", "2", "--set", "epochs=1", "--json"))
    done = subprocess.run(call, capture_output=True, text=True, timeout=200)
    assert done.returncode in (0, 4), done.stderr  # whether the gate passes a random model that has learnt for a second
    for line in ("Trial 1 …", "Trial 2 …", "Choosing the recipe …", "Fine-tuning …", "Promoting …"):
        assert line in done.stderr.splitlines()
    outcome = json.loads(done.stdout)
    found, folder = outcome["search"], Path(outcome["folder"])
    assert [(each["number"], each["state"]) for each in found["trials"]] == [(1, "completed"), (2, "completed")]
    best = found["trials"][found["best"] - 1]
    assert best["held_out_loss"] == min(each["held_out_loss"] for each in found["trials"])
    trained = json.loads((folder / "model" / "training.json").read_text())
    assert best["searched"].items() <= trained["recipe"].items()
    assert trained["history"][trained["best_epoch"]]["held_out_loss"] == pytest.approx(best["held_out_loss"], abs=1e-3)
    assert outcome["metrics"]["held_out_loss"] == pytest.approx(best["held_out_loss"], abs=0.01)
    api = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'work' / 'mlflow.db'}")
    runs = {run.info.run_name: run for run in api.search_runs([api.get_run(outcome["mlflow_run"]).info.experiment_id])}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {"trial-1", "trial-2", "choose", "finetune", "promote"} < set(runs)
    kept = {item.path for item in api.list_artifacts(runs["choose"].info.run_id, "search")}
    assert kept == {"search/trials.json", "search/search.png", "search/recipe.yaml"}
    assert (runs["wren"].data.params["trials"], runs["wren"].data.params["space"]) == ("2", "default")
    show_search(found, folder)
    shown = capsys.readouterr().out
    assert f"│ {best['number']} │ " in shown
    assert f"{best['held_out_loss']:.3f} │ completed │" in shown
    assert str(folder / "search" / "search.png") in shown
    kept_recipe = read(folder / "search" / "recipe.yaml")  # for `mynah run --recipe`
    assert kept_recipe.to_record().items() <= trained["recipe"].items()
    assert best["searched"].items() <= kept_recipe.to_record().items()


def test_an_interrupt_ends_the_trial_and_begins_no_other(posts, tiny_checkpoint, tmp_path):
    workdir = tmp_path / "work"
    call = command(*arguments(posts, tiny_checkpoint, workdir, "--trials", "5", "--set", "epochs=1000", "--set", "patience=0"))
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: (workdir / "mlflow.db").exists() and statuses(workdir).get("trial-1") == "RUNNING", within=90)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "nothing half-written is left" in said
    assert statuses(workdir) == {"wren": "KILLED", "fetch": "FINISHED", "filter": "FINISHED", "trial-1": "KILLED"}
    assert list((workdir / "runs").iterdir()) == []


def test_a_killed_sweep_goes_on_with_the_trials_that_finished(posts, tiny_checkpoint, tmp_path):
    """SIGKILL to every process of it, in the second trial; the second time more trials are asked for."""
    workdir = tmp_path / "work"
    call = arguments(posts, tiny_checkpoint, workdir, "--set", "epochs=3", "--set", "patience=0", "--set", "batch_tokens=128")
    with subprocess.Popen(command(*call, "--trials", "2"), stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: trial_states(workdir) == ["completed", "running"], within=150)
        for each in [process, *psutil.Process(process.pid).children(recursive=True)]:
            each.kill()
    assert (statuses(workdir)["wren"], statuses(workdir)["trial-2"]) == ("RUNNING", "RUNNING")  # nobody could put anything away
    lines = []
    with subprocess.Popen(command(*call, "--trials", "3"), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:  # what comes after the trials is as in any sweep
            lines.append(line.rstrip())
            if line.startswith("Choosing the recipe"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130, lines
    assert "going on with an earlier search of the same inputs: 1 of its trials is kept" in lines
    told = [line for line in lines if line.startswith("trial-")]
    assert [line.endswith(", kept from an earlier search") for line in told] == [True, False, False]
    assert trial_states(workdir) == ["completed", "running", "completed", "completed", "completed"]


def trial_states(workdir):
    """The states of all trials in the store, in their order."""
    if not (workdir / "mlflow.db").exists():
        return []
    with closing(sqlite3.connect(workdir / "mlflow.db")) as store:
        if not store.execute("SELECT * FROM sqlite_master WHERE name = 'tags'").fetchall():
            return []
        query = "SELECT value FROM tags JOIN runs USING (run_uuid) WHERE key = 'mynah.trial_state' ORDER BY start_time"
        return [state for (state,) in store.execute(query)]


def test_what_fails_every_trial_is_told_once(posts, tiny_checkpoint, tmp_path):
    workdir = tmp_path / "work"
    call = command(*arguments(posts, tiny_checkpoint, workdir, "--trials", "50", "--set", "block=65"))
    done = subprocess.run(call, capture_output=True, text=True, timeout=100)
    refused(SubprocessDone(done), 2, "block is 65, and the model's context has 64 tokens")
    assert statuses(workdir)["trial-1"] == "FAILED"
    assert "trial-2" not in statuses(workdir)


class SubprocessDone:
    """What `refused` looks at, without the lines that tell how far it is."""

    def __init__(self, done):
        self.returncode, self.stdout = done.returncode, done.stdout
        self.stderr = "\n".join(line for line in done.stderr.splitlines() if not line.endswith("…"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--trials", "0"], "0 trials\nGive --trials from 1 to 1,000"),
        (["--trials", "10001"], "10001 trials"),
        (["--space", "hugingtweets"], "no space 'hugingtweets'\nDid you mean 'huggingtweets'"),
        (["--minutes", "-1"], "-1.0 minutes"),
        (["--budget", "nan"], "the budget is nan"),
        (["--set", "epoch=2"], "no key 'epoch'"),
    ],
)
def test_bad_choices_are_refused_before_anything_is_made(mynah, tmp_path, more, said):
    refused(mynah("sweep", "--name", "wren", "--from", "sample", "--workdir", tmp_path / "work", *more), 2, said)
    assert not (tmp_path / "work").exists()


def test_without_optuna(mynah, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = mynah("sweep", "--name", "wren", "--from", "sample", "--workdir", tmp_path / "work")
    refused(done, 2, "needs Optuna, and it is not installed\nInstall it: pip install 'mynah[sweep]'")
    assert not (tmp_path / "work").exists()


def test_a_cluster_gets_the_sweeps_pipeline(mynah, kubeflow):
    done = mynah(
        *SUBMIT, "--no-wait", "--trials", "30", "--space", "huggingtweets", "--parallel", "7", "--minutes", "90", "--budget", "3"
    )
    assert done.returncode == 0, done.stderr
    [run] = kubeflow.runs.values()
    pipeline = run["pipeline_spec"]["pipeline_spec"]
    assert pipeline["pipelineInfo"]["name"] == "mynah-sweep"
    parameters = run["runtime_config"]["parameters"]
    assert parameters["trials"] == list(range(1, 31))
    inputs = told(run)
    assert (inputs.space, inputs.minutes, inputs.budget) == ("huggingtweets", 90, 3)
    assert inputs.recipe["preset"] == "huggingtweets"
    assert not inputs.only_news
    declared = pipeline["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) <= set(declared)
    assert {"iteratorPolicy": {"parallelismLimit": 7}}.items() <= _loop(pipeline).items()


def _loop(pipeline):
    dags = [each["dag"]["tasks"] for each in (pipeline["root"], *pipeline["components"].values()) if "dag" in each]
    return next(task for tasks in dags for task in tasks.values() if "parameterIterator" in task)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--trials", "1001"], "1001 trials"),
        (["--trials", "-1"], "-1 trials"),
        (["--space", "huggingtweets"], "--space and --minutes are for a search"),
        (["--trials", "3", "--schedule", "0 3 * * 1"], "--recipe recipe.yaml"),
    ],
)
def test_what_a_cluster_is_not_sent(mynah, kubeflow, more, said):
    refused(mynah(*SUBMIT, "--no-wait", *more), 2, said)
    assert not kubeflow.runs


@pytest.mark.parametrize("state", ["SUCCEEDED", "RUNNING"])
def test_trials_are_followed_as_one_step(mynah, kubeflow, state):
    kubeflow.script = [
        ("RUNNING", {"fetch": "SUCCEEDED", "trial": state}),
        ("SUCCEEDED", {"trial": "SUCCEEDED", "choose": "SUCCEEDED"}),
    ]
    done = mynah(*SUBMIT, "--trials", "3")
    assert done.returncode == 0, done.stderr
    assert f"trial: {state.lower()}" in done.stderr.splitlines()
    assert "choose: succeeded" in done.stderr.splitlines()
