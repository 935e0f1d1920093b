"""What a laptop has to hold: the requests of everything on it, added up from what is rendered and compiled, fit four cores.

The requests of others are those of their own manifests: kind's of kubeadm's static pods, CoreDNS and kindnet (kind 0.30), Kubeflow
Pipelines' of its manifests/kustomize at 2.17.0, KServe's of its chart's values at 0.20 and 0.21.
"""

import shutil
from dataclasses import replace

import pytest
import yaml

from components.deploy.manifest import resources
from mynah.kubernetes.quantities import amount
from mynah.models import catalogue
from mynah.training.recipe import build
from pipelines.compile import compiled
from pipelines.placement import Placement
from pipelines.run_spec import RunSpec
from pipelines.training_size import characters_of, training_size
from scripts.manifests.pods import requested
from scripts.manifests.render import ROOT, render
from scripts.manifests.render import build as render_folder
from tests.conftest import needs

KIND = {
    "kube-apiserver": ("250m", "0"), "kube-controller-manager": ("200m", "0"), "kube-scheduler": ("100m", "0"), "etcd": ("100m", "100Mi"),
    "coredns": ("200m", "140Mi"), "kindnet": ("100m", "50Mi"),
}  # fmt: skip
KUBEFLOW = {
    "ml-pipeline": ("ml-pipeline-api-server", "250m", "500Mi"),
    "ml-pipeline-persistenceagent": ("ml-pipeline-persistenceagent", "120m", "500Mi"),
    "ml-pipeline-ui": ("ml-pipeline-ui", "10m", "70Mi"),
    "ml-pipeline-visualizationserver": ("ml-pipeline-visualizationserver", "30m", "500Mi"),
    "mysql": ("mysql", "100m", "800Mi"), "seaweedfs": ("seaweedfs", "64m", "256Mi"),
    "workflow-controller": ("workflow-controller", "100m", "500Mi"),
}  # fmt: skip
KSERVE = ("100m", "300Mi")
DRIVER = ("100m", "64Mi")  # of Kubeflow, which may begin the next step beside one
SAMPLE = RunSpec("wren", ["sample"], recipe=build("default", {}))
ADAPTER = build("default", {"lora_rank": 16, "micro_batch_tokens": 256})


@pytest.fixture(scope="module", autouse=True)
def _kubectl():
    needs(shutil.which("kubectl") is not None, "kubectl is not installed: k8s/README.md names its version")


@pytest.fixture(scope="module")
def characters(tmp_path_factory):
    """Of the bundled sample."""
    from components.fetch.step import fetch

    raw = tmp_path_factory.mktemp("sample") / "raw"
    fetch(["sample"], raw)
    return characters_of(raw)


def added(*quantities):
    return tuple(sum(map(amount, each)) for each in zip(*quantities, strict=True))


def step_requests(run, characters):
    """The largest CPU and memory that a step of a compiled pipeline requests."""
    package = compiled(replace(Placement(gpu=False), size=training_size(run, characters)))
    executors = next(yaml.safe_load_all(package))["deploymentSpec"]["executors"].values()
    asked = [each["container"]["resources"] for each in executors]
    return tuple(max(amount(each[key]) for each in asked) for key in ("resourceCpuRequest", "resourceMemoryRequest"))


def kubeflow_objects(tmp_path, component=""):
    """Kubeflow's Deployments, as far as their requests go."""
    objects = []
    for name, (container, cpu, memory) in KUBEFLOW.items():
        containers = [{"name": container, "image": "x", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]
        spec = {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}},
        }
        objects.append(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "kubeflow"}, "spec": spec}
        )
    folder = tmp_path / "kubeflow"
    folder.mkdir()
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    wrapper = {"resources": ["objects.yaml"]}
    if component:
        shutil.copytree(ROOT / "k8s/components" / component, tmp_path / component)
        wrapper["components"] = [f"../{component}"]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wrapper))
    return list(yaml.safe_load_all(render_folder(folder)))


def on_a_laptop(tmp_path, run, characters, component=""):
    """(cores, bytes) of kind, KServe, Kubeflow Pipelines, overlays/laptop, one small bot of its own, and the largest step of a run."""
    ours = [requested(pod) for pod in render("laptop").pods if pod.is_server]
    theirs = [
        (container["resources"]["requests"]["cpu"], container["resources"]["requests"]["memory"])
        for each in kubeflow_objects(tmp_path, component) if each["spec"].get("replicas", 1)
        for container in each["spec"]["template"]["spec"]["containers"]
    ]  # fmt: skip
    bot = resources(15_000_000)["requests"]
    fixed = added(*KIND.values(), KSERVE, *theirs, *ours, (bot["cpu"], bot["memory"]), DRIVER)
    return added(fixed, step_requests(run, characters))


@pytest.mark.parametrize("base_model", ["fledgling", "smollm2"])
def test_four_cores_and_16_gb_hold_the_readmes_run(tmp_path, characters, base_model):
    cores, memory = on_a_laptop(tmp_path, replace(SAMPLE, base_model=base_model), characters)
    assert cores <= 4
    assert memory <= 16_000_000_000


def test_four_cores_and_8_gb_hold_the_profile(tmp_path, characters):
    cores, memory = on_a_laptop(tmp_path, replace(SAMPLE, base_model="fledgling"), characters, "kubeflow-laptop")
    assert cores <= 4
    assert memory <= 8_000_000_000


@pytest.mark.parametrize("recipe", [SAMPLE.recipe, ADAPTER], ids=["all weights", "an adapter"])
def test_smollm2_does_not_fit_8_gb(tmp_path, characters, recipe):
    """What the test before could not fail with: all is counted. An adapter is evaluated with its base model."""
    assert on_a_laptop(tmp_path, replace(SAMPLE, recipe=recipe), characters, "kubeflow-laptop")[1] > 8_000_000_000


def test_the_profile_of_kubeflow_leaves_its_limits_and_other_parts_alone(tmp_path):
    before, after = ({each["metadata"]["name"]: each for each in kubeflow_objects(path, name)} for path, name in paths(tmp_path))
    assert after["seaweedfs"] == before["seaweedfs"] and after["ml-pipeline-ui"] == before["ml-pipeline-ui"]
    assert after["ml-pipeline-visualizationserver"]["spec"]["replicas"] == 0
    assert {name for name in before if before[name] != after[name]} == {*before} - {"seaweedfs", "ml-pipeline-ui"}


def paths(tmp_path):
    for name in ("", "kubeflow-laptop"):
        (folder := tmp_path / (name or "plain")).mkdir()
        yield folder, name


def test_more_requests_more_for_larger_models_and_batches():
    sizes = {entry.name: training_size(replace(SAMPLE, base_model=entry.name), None) for entry in catalogue.catalogue()}
    by_parameters = sorted(sizes.values(), key=lambda each: each.parameters)
    for step in ("finetune", "evaluate"):
        asked = [amount(each.requests(step)[1]) for each in by_parameters]
        assert asked == sorted(asked)
    few, many = (training_size(SAMPLE, count) for count in (1000, 1_000_000))
    assert few.training_bytes < many.training_bytes == training_size(SAMPLE, None).training_bytes
    assert training_size(replace(SAMPLE, recipe=ADAPTER), None).training_bytes < few.training_bytes
    assert training_size(replace(SAMPLE, base_model="somebody/model"), None) is None


@pytest.mark.parametrize(
    ("base_model", "changes", "measured"),  # GB at the peak: docs/benchmarks.md, Requests of steps
    [
        ("fledgling", {"batch_tokens": 1024}, 0.88), ("smollm2", {"batch_tokens": 256}, 3.37), ("smollm2", {"batch_tokens": 1024}, 4.1),
        ("smollm2", {"lora_rank": 16, "batch_tokens": 256}, 1.74), ("gpt2", {"batch_tokens": 1024}, 3.80), ("gpt2", {"batch_tokens": 2048}, 4.54),
    ],
)  # fmt: skip
def test_requests_hold_what_was_measured_with_air(base_model, changes, measured):
    size = training_size(replace(SAMPLE, base_model=base_model, recipe=build("default", changes)), None)
    assert 1.2 * measured * 1e9 <= amount(size.requests("finetune")[1]) <= 2 * measured * 1e9
