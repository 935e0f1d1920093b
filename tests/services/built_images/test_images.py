"""The images, built and run: what is in them and what is not, the server, and a whole pipeline with a container per step."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

from pipelines.local.containers import IMAGE_USER
from tests.services.containers import ROOT, layers

pytestmark = pytest.mark.timeout(1200)  # the first test builds everything
TARGETS = ("data", "train", "serve")
QUICK = ["--name", "wren", "--from", "sample", "--limit", "150", "--set", "epochs=1", "--runner", "docker"]


def test_images_are_named_by_tag_with_their_sizes(engine, built):
    images, printed = built
    assert list(images) == list(TARGETS)
    for target, reference in images.items():
        assert re.fullmatch(rf"localhost/mynah-{target}:[\w.-]+", reference)  # which a node knows that it was loaded into
        assert re.search(rf"^{re.escape(reference)}  [\d,]+ MB$", printed, re.MULTILINE)
        engine.get("podman", "image", "exists", reference)


def test_they_run_as_nobody_in_particular_on_a_read_only_root(inside):
    for found in inside.values():
        assert (found["uid"], found["gid"]) == (IMAGE_USER, IMAGE_USER)
        assert found["writable"] == ["/tmp", "/tmp"]  # and HOME is there


def test_they_hold_nothing_to_build_with(inside):
    for found in inside.values():
        assert found["programs"] == []
        assert found["left"] == []
        assert "pip" not in found["modules"]


def test_each_holds_what_its_steps_need_and_no_more(inside):
    modules = {target: set(found["modules"]) for target, found in inside.items()}
    assert modules["data"] == {"kfp", "mlflow", "boto3"}
    assert modules["train"] == {"kfp", "mlflow", "boto3", "torch", "transformers"}
    assert modules["serve"] == {"mlflow", "boto3", "torch"}  # no KServe: see pyproject.toml


def test_data_cannot_import_torch_and_is_small(engine, images):
    done = engine.run(images["data"], "python3", "-c", "import torch")
    assert "No module named 'torch'" in done.stderr
    [found] = json.loads(engine.get("podman", "image", "inspect", images["data"]))
    assert found["Size"] < 500e6


UNPACK = """
from mynah.models.base_models import resolve
base = resolve("smollm2")
print(base.revision, (base.folder / "model.safetensors").stat().st_size)
"""


def test_train_holds_the_base_model_of_clusters(engine, images):
    done = engine.run(images["train"], "python3", "-c", UNPACK)  # without a network
    revision, size = done.stdout.split()
    assert revision == "0.1.2", done.stderr
    assert int(size) > 2 * 134_515_008  # 16 bits a weight


def test_torch_is_one_layer_that_train_and_serve_share(engine, images):
    data, train, serve = (layers(engine, images[target]) for target in TARGETS)
    assert [layer for layer in train if layer in serve and layer not in data]


def test_versions_are_those_of_constraints_txt_exactly(inside):
    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"}
    for found in inside.values():
        ours = {normal(line) for line in found["python"]}
        assert {line for line in ours - pinned if not line.startswith("mynah==")} == set()


def normal(requirement):
    name, _, version = requirement.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version.partition(';')[0].partition('+')[0]}"  # less a marker, and a local version


def test_the_bill_of_materials_lists_what_is_installed(inside):
    for target, found in inside.items():
        bill = found["bill"]
        assert (bill["bomFormat"], bill["specVersion"], bill["metadata"]["component"]["name"]) == (
            "CycloneDX",
            "1.6",
            f"mynah-{target}",
        )
        listed = {part["purl"] for part in bill["components"]}
        assert len(listed) == len(bill["components"])
        python = sorted(
            f"{part['name']}=={part['version']}" for part in bill["components"] if part["purl"].startswith("pkg:pypi/")
        )
        assert python == found["python"]
        debian = [
            urllib.parse.unquote(purl).removeprefix("pkg:deb/debian/").partition("?")[0] for purl in listed if ":deb/" in purl
        ]
        assert sorted(purl.replace("@", "=", 1) for purl in debian) == found["debian"]


def test_labels_say_what_an_image_was_made_of(engine, images):
    from importlib.metadata import version

    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    for target, image in images.items():
        labels = json.loads(engine.get("podman", "image", "inspect", image))[0]["Labels"]
        said = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
        assert said["title"] == f"mynah-{target}"
        assert said["version"] == version("mynah")
        assert said["revision"].removesuffix("-dirty") == revision
        assert said["licenses"] == "Apache-2.0"
        assert said["created"] == "2023-11-14T22:13:20Z"  # SOURCE_DATE_EPOCH


def test_bytecode_outlives_the_change_of_its_sources_times(inside):
    assert all(found["bytecode"] for found in inside.values())


def test_two_builds_give_the_same_layers(engine, images, again):
    assert layers(engine, again()) == layers(engine, images["data"])


READY = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=4)"
ASK = """
import json, urllib.request
body = json.dumps({"model": "wren", "prompt": "My dream is", "max_tokens": 20}).encode()
request = urllib.request.Request("http://127.0.0.1:8080/openai/v1/completions", body, {"Content-Type": "application/json"})
live = urllib.request.urlopen("http://127.0.0.1:8080/v2/health/live").status
print(json.dumps([live, json.load(urllib.request.urlopen(request))["choices"][0]["text"]]))
"""


def test_the_server_is_healthy_answers_and_stops_in_order(engine, images):
    hard = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=none"]
    bot = ["--model-dir", "/opt/code/mynah/models/fledgling", "--name", "wren"]
    name = engine.get("podman", "run", "--detach", *hard, images["serve"], "mynah", "serve", "--host=0.0.0.0", *bot)
    deadline = time.monotonic() + 120
    while engine.call("podman", "exec", name, "python3", "-c", READY).returncode:
        assert time.monotonic() < deadline, engine.call("podman", "logs", name)
        time.sleep(0.2)
    live, text = json.loads(engine.get("podman", "exec", name, "python3", "-c", ASK))
    assert live == 200
    assert text.strip()
    engine.get("podman", "stop", "--time=30", name)
    assert engine.get("podman", "inspect", "--format={{.State.ExitCode}}", name) == "0"
    engine.get("podman", "rm", name)


def test_a_whole_pipeline_runs_with_a_container_per_step_and_goes_on_where_one_ended(on_server, docker, images, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "run",
        *QUICK,
        "--set",
        "epochs=30",
        "--set",
        "patience=0",
        "--workdir",
        tmp_path,
    ]
    environment = os.environ | {"MYNAH_CHECKPOINT_SECONDS": "1", "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("checkpoints/wren/*/step-*/state.json")) and running.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    told = running.communicate(timeout=120)[1]
    assert running.returncode == 130, told
    saved = re.findall(r"saved at step (\d+) of", told)
    assert saved, told
    assert docker.get("podman", "ps", "--all", "--quiet") == ""

    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr + log(tmp_path)
    assert f"resuming at step {saved[0]} of" in done.stderr
    outcome = json.loads(done.stdout)
    folder = Path(outcome["folder"])
    assert {"raw", "data", "model", "report", "card", "pipeline.log"} <= {path.name for path in folder.iterdir()}
    assert (folder / "model" / "model.safetensors").stat().st_uid == IMAGE_USER
    assert outcome["promoted"]
    assert [tags_of(step)["mynah.image_digest"] for step in steps(outcome["mlflow_run"], ("fetch", "finetune"))] == [
        docker.get("podman", "image", "inspect", "--format", "{{.Digest}}", images[target]).strip()
        for target in ("data", "train")
    ]
    assert docker.get("podman", "ps", "--all", "--quiet") == ""


def log(workdir):
    return "".join(path.read_text()[-3000:] for path in workdir.glob("runs/*/pipeline.log"))


def steps(run_id, names):
    from mynah.mlflow_client.store import Store
    from mynah.tracking.runs import steps_of

    found = steps_of(Store.from_environment(), run_id)
    return [found[name] for name in names]


def tags_of(run):
    return run.data.tags


def test_what_a_step_says_of_its_failure_is_heard(mynah, on_server, docker, tmp_path):
    (tmp_path / "posts.csv").write_text("id,words\n1,hello\n")
    done = mynah(
        "run",
        *QUICK[:2],
        "--from",
        tmp_path / "posts.csv",
        "--basis",
        "permission",
        "--runner",
        "docker",
        "--workdir",
        tmp_path / "work",
    )
    assert done.returncode == 2
    assert "posts.csv" in done.stderr
    assert "text" in done.stderr


# Quicker than Kubeflow's own runner can ask, which takes it for a success (kubeflow/pipelines#13332).
def test_a_container_that_fails_at_once_and_in_silence_fails_the_run(mynah, on_server, docker, images, monkeypatch, tmp_path):
    monkeypatch.setenv("MYNAH_DATA_IMAGE", docker.derive(images["data"], "mynah-silent", python3="exit 3"))
    done = mynah("run", *QUICK, "--workdir", tmp_path)
    assert done.returncode == 1
    assert "the pipeline stopped in the step" in done.stderr
    assert "pipeline.log" in done.stderr


def test_a_container_that_is_killed_is_told_with_its_exit_code(mynah, on_server, docker, images, monkeypatch, tmp_path):
    monkeypatch.setenv("MYNAH_DATA_IMAGE", docker.derive(images["data"], "mynah-killed", python3="kill -KILL $$"))
    done = mynah("run", *QUICK, "--workdir", tmp_path)
    assert done.returncode == 3
    assert "exit code 137" in done.stderr


def test_an_interrupted_run_leaves_no_container_and_no_folder(on_server, docker, images, monkeypatch, tmp_path):
    monkeypatch.setenv("MYNAH_DATA_IMAGE", docker.derive(images["data"], "mynah-slow", python3="sleep 600"))
    command = [sys.executable, "-m", "pipelines", "run", *QUICK, "--workdir", tmp_path]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not docker.get("podman", "ps", "--quiet", "--filter=status=running"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert docker.get("podman", "ps", "--all", "--quiet") == ""
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_start_that_is_interrupted_leaves_no_container(docker, images, monkeypatch):
    from pipelines.local.containers import engine, run_container

    with engine() as client:
        start = client.containers.run

        def interrupted(*arguments, **options):
            start(*arguments, **options)
            raise KeyboardInterrupt  # between the engine's answer and its use, where SIGINT may fall too

        containers = client.containers
        monkeypatch.setattr(type(client), "containers", containers)
        monkeypatch.setattr(containers, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_container(client, images["data"], ["sleep", "600"], {})
    assert docker.get("podman", "ps", "--all", "--quiet") == ""


@pytest.mark.parametrize("step, told", [("fetch", "s3cret-token"), ("filter_posts", "")])
def test_the_token_for_x_is_told_to_fetching_alone(docker, images, monkeypatch, capsys, step, told):
    from pipelines.local.containers import engine, run_container, runner

    monkeypatch.setenv("X_BEARER_TOKEN", "s3cret-token")
    options = runner(str(docker.folder / "tmp"), [], []).container_run_args
    with engine() as client:
        shell = ["sh", "-c", 'echo "<$X_BEARER_TOKEN>"', "--function_to_execute", step]
        assert run_container(client, images["data"], shell, {}, **options) == 0
    assert f"<{told}>" in capsys.readouterr().out


def test_what_is_missing_is_told_before_anything_is_made(mynah, on_server, docker, monkeypatch, tmp_path):
    absent = mynah("run", *QUICK, "--workdir", tmp_path, MYNAH_TRAIN_IMAGE="mynah-nowhere:1")
    assert (absent.returncode, "no image mynah-nowhere:1" in absent.stderr, "make images" in absent.stderr) == (2, True, True)
    command = [sys.executable, "-m", "pipelines", "run", *QUICK, "--workdir", tmp_path]
    environment = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    silent = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (silent.returncode, "no container engine answers" in silent.stderr) == (3, True)
    lock = mynah("run", *QUICK, "--workdir", tmp_path, MYNAH_LOCK=f"file:{tmp_path}")
    assert (lock.returncode, "MLFLOW_BACKEND_STORE_URI" in lock.stderr) == (2, True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    laptop = mynah("run", *QUICK, "--workdir", tmp_path)
    assert (laptop.returncode, "make services" in laptop.stderr) == (2, True)
    assert not (tmp_path / "runs").exists()
