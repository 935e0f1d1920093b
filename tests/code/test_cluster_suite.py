"""tests/cluster without a cluster: its safety catch, its ways to servers, and how it follows runs."""

import hashlib
import json
import shutil
import time

import pytest
import yaml

from pipelines.kubeflow.pods import Pod
from scripts.manifests.render import ROOT, build
from tests.cluster.asked import IMAGES, Asked, RefusedError
from tests.cluster.commands import Answer, Commands
from tests.cluster.dump import dump
from tests.cluster.forward import forward
from tests.cluster.load import Load
from tests.cluster.session import KEY
from tests.cluster.story import Story
from tests.conftest import needs
from tests.services import fake_kubectl
from tests.services.fake_kubectl import calls, run_suite
from tests.services.fake_kubeflow import FakeKubeflow

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    return fake_kubectl.install(tmp_path, monkeypatch)


@pytest.fixture
def commands(kubectl, tmp_path):
    return Commands("kind-mynah", tmp_path / "kept")


# the safety catch


def test_nothing_is_collected_unless_it_is_asked_for(kubectl, tmp_path):
    others = [f"--ignore=tests/{name}" for name in ("benchmarks", "code", "model", "services")]  # not the point here
    done = run_suite(tmp_path, "tests", *others, E2E_CONTEXT="kind-mynah", E2E_DRY_RUN="1")
    assert done.returncode == 5, done.stdout  # pytest's word for: no tests
    assert calls(kubectl) == []


@pytest.mark.parametrize(
    ("named", "said"),
    [("", "refused: no cluster was named"), ("kind-mynah", "refused: the kubeconfig's current context is 'production'")],
)
def test_a_context_that_was_not_named_is_refused(kubectl, tmp_path, named, said):
    (kubectl / "config-current-context.json").write_text("production")
    done = run_suite(tmp_path, E2E_CONTEXT=named)
    assert done.returncode == 2
    assert said in done.stdout
    assert [call for call in calls(kubectl) if call != ["config", "current-context"]] == []
    assert "passed" not in done.stdout
    assert not (tmp_path / "e2e").exists() or named


@pytest.mark.parametrize("current", ["production", "kind-mynah-2", "kind-myna", "Kind-mynah", "kind-mynah ", ""])
def test_a_context_that_is_nearly_the_named_one_is_refused(current):
    asked = Asked.of({"E2E_CONTEXT": "kind-mynah"})
    asked.require_named("kind-mynah")
    with pytest.raises(RefusedError, match=f"is {current!r}, and 'kind-mynah' was named; nothing was touched"):
        asked.require_named(current)


def test_what_was_asked_for_is_checked():
    assert Asked.of({"E2E_CONTEXT": "here", "E2E_DRY_RUN": "1"}) == Asked("here", dry_run=True)
    with pytest.raises(RefusedError, match="E2E_KILL is 'cat'"):
        Asked.of({"E2E_CONTEXT": "here", "E2E_KILL": "cat"})


# its tools


def test_a_way_to_a_service_lasts_as_long_as_the_with(commands, kubectl):
    with forward(commands, "mynah", "mlflow", 5000) as way:
        assert commands.ask(f"http://{way}/health").body["path"] == "/health"
        with forward(commands, "mynah", "aviary-predictor", 80) as other:
            assert other != way
    assert commands.ask(f"http://{way}/health").status == 0
    assert calls(kubectl)[0][:5] == ["--context", "kind-mynah", "port-forward", "--namespace", "mynah"]


def test_a_way_whose_pod_goes_is_opened_again_at_the_same_port(commands, kubectl, capsys):
    with forward(commands, "mynah", "mlflow", 5000) as way:
        before = str(way)
        (kubectl / "no-pod").touch()  # the next pod takes its time
        began = time.monotonic()
        assert commands.ask(f"http://{way}/end").status == 0
        commands.until("it is seen to have ended", lambda: not way.is_open, 20, 0.05)
        assert way.was_away_since(began)
        (kubectl / "no-pod").unlink()
        commands.until("it is open again", lambda: way.opened == 2 and way.is_open, 20, 0.05)
        assert str(way) == before and commands.ask(f"http://{way}/health").status == 200
        assert not way.was_away_since(time.monotonic())
    assert commands.ask(f"http://{way}/health").status == 0
    assert "the way to mynah/mlflow ended, and is opened again: " in capsys.readouterr().out


def test_what_fails_while_a_way_is_opened_again_is_no_failure_of_the_server(kubectl, tmp_path):
    story = Story(Asked("kind-mynah"), tmp_path / "kept")
    story.commands.environment["MYNAH_API_KEY"] = "mynah_k"
    way = story.reach("mynah", "aviary-predictor", 80)
    try:
        with story.load(1) as load:
            load.sees("1", 20)
            story.commands.ask(f"http://{way}/end")
            story.commands.until("it is open again", lambda: way.opened == 2, 20, 0.05)
            (kubectl / "version").write_text("2")
            load.sees("2", 20)
        assert load.failures == []
    finally:
        story.close()


def test_a_way_ends_with_a_test_that_fails(commands):
    with pytest.raises(ZeroDivisionError), forward(commands, "mynah", "mlflow", 5000) as way:
        raise ZeroDivisionError
    assert commands.ask(f"http://{way}/health").status == 0


def test_a_way_that_does_not_open_says_why(commands):
    with pytest.raises(AssertionError) as said, forward(commands, "mynah", "none", 80):
        pass
    assert str(said.value).startswith('the way to mynah/none is closed: Error from server (NotFound): services "none" not found')


def test_a_command_that_fails_tells_its_last_words_and_is_kept(commands):
    with pytest.raises(AssertionError, match="ended with 2: error: 'No Name' can't be a bot's name"):
        commands.run("mynah", "submit", "--name", "No Name", "--from", "sample", "--no-wait")
    assert "-> 2 after" in (commands.folder / "commands.log").read_text()


def test_a_secret_is_in_no_log(kubectl, tmp_path):
    (kubectl / "get-secret.json").write_text(json.dumps({"data": {"AWS_ACCESS_KEY_ID": "bXluYWg="}}))
    story = Story(Asked("kind-mynah"), tmp_path / "kept")
    assert story.secret("mynah-s3", "AWS_ACCESS_KEY_ID") == ["mynah"]
    assert "bXluYWg" not in (tmp_path / "kept/commands.log").read_text()


def test_the_load_sees_versions_change_and_requests_fail(commands, kubectl):
    with forward(commands, "mynah", "aviary-predictor", 80) as way:
        with Load(lambda: commands.ask(f"http://{way}/v2/models/e2e-1/infer", {})) as load:
            load.sees("1", 20)
            (kubectl / "version").write_text("2")
            load.sees("2", 20)
        assert set(load.versions) == {"1", "2"}
        assert load.failures == []
        (kubectl / "version").write_text("none")
        with Load(lambda: commands.ask(f"http://{way}/v2/models/e2e-1/infer", {})) as load:
            commands.until("a request fails", lambda: load.failures, 20, 0.05)
        assert load.failures[0].status == 503
        with pytest.raises(AssertionError, match="3 answered nobody"):
            load.sees("3", 0)


def test_a_dump_goes_on_when_one_look_fails(commands, kubectl):
    (kubectl / "get-events.json").write_text("Pulled image")
    dump(commands, "mynah", "kubeflow", ["a-run"])
    assert "Pulled image" in (commands.folder / "events.txt").read_text()
    assert (commands.folder / "logs-of-runs.txt").exists()
    shutil.rmtree(commands.folder)
    commands.environment["FAKE_KUBECTL"] = str(kubectl / "nowhere")
    dump(commands, "mynah", "kubeflow", [])
    assert "FileNotFoundError" in (commands.folder / "events.txt").read_text()


def test_a_run_is_followed_by_the_real_command(kubectl, tmp_path, monkeypatch):
    story = Story(Asked("kind-mynah"), tmp_path / "kept")
    kubeflow = FakeKubeflow()
    try:
        kubeflow.script = [("SUCCEEDED", {"finetune": "SUCCEEDED"})]
        run = kubeflow.add_run("e2e")
        story.commands.environment["KF_PIPELINES_ENDPOINT"] = kubeflow.url
        assert story.state_at_the_end(run) == "SUCCEEDED"
    finally:
        kubeflow.stop()


def test_the_attempts_of_the_training_step_are_read_from_argos_workflow(kubectl, tmp_path):
    story = Story(Asked("kind-mynah"), tmp_path / "kept")
    (kubectl / "get-workflows.json").write_text(json.dumps({"items": [workflow()]}))
    assert [(pod.name, pod.phase) for pod in story.attempts("a-run")] == [
        ("wf-1-retry-system-container-impl-31", "Failed"), ("wf-1-retry-system-container-impl-32", "Running"),
    ]  # fmt: skip
    running = story.attempts("a-run")[1]
    story.kill(running)
    Story(Asked("kind-mynah", kill="pod"), tmp_path / "kept").kill(running)
    assert calls(kubectl)[-2][2:4] == ["exec", running.name]
    assert calls(kubectl)[-1][2:] == ["delete", "pod", running.name, "--namespace", "kubeflow", "--wait=false"]


def test_a_drained_node_is_opened_again_also_when_that_fails(kubectl, tmp_path):
    story = Story(Asked("kind-mynah", kill="node"), tmp_path / "kept")
    pod = Pod("wf-1-31", "finetune", "Running", "", False, "")
    with pytest.raises(AssertionError, match="is on no node"):
        story.kill(pod)
    (kubectl / "get-pod.json").write_text("node-7")
    story.kill(pod)
    (kubectl / "fail-drain").touch()
    with pytest.raises(AssertionError, match="drain is not possible"):
        story.kill(pod)
    made = [call[2:4] for call in calls(kubectl) if call[2] != "get"]
    assert made == [["drain", "node-7"], ["uncordon", "node-7"]] * 2


def workflow():
    """As Argo writes it for a step with retries: a node for the step, one for its retries, and a pod for each attempt."""
    impl = "retry-system-container-impl"
    nodes = [
        ("wf-1-20", "wf-1.root.finetune-driver", "finetune-driver", "Pod", "system-container-driver", "wf-1", "Succeeded"),
        ("wf-1-21", "wf-1.root.finetune", "finetune", "DAG", "retry-system-container-executor", "wf-1", "Running"),
        ("wf-1-30", "wf-1.root.finetune.executor", "executor", "Retry", impl, "wf-1-21", "Running"),
        ("wf-1-31", "wf-1.root.finetune.executor(0)", "executor(0)", "Pod", impl, "wf-1-21", "Failed"),
        ("wf-1-32", "wf-1.root.finetune.executor(1)", "executor(1)", "Pod", impl, "wf-1-21", "Running"),
    ]
    keys = ("id", "name", "displayName", "type", "templateName", "boundaryID", "phase")
    return {"metadata": {"name": "wf-1"}, "status": {"nodes": {node[0]: dict(zip(keys, node, strict=True)) for node in nodes}}}


def test_what_it_knows_of_the_laptop_is_so(monkeypatch):
    keys = json.loads((ROOT / "k8s/overlays/laptop/keys.json").read_text())["keys"]
    assert f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}" in [each["hash"] for each in keys]
    assert KEY in (ROOT / "k8s/README.md").read_text("utf-8")
    needs(shutil.which("kubectl") is not None, "kubectl is not installed: k8s/README.md names its version")
    text = build(ROOT / "k8s/overlays/laptop")
    assert IMAGES["serve"] in text
    assert "127.0.0.1:5000" in text  # MLflow answers to no other port of this machine


@pytest.mark.parametrize("reference", [f"host.example:5000/bots/mynah-serve@sha256:{'0' * 64}", "localhost/mynah-serve:7"])
def test_images_by_another_name_are_in_all_that_is_applied(tmp_path, reference):
    needs(shutil.which("kubectl") is not None, "kubectl is not installed: k8s/README.md names its version")
    images = tmp_path / "images.json"
    images.write_text(json.dumps({"data": "x/data:1", "train": "x/train:1", "serve": reference}))
    folder = Asked("here", images=str(images)).overlay(tmp_path)
    text = build(ROOT / folder)
    found = {each["image"] for each in containers(yaml.safe_load_all(text)) if "mynah-serve" in each["image"]}
    assert found == {reference}


def containers(part):
    for each in part.values() if isinstance(part, dict) else part:
        if isinstance(each, dict) and "image" in each:
            yield each
        if isinstance(each, dict | list):
            yield from containers(each)


def test_the_answer_of_a_server_that_is_away_is_none(commands):
    assert commands.ask("http://127.0.0.1:9/health") == Answer(0, commands.ask("http://127.0.0.1:9/health").body)


def test_an_api_server_that_is_away_is_told(kubectl, tmp_path):
    story = Story(Asked("elsewhere"), tmp_path / "kept")
    config = {"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "u", "user": {}}]}
    config |= {"contexts": [{"name": "elsewhere", "context": {"cluster": "c", "user": "u"}}], "current-context": "elsewhere"}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    story.commands.environment["KUBECONFIG"] = str(tmp_path / "kubeconfig")
    with pytest.raises(AssertionError, match=r"mynah preflight: error: .*127\.0\.0\.1:9"):
        story.mynah("preflight", "--context", "elsewhere", example=[], codes=(0, 3))
