"""`mynah deploy` as people call it: a registry with S3 behind it, an API server, and our real server in a pod."""

import json
import urllib.error
import urllib.request

import pytest
import yaml
from fake_kserve import FakeKServe
from fake_kubernetes import SERVICES, FakeKubernetes
from registry_inputs import add_version

from components.deploy.gitops import add_entry, changes
from components.register.release import deploy_promoted
from mynah.core.errors import InputError
from mynah.kubernetes.cluster import Cluster
from mynah.mlflow_client.store import Store
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.services.deploy.deployments import refused

QUICK = ("--poll", "0.01", "--trouble", "0.05", "--timeout", "5", "--context", "fake")


@pytest.mark.parametrize("wren", ["on_server", "on_proxied"], indirect=True)
def test_a_champion_is_deployed_from_where_it_lies_in_s3(kubernetes, kserve, wren, mynah, s3):
    name, workdir = wren
    done = mynah("deploy", name, *QUICK, "--workdir", workdir, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["action"], record["version"], record["former"]) == ("deployed", 1, None)
    uri = kserve.predictor(name)["model"]["storageUri"]
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    found = s3.client().list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert uri.endswith("/artifacts/model/") and {"config.json", "model.safetensors"} <= {
        each["Key"][len(prefix) :] for each in found
    }
    version = Registry(open_store(workdir)).bot(name).champion
    assert version.tags["mynah.deployed"].startswith(f"mynah/{name} deployed by ")
    metadata = kubernetes.objects[SERVICES, "mynah", name]["metadata"]
    assert metadata["annotations"]["mynah.dev/model-id"] == version.model_id
    again = mynah("deploy", name, *QUICK, "--workdir", workdir)
    assert (
        again.stdout
        == f"mynah/{name} already serves version 1; nothing to do\nURL  http://{name}-predictor.mynah.svc.cluster.local\n"
    )
    endpoints = Cluster.connect("fake").endpoints()
    forgotten = mynah("forget", name, "--dry-run", "--json", "--context", "fake", "--workdir", workdir, **s3.environment)
    assert forgotten.returncode == 0, forgotten.stderr
    assert [item["address"] for item in json.loads(forgotten.stdout)["items"] if item["kind"] == "endpoint"] == [f"mynah/{name}"]
    assert [endpoint.name for endpoint in endpoints] == [name]


def test_a_version_that_the_gate_refused_needs_a_reason(kserve, wren, mynah):
    name, workdir = wren
    number = add_version(workdir, 9.0, verdict="failed", name=name)
    refused(
        mynah("deploy", name, "--version", number, *QUICK, "--workdir", workdir),
        4,
        "the gate did not pass it (failed)",
        "--force",
    )
    done = mynah("deploy", name, "--version", number, "--force", "they asked", *QUICK, "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    version = Registry(open_store(workdir)).head(name, number).versions[0]
    assert version.tags["mynah.deployed_forced"] == "they asked"
    refused(mynah("deploy", name, "--version", 77, *QUICK, "--workdir", workdir), 2, f"{name} has no version 77")
    refused(mynah("deploy", f"{name}x", *QUICK, "--workdir", workdir), 2, f"Did you mean '{name}'?")


def test_gitops_writes_the_manifest_and_the_entry(wren, mynah, tmp_path, kubernetes):
    name, workdir = wren
    (tmp_path / "bots").mkdir()
    kustomization = tmp_path / "bots" / "kustomization.yaml"
    kustomization.write_text(
        "# our bots\nkind: Kustomization\nresources:\n  - ant.yaml  # the first\n  - zebra.yaml\nnamespace: mynah\n"
    )
    command = ("deploy", name, "--gitops", tmp_path / "bots", "--workdir", workdir)
    shown = mynah(*command, "--dry-run")
    assert f"+  - {name}.yaml" in shown.stdout and not (tmp_path / "bots" / f"{name}.yaml").exists()
    done = mynah(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown.stdout and f"+++ b/{name}.yaml" in done.stdout
    manifest, budget = yaml.safe_load_all((tmp_path / "bots" / f"{name}.yaml").read_text())
    assert (budget["kind"], budget["metadata"]["name"]) == ("PodDisruptionBudget", name)
    assert manifest["spec"]["predictor"]["model"]["storageUri"].endswith("/artifacts/model/")
    listed = f"# our bots\nkind: Kustomization\nresources:\n  - ant.yaml  # the first\n  - {name}.yaml\n  - zebra.yaml\nnamespace: mynah\n"
    assert kustomization.read_text() == listed
    assert sorted(path.name for path in (tmp_path / "bots").iterdir()) == ["kustomization.yaml", f"{name}.yaml"]
    assert mynah(*command).stdout == f"{tmp_path / 'bots'} deploys {name} version 1 already\n"
    assert kubernetes.requests == []  # it only writes files
    refused(mynah("deploy", name, "--gitops", tmp_path / "none", "--workdir", workdir), 2, "there is no folder")


@pytest.mark.parametrize(
    "there", ["kind: ConfigMap\nmetadata: {name: wren}\n", "kind: InferenceService\nmetadata: {name: ant}\n", "- a\n"]
)
def test_gitops_replaces_no_file_of_something_else(tmp_path, there):
    manifest = {"kind": "InferenceService", "metadata": {"name": "wren"}, "spec": {}}
    (tmp_path / "wren.yaml").write_text(there)
    with pytest.raises(InputError, match=r"wren\.yaml is something else than the InferenceService wren"):
        changes(tmp_path, manifest)
    (tmp_path / "wren.yaml").write_text("kind: InferenceService\nmetadata: {name: wren}\n")
    assert [change.path.name for change in changes(tmp_path, manifest)] == ["wren.yaml", "kustomization.yaml"]


@pytest.mark.parametrize("wren", ["on_proxied"], indirect=True)
def test_files_that_no_cluster_can_read(wren, mynah, kserve, monkeypatch):
    command = ("deploy", wren[0], *QUICK, "--workdir", wren[1])
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "/srv/artifacts")
    refused(mynah(*command), 2, "are in /srv/artifacts/", "which no cluster can read", "keeps artifacts in S3")
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION")
    refused(mynah(*command), 2, "in an unknown bucket", "Set MLFLOW_ARTIFACTS_DESTINATION")
    assert kserve.asked == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prometheus", "http://p"], "--prometheus is for a canary"),
        (["--canary", "10", "--gitops", "."], "--gitops writes files"),
        (["--address", "file:///etc"], "is not a URL"),
    ],
)
def test_options_that_do_not_go_together(mynah, tmp_path, options, said):
    refused(mynah("deploy", "wren", *options, "--workdir", tmp_path), 2, said)


def test_the_real_server_answers_the_smoke_test(kubernetes, kserve, tmp_path, server):
    """What stands in the pod is `serve` itself: its v2 answer is what the smoke test wants, through the proxy and by an address."""
    from components.deploy.settings import DeploySettings
    from components.deploy.step import Serving, WaitLimits, deploy

    def pod(version, method, path, headers, body):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(server.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return 200, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    kserve.real = pod
    cluster, quick = Cluster.connect("fake"), WaitLimits(timeout=20, poll=0.01, trouble=0.05, answer=0.1)
    served = Serving("wren", 3, "s3://b/m-3/artifacts/model/", 8 << 20)
    assert deploy(served, cluster, DeploySettings(wait_limits=quick)).answer.startswith("My dream is")
    again = Serving("wren", 3, "s3://b/m-33/artifacts/model/", 8 << 20)
    assert deploy(again, cluster, DeploySettings(wait_limits=quick, address=server.url)).answer.startswith("My dream is")
    with pytest.raises(Exception, match="version 3 answers, and not 4"):
        deploy(Serving("wren", 4, "s3://b/m-4/artifacts/model/", 8 << 20), cluster, DeploySettings(wait_limits=quick))


# kustomization.yaml


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("kind: Kustomization\n", "kind: Kustomization\nresources:\n  - m.yaml\n"),
        ("resources: []\nkind: Kustomization\n", "resources:\n  - m.yaml\nkind: Kustomization\n"),
        ("resources:\n- a.yaml\n- z.yaml\n", "resources:\n- a.yaml\n- m.yaml\n- z.yaml\n"),
        ("resources:\n- a.yaml", "resources:\n- a.yaml\n- m.yaml\n"),
        ('resources:\n  - "n.yaml"\n\npatches: []\n', 'resources:\n  - m.yaml\n  - "n.yaml"\n\npatches: []\n'),
        ("resources:\n  - m.yaml\n", "resources:\n  - m.yaml\n"),
    ],
)
def test_an_entry_keeps_the_order_and_all_else(tmp_path, before, after):
    assert add_entry(before, "m.yaml", tmp_path) == after


@pytest.mark.parametrize("text", ["resources: [a.yaml, z.yaml]\n", "[]", "resources: 7", "a: ["])
def test_a_kustomization_that_cannot_be_added_to(tmp_path, text):
    with pytest.raises(InputError):
        add_entry(text, "m.yaml", tmp_path)


# The step


def test_the_step_does_nothing_where_there_is_nothing_to_do(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    store = Store("http://none.invalid")
    assert deploy_promoted("wren", 1, "refused: too few posts", "mynah", store) == "nothing: it was not promoted"
    assert deploy_promoted("wren", 1, "promoted", "mynah", store) == "nothing: this is no cluster"


def test_the_step_deploys_what_was_promoted(wren, tmp_path, monkeypatch):
    """In a pod: by its service account, over TLS, and the bot is asked at its own address."""
    from fake_prometheus import http_server

    from mynah.kubernetes import cluster as cluster_module
    from tests.services.certificates import self_signed

    name, workdir = wren
    (tmp_path / "account").mkdir()
    fake = FakeKubernetes(self_signed(tmp_path / "account"))
    kserve = FakeKServe(fake)
    kserve.looks = 1
    (tmp_path / "account" / "token").write_text(fake.token)
    host, _, port = fake.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(cluster_module, "SERVICE_ACCOUNT", tmp_path / "account")
    asked = []

    def answer(path):
        asked.append(path)
        return 200, "application/json", json.dumps({"model_version": "1", "outputs": [{"data": ["My dream is flat"]}]})

    with http_server(answer) as url:
        monkeypatch.setenv("MYNAH_BOT_ADDRESS", f"{url}/{{service}}/{{namespace}}")
        said = deploy_promoted(name, 0, "promoted", "mynah", open_store(workdir))
    fake.stop()
    assert said == f"deployed: mynah/{name} version 1"
    assert asked == [f"/{name}-predictor/mynah/v2/models/{name}/infer"]
    assert Registry(open_store(workdir)).bot(name).champion.tags["mynah.deployed"].startswith(f"mynah/{name} deployed by ")
