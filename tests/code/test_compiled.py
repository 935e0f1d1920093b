"""The compiled pipelines: the golden documents, and what each of them must hold whatever else changes."""

import json
from pathlib import Path

import pytest
import yaml

from mynah.core.errors import InputError
from pipelines.compile import compiled
from pipelines.placement import Placement, pinned_image
from tests.code.cli_commands import mynah, refused

pytestmark = pytest.mark.timeout(1800)  # a process that imports kfp takes 2 s of an idle machine, and minutes of a busy one

FOLDER = Path(__file__).parent
STEPS = {"fetch", "filter-posts", "finetune", "evaluate", "register", "finish-run"}
DIGEST = "@sha256:" + "0" * 64


def documents(text):
    pipeline, platform = yaml.safe_load_all(text)
    pipeline.pop("sdkVersion")
    return pipeline, platform


@pytest.fixture(scope="module", params=["bot", "fleet", "sweep"])
def golden(request):
    return documents((FOLDER / f"golden_{request.param}.yaml").read_text())


def steps_of(golden):
    return STEPS | ({"trial", "choose"} if golden[0]["pipelineInfo"]["name"] == "mynah-sweep" else set())


def gpu_steps(golden):
    return {"finetune", "trial"} & steps_of(golden)


def tasks(pipeline):
    """Every task of the pipeline by its name, however deep it lies."""
    dags = [pipeline["root"], *pipeline["components"].values()]
    return {name: task for each in dags for name, task in each.get("dag", {}).get("tasks", {}).items()}


def containers(pipeline):
    return {name.removeprefix("exec-"): each["container"] for name, each in pipeline["deploymentSpec"]["executors"].items()}


def placed(platform):
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): each for name, each in executors.items()}


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["bot", "fleet", "sweep"])
def test_the_compiled_pipeline_is_the_golden_one(tmp_path, monkeypatch, pipeline):
    """After a wanted change: mynah compile --pipeline bot --out tests/code/golden_bot.yaml, and the same for fleet and sweep."""
    for name in ("MYNAH_DATA_IMAGE", "MYNAH_TRAIN_IMAGE"):
        monkeypatch.setenv(name, "")
    done = mynah("compile", "--pipeline", pipeline, "--out", tmp_path / "pipeline.yaml")
    assert (done.returncode, done.stderr.removeprefix("Compiling …\n")) == (0, "")  # said where it takes over a second
    written = (tmp_path / "pipeline.yaml").read_text()
    assert written == compiled(Placement(), pipeline)  # to the letter, in another process with hashes of its own
    assert documents(written) == documents((FOLDER / f"golden_{pipeline}.yaml").read_text())


def test_what_must_not_be_cached_is_not(golden):
    found = {name: task for name, task in tasks(golden[0]).items() if name in STEPS | {"trial", "choose"}}
    assert set(found) == steps_of(golden)
    assert {name for name, task in found.items() if task["cachingOptions"].get("enableCache")} == {"finetune", "evaluate"}


def test_every_step_has_its_limits_its_settings_and_its_retries(golden):
    found, nodes = containers(golden[0]), placed(golden[1])
    assert set(found) == set(nodes) == steps_of(golden)
    for step, container in found.items():
        resources = container["resources"]
        assert {"resourceCpuRequest", "resourceCpuLimit", "resourceMemoryRequest", "resourceMemoryLimit"} <= set(resources), step
        retry = tasks(golden[0])[step]["retryPolicy"]
        assert retry["maxRetryCount"] >= 2
        # Argo counts this from the first attempt's start: a shorter one would end a late attempt, or never begin it.
        assert retry["backoffMaxDuration"] == f"{24 * 3600}s"
        assert 0 < int(nodes[step]["activeDeadlineSeconds"]) <= 24 * 3600
        assert nodes[step]["securityContext"] == {"runAsNonRoot": True}
        [settings] = nodes[step]["configMapAsEnv"]
        assert settings["configMapName"] == "mynah-settings"
        assert settings["optional"]  # the driver (driver/k8s.go of 2.17) says so of each key: one that is missing stops no pod
        assert {each["envVar"] for each in settings["keyToEnv"]} >= {"MLFLOW_TRACKING_URI", "MYNAH_CHECKPOINT_SECONDS"}
        secrets = {each["secretName"]: each["optional"] for each in nodes[step]["secretAsEnv"]}
        assert secrets == {"mynah-s3": True, "mynah-mlflow": True} | ({"mynah-x": True} if step == "fetch" else {})


def test_fine_tuning_alone_is_for_the_gpus(golden):
    found, nodes = containers(golden[0]), placed(golden[1])
    assert {step for step, each in found.items() if "accelerator" in each["resources"]} == gpu_steps(golden)
    assert {step for step, each in nodes.items() if "nodeSelector" in each or "tolerations" in each} == gpu_steps(golden)
    for step in gpu_steps(golden):
        assert found[step]["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
        assert nodes[step]["nodeSelector"] == {"labels": {"mynah.dev/pool": "gpu"}}
        assert "nvidia.com/gpu" in [each["key"] for each in nodes[step]["tolerations"]]
        assert nodes[step]["emptyDirMounts"] == [
            {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "2Gi"}
        ]
    kinds = {step: {each["name"]: each["value"] for each in container["env"]} for step, container in found.items()}
    assert {step for step, env in kinds.items() if env["MYNAH_NODE_KIND"] == "gpu"} == gpu_steps(golden)


def test_the_run_ends_and_its_exit_handler_always_runs(golden):
    config = golden[1]["platforms"]["kubernetes"]["pipelineConfig"]
    kept = dict.fromkeys(("resourceTtlOnCompletion", "resourceTtlOnFailure", "resourceTtlOnSuccess"), 30 * 60)
    assert config == {"activeDeadlineSeconds": 24 * 3600, **kept}
    assert golden[0]["root"]["dag"]["tasks"]["finish-run"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def test_nothing_but_references_and_numbers_goes_through_kubeflow(golden):
    """No artifact, which Kubeflow would keep in its own store, and no parameter that holds what a person named."""
    assert '"artifacts":' not in json.dumps(golden[0])
    taken = {
        name
        for each in golden[0]["components"].values()
        if "executorLabel" in each
        for name in each["inputDefinitions"]["parameters"]
    }
    assert taken <= {
        "spec", "specs", "kfp_run", "parent_run", "raw", "data", "model", "report", "search", "number", "states",
    }  # fmt: skip
    given = {name: each["parameterType"] for name, each in golden[0]["root"]["inputDefinitions"]["parameters"].items()}
    assert given == {
        "mynah-bot": {"spec": "STRING"}, "mynah-fleet": {"specs": "LIST"}, "mynah-sweep": {"spec": "STRING", "trials": "LIST"},
    }[golden[0]["pipelineInfo"]["name"]]  # fmt: skip


def conditions(pipeline):
    return [task for task in tasks(pipeline).values() if task.get("triggerPolicy", {}).get("condition")]


def pods(pipeline):
    """How many pods a run of one bot takes: a driver for each DAG, and a driver and the work for each step."""
    dags = sum("dag" in each for each in pipeline["components"].values())
    return 1 + dags + 2 * len(containers(pipeline))


def test_a_run_that_has_nothing_to_decide_has_no_condition(golden):
    assert conditions(golden[0]) == []
    if golden[0]["pipelineInfo"]["name"] == "mynah-bot":
        assert pods(golden[0]) == 14


@pytest.mark.slow
@pytest.mark.parametrize(("pipeline", "count"), [("bot", 15), ("fleet", 16)])
def test_without_news_a_schedule_trains_nothing(tmp_path, pipeline, count):
    assert mynah("compile", "--pipeline", pipeline, "--only-news", "--out", tmp_path / "p.yaml").returncode == 0
    compiled_one, _ = documents((tmp_path / "p.yaml").read_text())
    [condition] = conditions(compiled_one)
    said = "inputs.parameter_values['pipelinechannel--filter-posts-Output'] != 'nothing new'"
    assert condition["triggerPolicy"]["condition"] == said
    inside = compiled_one["components"][condition["componentRef"]["name"]]["dag"]["tasks"]
    assert set(inside) == {"finetune", "evaluate", "register"}
    assert pods(compiled_one) == count


def test_a_fleets_bots_are_told_by_their_own_specifications():
    pipeline, _ = documents((FOLDER / "golden_fleet.yaml").read_text())
    loop = next(each for each in tasks(pipeline).values() if "parameterIterator" in each)
    assert loop["iteratorPolicy"] == {"parallelismLimit": 4}
    spec = loop["parameterIterator"]["itemInput"]
    for step in ("fetch", "filter-posts", "finetune", "evaluate", "register"):
        assert tasks(pipeline)[step]["inputs"]["parameters"]["spec"] == {"componentInputParameter": spec}


def test_a_sweeps_trials_are_over_before_the_choice_and_the_training():
    pipeline, _ = documents((FOLDER / "golden_sweep.yaml").read_text())
    found = tasks(pipeline)
    loop = next(name for name, each in found.items() if "parameterIterator" in each)
    numbers = found[loop]["parameterIterator"]["items"]["inputParameter"]
    assert found[loop]["inputs"]["parameters"][numbers] == {"componentInputParameter": "pipelinechannel--trials"}
    assert found["trial"]["inputs"]["parameters"]["number"] == {
        "componentInputParameter": found[loop]["parameterIterator"]["itemInput"]
    }
    assert found[loop]["iteratorPolicy"] == {"parallelismLimit": 4}
    assert loop in found["choose"]["dependentTasks"]
    states = found["choose"]["inputs"]["parameters"]["states"]["taskOutputParameter"]
    assert states["producerTask"] == loop
    search = found["finetune"]["inputs"]["parameters"]["search"]["taskOutputParameter"]
    assert search == {"outputParameterKey": "Output", "producerTask": "choose"}
    assert found["trial"]["inputs"]["parameters"]["parent_run"] == {"componentInputParameter": "pipelinechannel--fetch-run"}


@pytest.mark.slow
def test_choices_of_the_command_line_are_compiled(tmp_path):
    images = {"data": f"registry:5000/mynah-data{DIGEST}", "train": f"registry:5000/mynah-train{DIGEST}", "serve": "x"}
    (tmp_path / "images.json").write_text(json.dumps(images))
    choices = ["--images", tmp_path / "images.json", "--no-gpu", "--deadline", "2", "--at-once", "9", "--pipeline", "fleet"]
    assert mynah("compile", "--out", tmp_path / "p.yaml", *choices).returncode == 0
    pipeline, platform = documents((tmp_path / "p.yaml").read_text())
    found = containers(pipeline)
    assert {found[step]["image"] for step in ("fetch", "filter-posts", "finish-run")} == {images["data"]}
    assert {found[step]["image"] for step in ("finetune", "evaluate", "register")} == {images["train"]}
    assert {"name": "MYNAH_IMAGE", "value": images["train"]} in found["finetune"]["env"]
    assert "accelerator" not in found["finetune"]["resources"]
    assert "tolerations" not in placed(platform)["finetune"]
    assert platform["platforms"]["kubernetes"]["pipelineConfig"]["activeDeadlineSeconds"] == 7200
    assert next(each for each in tasks(pipeline).values() if "iteratorPolicy" in each)["iteratorPolicy"] == {
        "parallelismLimit": 9
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pipeline", "swarm"], ["'swarm'", "bot, fleet, sweep"]),
        (["--images", "none.json"], ["none.json", "make images"]),
        (["--gpu-pool", "gpu"], ["'gpu'", "KEY=VALUE"]),
        (["--gpu-kind", "tpu"], ["'tpu'", "gpu-spot"]),
        (["--deadline", "0"], ["0 hours"]),
        (["--pipeline", "sweep", "--only-news"], ["always trains", "--only-news"]),
        (["--keep-minutes", "1"], ["1 minutes", "--keep-minutes 2"]),
        (["--keep-minutes", "nan"], ["nan minutes"]),
    ],
)
def test_bad_choices_are_refused(mynah, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    refused(mynah("compile", *arguments), 2, *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "image", ["mynah-data", "mynah-data:latest", "registry:5000/mynah-data", "Not An Image", "a@sha256:12", ""]
)
def test_an_image_that_says_no_version_is_refused(image):
    with pytest.raises(InputError):
        Placement(images={"data": image, "train": "mynah-train:1"})


@pytest.mark.parametrize("image", ["mynah-data:0.1.0", f"host.example:5000/a/b{DIGEST}", f"ghcr.io/x/mynah-data:1{DIGEST}"])
def test_an_image_of_a_version_is_taken(image):
    assert pinned_image("data", image) == image


@pytest.mark.slow
def test_a_pool_of_ones_own():
    placement = Placement(gpu_pool="cloud.google.com/gke-accelerator=nvidia-l4", gpus=4, gpu_kind="gpu-spot")
    pipeline, platform = documents(compiled(placement))
    assert containers(pipeline)["finetune"]["resources"]["accelerator"]["resourceCount"] == "4"
    assert placed(platform)["finetune"]["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert {"name": "MYNAH_NODE_KIND", "value": "gpu-spot"} in containers(pipeline)["finetune"]["env"]
