"""tests/cluster against an API server that lacks something: it says what, looks around, and changes nothing."""

import json

import fake_kubectl
import pytest
from fake_kubectl import calls, run_suite
from fake_kubernetes import FakeKubernetes, write_kubeconfig

ALL = {"inferenceservices.serving.kserve.io", "scheduledworkflows.kubeflow.org", "workflows.argoproj.io"}


@pytest.fixture
def kubernetes():
    started = FakeKubernetes()
    yield started
    started.stop()


@pytest.mark.parametrize(
    ("kinds", "installed", "passed", "said"),
    [
        (ALL - {"scheduledworkflows.kubeflow.org"}, {}, 0, "Kubeflow Pipelines (scheduledworkflows.kubeflow.org/v1beta1): it is not installed"),
        (ALL, {"MYNAH_S3_BUCKET": "theirs"}, 1, "namespace mynah holds an installation that is not the laptop's"),
    ],
    ids=["a kind is missing", "another installation"],
)  # fmt: skip
def test_what_stands_against_it_is_told_before_anything_is_applied(
    tmp_path, monkeypatch, kubernetes, kinds, installed, passed, said
):
    folder = fake_kubectl.install(tmp_path, monkeypatch)
    (folder / "config-current-context.json").write_text("fake")
    (folder / "get-configmap.json").write_text(json.dumps({"data": installed}))
    kubernetes.kinds = set(kinds)
    done = run_suite(
        tmp_path,
        E2E_CONTEXT="fake",
        KUBECONFIG=str(write_kubeconfig(tmp_path / "kubeconfig", kubernetes.url)),
    )
    assert done.returncode == 1
    assert said in done.stdout
    assert "an earlier step failed" in done.stdout
    assert (f"{passed} passed" in done.stdout) is bool(passed)
    [kept] = (tmp_path / "e2e").iterdir()
    assert "mynah preflight" in (kept / "commands.log").read_text()
    assert {"events.txt", "logs.txt", "objects.txt", "pods.txt"} <= {path.name for path in kept.iterdir()}
    made = [call for call in calls(folder) if call != ["config", "current-context"]]
    assert {call[1] for call in made} == {"fake"}
    assert {call[2] for call in made} <= {"get", "describe", "logs", "rollout"}  # it only looked
    assert {verb for verb, _ in kubernetes.requests} <= {"get", "list", "create"}
    assert not kubernetes.objects
