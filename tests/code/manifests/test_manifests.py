"""k8s/: all that is rendered holds together, and agrees with the server's options, the READMEs and the settings."""

import base64
import copy
import dataclasses
import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from components.deploy.disruption import disruption_budget
from components.deploy.manifest import APPLIED, STANDARD, Serving, inference_service, resources
from components.deploy.serving_runtime import RUNTIME
from mynah.kubernetes.quantities import amount
from mynah.training.state_store import seconds_between_states
from scripts.manifests.checks import CHECKS, faults_of
from scripts.manifests.objects import deployed_service, where
from scripts.manifests.render import OF_KUBEFLOW, ROOT, choices, documented_secrets
from serving.auth.key_file import read_keys
from tests.code.manifests.overlays import EVERYTHING, container_of
from tests.conftest import needs


@pytest.mark.slow
def test_every_overlay_with_every_choice_of_components_holds():
    done = subprocess.run([sys.executable, "-m", "scripts.manifests"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(choices())} renderings" in done.stdout
    assert f"{len(CHECKS)} checks: 0 faults" in done.stdout
    assert {*EVERYTHING, *OF_KUBEFLOW} == {path.name for path in (ROOT / "k8s/components").iterdir()}


def test_runs_change_nothing_in_mynah_but_with_serve_in(plain, rendered):
    """Only the component gives them InferenceServices, and the way to the bots; never the API's proxy."""
    assert plain["gpu"].find("Role", "mynah-serve-in", "mynah") is None
    bound = {
        each["metadata"]["name"]
        for each in rendered["gpu"].of("RoleBinding", "ClusterRoleBinding")
        if "mynah-pipeline" in [subject["name"] for subject in each["subjects"]]
    }
    assert bound == {"mynah-pipeline", "mynah-locks", "mynah-serve-in", "mynah-train-jobs"}
    with_more = copy.deepcopy(plain["gpu"].objects)
    deploy = next(each for each in with_more if where(each) == "RoleBinding/mynah/mynah-deploy")
    deploy["subjects"].append({"kind": "ServiceAccount", "name": "mynah-pipeline", "namespace": "kubeflow"})
    problems = [fault.problem for fault in faults_of(dataclasses.replace(plain["gpu"], objects=with_more))]
    assert problems == [
        "by services/proxy a step reaches pods past the NetworkPolicies", "every run may change InferenceServices"
    ]  # fmt: skip


def test_what_deploy_writes_holds_like_the_rest(rendered):
    """`mynah deploy`'s InferenceService and budget against our runtime, accounts and policies."""
    service, objects = deployed_service(), rendered["laptop"].objects
    with_it = dataclasses.replace(rendered["laptop"], objects=(*objects, service, disruption_budget("heron", "mynah")))
    assert [str(fault) for fault in faults_of(with_it)] == []
    assert [fault.check for fault in faults_of(dataclasses.replace(with_it, objects=(*objects, service)))] == [
        "budgets_protect_pods"
    ]
    pod = next(pod for pod in with_it.pods if pod.owner is service)
    assert pod.spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"]  # from the runtime
    assert "--name=heron" in pod.spec["containers"][0]["args"]
    assert {each["name"] for each in pod.spec["containers"][0]["env"]} >= {"HOME", "MYNAH_MODEL_NAME"}


def test_the_runtime_is_named_by_the_version_of_the_code(rendered):
    """An upgrade then brings another one beside it, and restarts no bot."""
    assert [runtime["metadata"]["name"] for runtime in rendered["laptop"].of("ServingRuntime")] == [RUNTIME]


def test_the_example_bot_is_what_deploy_applies(rendered):
    """k8s/bot, but for what `mynah deploy` tells its own objects by."""
    example = rendered["laptop"].find("InferenceService", "wren", "mynah")
    about, model = example["metadata"]["annotations"]["mynah.dev/model-id"], example["spec"]["predictor"]["model"]
    written = inference_service(Serving("wren", 1, model["storageUri"], 15_000_000, about), "mynah", STANDARD)
    budget = disruption_budget("wren", "mynah")
    for each in (written, budget):
        del each["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    del written["spec"]["predictor"]["annotations"][APPLIED]
    assert example == written
    assert rendered["laptop"].find("PodDisruptionBudget", "wren", "mynah") == budget


def test_two_of_the_cloud_answer_and_the_quota_holds_fifty_bots(plain):
    predictor = plain["gpu"].find("InferenceService", "aviary", "mynah")["spec"]["predictor"]
    assert predictor["minReplicas"] == 2
    [quota] = [each["spec"]["hard"] for each in plain["gpu"].of("ResourceQuota") if each["metadata"]["namespace"] == "mynah"]
    aviary = predictor["containers"][0]["resources"]
    for kind in ("requests", "limits"):
        for what, each in resources(15_000_000)[kind].items():
            if most := quota.get(f"{kind}.{what}"):
                assert amount(most) - amount(aviary[kind][what]) * predictor["maxReplicas"] >= 50 * amount(each), (kind, what)
    assert int(quota["pods"]) >= 50 + predictor["maxReplicas"]


@pytest.mark.slow
def test_the_schemas_next_door_agree(rendered, shared):
    text = "---\n".join(yaml.safe_dump(each) for manifests in rendered.values() for each in manifests.objects)
    tool = shared / "tools/check-manifests"
    done = subprocess.run([sys.executable, tool, "-"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " 0 faults" in done.stdout


def test_the_laptop_needs_nothing_that_it_does_not_bring(plain):
    laptop = dataclasses.replace(plain["laptop"], documented={})
    missing = [fault for fault in faults_of(laptop) if fault.where != "pipeline runs"]  # whose secrets are optional
    assert missing == []
    kinds = {(each["kind"], each["metadata"]["name"]) for each in laptop.objects}
    assert {("StatefulSet", "postgres"), ("StatefulSet", "s3"), ("Deployment", "mlflow"), ("InferenceService", "aviary")} <= kinds


def test_the_cloud_has_no_key_in_it(plain):
    gpu = plain["gpu"]
    assert gpu.of("Secret", "StatefulSet") == []
    accounts = {each["metadata"]["name"]: each for each in gpu.of("ServiceAccount")}
    for name in ("mynah-serve", "mynah-mlflow", "mynah-pipeline"):
        assert "eks.amazonaws.com/role-arn" in accounts[name]["metadata"]["annotations"]
        assert not accounts[name].get("secrets")
    assert all("AWS_ENDPOINT_URL_S3" not in each["data"] for each in gpu.of("ConfigMap") if "data" in each)
    assert {"name": "PGSSLMODE", "value": "require"} in container_of(gpu, "mlflow")["env"]


def test_only_the_laptop_states_passwords():
    for path in (ROOT / "k8s").rglob("*"):
        if path.is_file() and path.suffix == ".yaml" and "laptop" not in path.parts:
            assert "secretGenerator" not in path.read_text("utf-8"), path
            assert "kind: Secret\n" not in path.read_text("utf-8"), path


def test_what_the_readme_patches_is_kserves_own_container(shared, tmp_path, plain):
    """k8s/kserve fits the schema of what it is merged into, and the README merges it."""
    assert (
        "kubectl patch clusterstoragecontainer default --type merge --patch-file k8s/kserve/storage-attempts.yaml"
        in plain["laptop"].readme
    )
    patch = yaml.safe_load((ROOT / "k8s/kserve/storage-attempts.yaml").read_text())
    container = {"name": "storage-initializer", "image": "kserve/storage-initializer:v0.21.0", **patch["spec"]["container"]}
    spec = {"container": container, "supportedUriFormats": [{"prefix": "s3://"}], "workloadType": "initContainer"}
    about = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ClusterStorageContainer", "metadata": {"name": "default"}}
    (tmp_path / "container.yaml").write_text(yaml.safe_dump({**about, "spec": spec}))
    done = subprocess.run(
        [sys.executable, shared / "tools/check-manifests", tmp_path / "container.yaml"], capture_output=True, text=True
    )
    assert done.returncode == 0 and " 0 faults" in done.stdout, done.stdout


def test_settings_are_the_same_where_servers_and_runs_read_them(plain):
    for manifests in plain.values():
        found = {
            each["metadata"]["namespace"]: each["data"] for each in manifests.of("ConfigMap") if "mynah-settings" in where(each)
        }
        assert found.keys() == {"mynah", "kubeflow"}
        assert found["mynah"] == found["kubeflow"]


def test_a_laptops_short_trainings_keep_states(plain, monkeypatch):
    found = {name: each.find("ConfigMap", "mynah-settings", "kubeflow")["data"] for name, each in plain.items()}
    assert {name for name, data in found.items() if "MYNAH_CHECKPOINT_SECONDS" in data} == {"laptop"}
    monkeypatch.setenv("MYNAH_CHECKPOINT_SECONDS", found["laptop"]["MYNAH_CHECKPOINT_SECONDS"])
    assert 0 < seconds_between_states() <= 10


def test_mlflow_is_one_process_that_hands_no_artifacts_through(plain):
    server = container_of(plain["laptop"], "mlflow")
    assert {"--workers=1", "--no-serve-artifacts", "--default-artifact-root=s3://$(MYNAH_S3_BUCKET)/mlflow"} <= {*server["args"]}
    assert {"name": "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "value": "false"} in server["env"]
    assert "basic-auth" not in str(server)


def test_with_auth_mlflow_asks_and_the_aviary_answers(rendered):
    assert "--app-name=basic-auth" in container_of(rendered["laptop"], "mlflow")["args"]
    aviary = container_of(rendered["laptop"], "aviary")
    keys = [each["valueFrom"]["secretKeyRef"]["key"] for each in aviary["env"] if "valueFrom" in each]
    assert keys == ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]  # and not what it signs sessions with
    assert "mynah-mlflow" not in str(aviary["envFrom"])


def test_keda_scales_the_aviary_to_none_and_kserve_does_not(rendered):
    service = rendered["gpu"].find("InferenceService", "aviary", "mynah")
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
    assert rendered["gpu"].find("ScaledObject", "aviary", "mynah")["spec"]["minReplicaCount"] == 0
    assert "scaleMetric" not in service["spec"]["predictor"]


@pytest.mark.parametrize("owner", ["aviary", "wren"])
def test_the_server_takes_the_options_that_the_manifests_give(rendered, owner):
    container = container_of(rendered["gpu"], owner)
    command = [sys.executable, "-m", "pipelines", *container["command"][1:], *container["args"], "--help"]  # before it runs
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_laptops_key_in_the_readme_opens_its_server(plain):
    told = re.search(r"Bearer (mynah_\S+)'", plain["laptop"].readme)[1]
    key = read_keys(ROOT / "k8s/overlays/laptop/keys.json").find(told)
    assert key is not None
    assert key.bots == ("*",)
    made = plain["laptop"].find("Secret", "mynah-keys", "mynah")["data"]["keys.json"]
    assert base64.b64decode(made) == (ROOT / "k8s/overlays/laptop/keys.json").read_bytes()


def test_the_readmes_run_from_this_machine_reaches_the_laptops_services(plain):
    """Its ports, key, bucket and names are those of overlays/laptop, and its commands are ours."""
    laptop = plain["laptop"]
    block = laptop.readme.partition("### A run, from this machine")[2].partition("`mynah submit` starts")[0]
    exported = dict(re.findall(r"([A-Z][A-Z0-9_]+)=(\S+)", block))
    forwarded = {
        (namespace, service, local): port
        for namespace, service, local, port in re.findall(r"port-forward --namespace (\S+) service/(\S+) (\d+):(\d+)", block)
    }
    for (namespace, service, local), port in forwarded.items():
        assert f"http://127.0.0.1:{local}" in exported.values()
        if namespace == "mynah":
            assert int(port) in [each["port"] for each in laptop.find("Service", service, namespace)["spec"]["ports"]]
    assert ("kubeflow", "ml-pipeline", "8888") in forwarded
    secret = laptop.find("Secret", "mynah-s3", "mynah")["data"]
    assert {key: base64.b64decode(value).decode() for key, value in secret.items()}.items() <= exported.items()
    settings = laptop.find("ConfigMap", "mynah-settings", "mynah")["data"]
    assert {key: settings[key] for key in ("MYNAH_S3_BUCKET", "AWS_DEFAULT_REGION")}.items() <= exported.items()
    assert {"KF_PIPELINES_ENDPOINT", "AWS_ENDPOINT_URL_S3", "MLFLOW_TRACKING_URI", "MYNAH_LOCK"} <= exported.keys()
    assert read_keys(ROOT / "k8s/overlays/laptop/keys.json").find(exported["MYNAH_API_KEY"])
    for words in re.findall(r"^    mynah (.+)$", block, re.MULTILINE):
        done = subprocess.run([sys.executable, "-m", "pipelines", *words.split(), "--help"], cwd=ROOT, capture_output=True)
        assert done.returncode == 0, words
    assert "--no-gpu" in block


ALERTS = """
rule_files: [rules.yaml]
evaluation_interval: 15s
tests:
  - name: no pods, and none is asked for
    interval: 15s
    input_series:
      - {series: 'kube_deployment_spec_replicas{namespace="mynah",deployment="aviary-predictor"}', values: 0x40}
    alert_rule_test: [{eval_time: 8m, alertname: MynahNoServer}]
    promql_expr_test: [{expr: wakes > 0, eval_time: 8m}]
  - name: no pods, although one is asked for
    interval: 15s
    input_series:
      - {series: 'kube_deployment_spec_replicas{namespace="mynah",deployment="aviary-predictor"}', values: 1x40}
    alert_rule_test: [{eval_time: 8m, alertname: MynahNoServer, exp_alerts: [&alert ALERT]}]
  - name: a pod that answers no question, and no kube-state-metrics
    interval: 15s
    input_series: [{series: 'up{namespace="mynah",pod="aviary-predictor-1"}', values: 0x40}]
    alert_rule_test: [{eval_time: 8m, alertname: MynahNoServer, exp_alerts: [*alert]}]
  - name: a pod that answers
    interval: 15s
    input_series: [{series: 'up{namespace="mynah",pod="aviary-predictor-1"}', values: 1x40}]
    alert_rule_test: [{eval_time: 8m, alertname: MynahNoServer}]
  - name: the very first request, and what an hour ago woke it
    interval: 15s
    input_series:
      - {series: 'istio_requests_total{SERVICE,pod="new"}', values: _x19 1x40}
      - {series: 'istio_requests_total{SERVICE,pod="old"}', values: 7x60}
      - {series: 'istio_requests_total{SERVICE,pod="restarted"}', values: 7x18 0x40}
    promql_expr_test:
      - {expr: wakes > 0, eval_time: 4m30s}
      - {expr: wakes > 0, eval_time: 5m, exp_samples: [{labels: wakes, value: 0.008333333333333333}]}
      - {expr: wakes > 0, eval_time: 10m}
"""


def test_prometheus_hears_silence_and_the_first_request(rendered, tmp_path):
    """MynahNoServer and what wakes the aviary from none, as Prometheus itself evaluates them."""
    needs(shutil.which("promtool") is not None, "promtool is not installed: it comes with Prometheus")
    (rules,) = rendered["gpu"].of("PrometheusRule")
    alert = rules["spec"]["groups"][0]["rules"][0]
    (scaler,) = rendered["gpu"].of("ScaledObject")
    query = next(each["metadata"]["query"] for each in scaler["spec"]["triggers"] if each["name"] == "asked")
    wakes = {"name": "wakes", "rules": [{"record": "wakes", "expr": query}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [*rules["spec"]["groups"], wakes]}))
    expected = {"exp_labels": alert["labels"], "exp_annotations": alert["annotations"]}
    service = 'destination_service_name="aviary-predictor",destination_service_namespace="mynah"'
    (tmp_path / "tests.yaml").write_text(ALERTS.replace("ALERT", json.dumps(expected), 1).replace("SERVICE", service))
    done = subprocess.run(["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_secrets_that_a_readme_makes():
    told = """
        kubectl create secret generic a --namespace n \\
          --from-literal=K=v --from-file=f.json
        kubectl create secret tls t --namespace n --cert=c --key=k
    """
    assert documented_secrets(told) == {("n", "a"): {"K", "f.json"}, ("n", "t"): {"tls.crt", "tls.key"}}
