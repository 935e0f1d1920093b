"""The whole way through the command line: one run, looked at from every side."""

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import httpx
import pytest

from components.register.step import register_folders
from tests.services.pipeline_runs import QUICK, command, start

pytestmark = pytest.mark.own_python  # the whole way as people go it, and a new store that two processes open at once
STEPS = ["fetch", "filter", "finetune", "evaluate", "card", "register", "promote"]


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    # Blanks, quotes, a letter beyond ASCII, and the word that Kubeflow's runner replaces in every parameter.
    return tmp_path_factory.mktemp("work") / "my python3 'wörk'"


@pytest.fixture(scope="session")
def both(workdir):
    """Two runs at once on a new folder: wren learns, and a bot that sleeps does not."""
    arguments = ["--from", "sample", "--workdir", workdir, "--json", *QUICK]
    more = {"wren": [], "sleeper": ["--set", "learning_rate=1e-8"]}
    runs = {name: start("run", "--name", name, *arguments, *more[name]) for name in more}
    told = {name: run.communicate(timeout=250) for name, run in runs.items()}
    return {name: subprocess.CompletedProcess(run.args, run.returncode, *told[name]) for name, run in runs.items()}


@pytest.fixture(scope="session")
def done(both):
    assert both["wren"].returncode == 0, both["wren"].stderr
    return both["wren"]


@pytest.fixture(scope="session")
def outcome(done):
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def store(workdir, done):
    from mlflow import MlflowClient

    uri = f"sqlite:///{workdir}/mlflow.db"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_progress_is_plain_lines_on_stderr(done):
    lines = done.stderr.splitlines()
    for line in (
        "Fetching posts …",
        "Filtering …",
        "Fine-tuning …",
        "Evaluating …",
        "Writing the card …",
        "Registering …",
        "Promoting …",
    ):
        assert line in lines
    assert "\x1b" not in done.stderr


def test_two_runs_at_once_on_a_new_folder(both, workdir, mynah):
    """A new sqlite store does not survive two that open it at once: Mynah lets one in at a time. One learns, one does not."""
    assert both["wren"].returncode == 0, both["wren"].stderr
    assert both["sleeper"].returncode == 4, both["sleeper"].stderr
    assert "sleeper version 1 was not promoted: the gate did not pass it (failed: loss_gain" in both["sleeper"].stderr
    assert json.loads(both["sleeper"].stdout)["promoted"] is False
    assert {bot["name"]: bot["champion"] for bot in bots_of(mynah, workdir).values()} == {"wren": 1, "sleeper": None}


def bots_of(mynah, workdir):
    """What `mynah bots` tells, by name."""
    return {bot["name"]: bot for bot in json.loads(mynah("bots", "--workdir", workdir, "--json").stdout)}


def test_the_run_folder_holds_every_steps_output_and_nothing_else(outcome):
    folder = Path(outcome["folder"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "card",
        "data",
        "model",
        "order.json",
        "pipeline.log",
        "raw",
        "report",
        "run.json",
    ]
    assert (folder / "card" / "predictions.png").read_bytes().startswith(b"\x89PNG")
    assert outcome["funnel"]["authors"][0]["downloaded"] == 500
    assert outcome["metrics"]["held_out_loss"] < outcome["metrics"]["base_held_out_loss"] - 0.1


def nested(store, parent):
    experiment = store.get_experiment_by_name("mynah").experiment_id
    runs = store.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {run.data.tags["mynah.step"]: run for run in runs}


def test_mlflow_has_one_run_with_a_nested_run_per_step(store, outcome):
    parent = store.get_run(outcome["mlflow_run"])
    steps = nested(store, parent.info.run_id)
    assert sorted(steps) == sorted(STEPS)
    assert {run.info.status for run in (parent, *steps.values())} == {"FINISHED"}
    assert parent.data.metrics["held_out_loss"] == pytest.approx(outcome["metrics"]["held_out_loss"])
    assert parent.data.metrics["kept"] == outcome["funnel"]["authors"][0]["kept"]
    params = steps["finetune"].data.params
    assert (params["base_model"], params["epochs"], params["seed"], params["preset"]) == ("fledgling", "1", "42", "default")


def test_the_parent_run_tells_what_the_bot_can_be_made_again_from(store, outcome):
    from importlib.metadata import version

    from mynah.core.files import digest

    run, data = store.get_run(outcome["mlflow_run"]).data, Path(outcome["folder"]) / "data"
    params = {
        "sources": "archive:groundling.zip",
        "limit": "500",
        "rules": "default",
        "base_model": "fledgling",
        "epochs": "1",
        "seed": "42",
    }
    assert params.items() <= run.params.items()
    assert (run.tags["mynah.bot"], run.tags["mynah.code_version"]) == ("wren", version("mynah"))
    assert run.tags["mynah.data_digest"] == digest(data / "train.jsonl")
    assert run.tags["mynah.held_out_digest"] == digest(data / "held_out.jsonl")


def test_mlflow_has_the_curve_and_the_artifacts_of_every_step(store, outcome):
    steps = nested(store, outcome["mlflow_run"])
    curve = store.get_metric_history(steps["finetune"].info.run_id, "train_loss")
    trained = json.loads((Path(outcome["folder"]) / "model" / "training.json").read_text())
    assert sorted(point.step for point in curve) == list(range(1, trained["steps"] + 1))
    held_out = store.get_metric_history(steps["finetune"].info.run_id, "held_out_loss")
    assert sorted((point.step, point.value) for point in held_out) == [
        (0, trained["history"][0]["held_out_loss"]),
        (trained["steps"], trained["history"][1]["held_out_loss"]),
    ]
    expected = {
        "fetch": ("raw", "raw/posts.jsonl"), "filter": ("data", "data/funnel.json"), "finetune": ("training", "training/training.json"),
        "evaluate": ("report", "report/verdict.json"), "card": ("card", "card/predictions.png"),
    }  # fmt: skip
    for step, (folder, file) in expected.items():
        assert file in [item.path for item in store.list_artifacts(steps[step].info.run_id, folder)]


def test_the_registered_model_is_a_whole_hugging_face_folder(store, workdir, outcome):
    from mynah.models import checkpoint
    from mynah.registry.registry import Registry
    from mynah.tracking.open import open_store

    bot = Registry(open_store(workdir)).bot("wren")
    assert (bot.aliases, outcome["promoted"]) == ({"champion": 1, "challenger": 1}, True)
    folder = Registry(open_store(workdir)).checkpoint(bot.versions[0])
    assert {"README.md", "predictions.png", "model.safetensors", "tokenizer.json", "training.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert checkpoint.load(folder).context == 256
    assert bot.versions[0].passed
    assert bot.versions[0].tags["mynah.promotion"] == "promoted"


def test_mlflow_itself_loads_the_model(workdir, store):
    code = (
        "import json, mlflow, sys\nmlflow.set_tracking_uri(sys.argv[1]); mlflow.set_registry_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/wren@champion')\nprint(json.dumps(list(model.predict(['My dream is']))))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{workdir}/mlflow.db"],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert found.returncode == 0, found.stderr[-2000:]
    [answer] = json.loads(found.stdout.splitlines()[-1])
    assert answer.startswith("My dream is")


def test_bots_and_generate(workdir, done, mynah):
    bot = bots_of(mynah, workdir)["wren"]
    assert (bot["name"], bot["champion"], bot["verdict"], bot["versions"]) == ("wren", 1, "passed", 1)
    assert "wren" in mynah("bots", "--workdir", workdir).stdout
    ask = ["generate", "wren", "My dream is", "-n", "5", "--workdir", workdir, "--json", "--seed"]
    answers = [mynah(*ask, seed).stdout for seed in (1, 2)]
    assert answers[0] == subprocess.check_output(command(*ask, 1), text=True) != answers[1]
    assert len(json.loads(answers[0])["texts"]) == 5
    wrong = mynah("generate", "wrenn", "--workdir", workdir)
    assert (wrong.returncode, "Did you mean 'wren'" in wrong.stderr) == (2, True)
    assert mynah("generate", "wren", "word " * 400, "--workdir", workdir).returncode == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_and_stops(workdir, done, how):
    with subprocess.Popen(command("serve", "--port", "0", "--workdir", workdir), stderr=subprocess.PIPE, text=True) as process:
        line = next(line for line in process.stderr if "http://" in line)
        address = line[line.index("http://") :].split()[0].rstrip(".,")
        body = {
            "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["My dream is"]}],
            "parameters": {"n": 5},
        }
        answer = httpx.post(f"{address}/v2/models/wren/infer", json=body, timeout=60).json()
        assert len(answer["outputs"][0]["data"]) == 5
        assert answer["model_version"] == "1"
        process.send_signal(how)
        process.stderr.read()
    assert process.returncode == 0


def test_the_steps_by_hand_and_a_promotion(workdir, outcome, mynah):
    """The folders of the run, registered again by hand: an equal version may take over, and `previous` remembers."""
    run = Path(outcome["folder"])
    folders = [run / name for name in ("model", "data", "report", "card")]
    found = start("register", "--name", "wren", *folders, "--workdir", workdir, "--json")
    registered, told = found.communicate(timeout=200)
    assert found.returncode == 0, told
    version = json.loads(registered)["version"]
    promoted = mynah("promote", "wren", "--workdir", workdir, "--json")
    decision = json.loads(promoted.stdout)
    assert (decision["version"], decision["promoted"], decision["reasons"], decision["previous"]) == (
        version,
        True,
        [],
        version - 1,
    )
    assert bots_of(mynah, workdir)["wren"]["aliases"] == {"champion": version, "challenger": version, "previous": version - 1}
    assert mynah("promote", "wren", "--version", "99", "--workdir", workdir).returncode == 2


def test_a_model_that_the_gate_refused_is_not_promoted(workdir, outcome, tmp_path, mynah):
    run = Path(outcome["folder"])
    shutil.copytree(run / "report", tmp_path / "report")
    verdict = json.loads((run / "report" / "verdict.json").read_text())
    verdict["checks"][0]["passed"] = verdict["passed"] = False
    (tmp_path / "report" / "verdict.json").write_text(json.dumps(verdict))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's and transformers' own
        version = register_folders("wren", run / "model", run / "data", tmp_path / "report", run / "card", workdir).version
    before = bots_of(mynah, workdir)["wren"]["aliases"]["champion"]
    refused = mynah("promote", "wren", "--version", version, "--workdir", workdir)
    assert refused.returncode == 4
    assert "loss_gain" in refused.stderr
    assert bots_of(mynah, workdir)["wren"]["aliases"]["champion"] == before
