"""tests/cluster against clusters that are not as they should be: it says what, and where something lacks it changes nothing."""

import json
import re
from pathlib import Path

import fake_kubectl
import pytest
from fake_kubectl import calls, run_suite
from fake_kubernetes import FakeKubernetes, write_kubeconfig

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.training.recipe import build
from tests.cluster import test_end_to_end
from tests.cluster.asked import Asked
from tests.cluster.runs import KEPT, RESUMED, RUN
from tests.cluster.story import Story
from tests.model.conftest import data  # noqa: F401 - a fixture

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
    assert {verb for verb, _ in kubernetes.calls} <= {"get", "list", "create"}
    assert not kubernetes.objects


def test_a_session_that_keeps_its_bot_is_gone_on_with(tmp_path, monkeypatch, kubernetes):
    folder = fake_kubectl.install(tmp_path, monkeypatch)
    (folder / "config-current-context.json").write_text("fake")
    (folder / "get-configmap.json").write_text(json.dumps({"data": {"MYNAH_S3_BUCKET": "theirs"}}))
    kubernetes.kinds = set(ALL)
    kubeconfig = str(write_kubeconfig(tmp_path / "kubeconfig", kubernetes.url))
    first = run_suite(tmp_path, E2E_CONTEXT="fake", E2E_KEEP="1", KUBECONFIG=kubeconfig)
    assert "1 passed" in first.stdout and "1 failed" in first.stdout, first.stdout
    assert re.search(
        r"= seconds per step =+\n +\d+\.\d  the cluster has what is needed\n +\d+\.\d  no other .*: failed", first.stdout
    )
    kept = json.loads((tmp_path / "e2e/kept-fake.json").read_text())
    assert list(kept["passed"]) == ["test_the_cluster_has_what_is_needed"]
    (folder / "calls.jsonl").unlink()
    second = run_suite(tmp_path, E2E_CONTEXT="fake", E2E_KEEP="1", KUBECONFIG=kubeconfig)
    assert "passed in an earlier session" in second.stdout and "1 failed" in second.stdout, second.stdout
    assert ["--context", "fake", "rollout", "status", "deployment/ml-pipeline"] not in [call[:5] for call in calls(folder)]
    assert json.loads((tmp_path / "e2e/kept-fake.json").read_text()) == kept
    assert not any(call[2] == "delete" for call in calls(folder) if call[:1] == ["--context"])


KILLS = {"exec": "process", "delete": "pod", "drain": "node"}  # verb to what is killed


class Trained(Story):
    """A story whose run was submitted and ended well, and made a second version; kubectl is asked as ever.

    What `mynah logs` prints of the run is the file `log` of kubectl's folder; after a kill `log-after`, where there is one.
    """

    kubectls: Path

    def _log(self, _run, _example):
        has_killed = any(call[2] in KILLS for call in calls(self.kubectls))
        return (self.kubectls / ("log-after" if has_killed else "log")).read_text()

    def submit(self, **_recipe):
        return RUN

    def state_at_the_end(self, _run):
        return "SUCCEEDED"

    def record(self, *versions, champion):
        return {"aliases": {"champion": champion}, "versions": [{"version": number} for number in versions]}


def attempts(*phases):
    """The workflow of a run whose attempts at fine-tuning stand so."""
    nodes = {
        "wf-1-20": {"id": "wf-1-20", "name": "wf-1.root.finetune", "displayName": "finetune", "type": "DAG", "boundaryID": "wf-1"}
    }
    for number, phase in enumerate(phases, 31):
        name, about = f"wf-1-{number}", {"type": "Pod", "templateName": "impl", "boundaryID": "wf-1-20", "phase": phase}
        shown = f"executor({number - 31})"
        nodes[name] = {"id": name, "name": f"wf-1.root.finetune.{shown}", "displayName": shown, **about}
    return json.dumps({"items": [{"metadata": {"name": "wf-1"}, "status": {"nodes": nodes}}]})


BEGINS = "Fine-tuning: 1 of 840 steps, epoch 1/30, loss 6.100\n"
KEEPS = BEGINS + "the state of step 23 of 840 is saved\nthe state of step 46 of 840 is saved\n"
GOES_ON = "resuming at step {} of 840, where an earlier run of the same inputs was interrupted\nFine-tuning: {} of 840 steps\n"


@pytest.mark.parametrize(
    ("how", "log", "said"),
    [
        ("process", KEEPS + GOES_ON.format(46, 46), ""),
        ("pod", KEEPS + GOES_ON.format(51, 51), ""),  # its SIGTERM was heard: one more state was kept
        ("node", KEEPS + GOES_ON.format(51, 51), ""),
        ("process", KEEPS + BEGINS, "went on at step 0, and the state of step 46 had been kept"),
        ("pod", KEEPS + BEGINS, "went on at step 0, and the state of step 46 had been kept"),
        ("process", KEEPS + GOES_ON.format(23, 23), "went on at step 23, and the state of step 46 had been kept"),
        ("process", "", f"nobody has the log of {RUN} any more"),
    ],
    ids=["resumed", "resumed later", "node drained", "anew", "anew, pod killed", "from an older state", "log gone"],
)
def test_an_attempt_that_does_not_go_on_is_seen(tmp_path, monkeypatch, how, log, said):
    folder = fake_kubectl.install(tmp_path, monkeypatch)
    (folder / "get-workflows.json").write_text(attempts("Running"))
    (folder / "log").write_text(KEEPS)
    (folder / "log-after").write_text(log)
    (folder / "get-pod.json").write_text("node-1")
    after = folder / f"after-{next(verb for verb, what in KILLS.items() if what == how)}"
    after.mkdir()
    (after / "get-workflows.json").write_text(attempts("Failed", "Succeeded"))
    story = Trained(Asked("fake", kill=how), tmp_path / "kept")
    story.kubectls = folder
    if said:
        with pytest.raises(AssertionError, match=said):
            test_end_to_end.test_a_killed_training_pod_goes_on_where_it_was(story)
    else:
        test_end_to_end.test_a_killed_training_pod_goes_on_where_it_was(story)
    assert [call[2] for call in calls(folder) if call[2] in KILLS] == [after.name.removeprefix("after-")]


@pytest.mark.parametrize(
    ("attempt", "log", "said"),
    [("Running", BEGINS, "keeps a training state: not so after 0 s"), ("Succeeded", KEEPS, "over before it had kept")],
    ids=["none kept yet", "over already"],
)
def test_a_training_that_has_kept_no_state_is_not_killed(tmp_path, monkeypatch, attempt, log, said):
    folder = fake_kubectl.install(tmp_path, monkeypatch)
    (folder / "get-workflows.json").write_text(attempts(attempt))
    (folder / "log").write_text(log)
    story = Trained(Asked("fake"), tmp_path / "kept")
    story.kubectls = folder
    until = story.commands.until
    monkeypatch.setattr(story.commands, "until", lambda what, look, seconds: until(what, look, 0))
    with pytest.raises(AssertionError, match=said):
        test_end_to_end.test_a_killed_training_pod_goes_on_where_it_was(story)
    assert {call[2] for call in calls(folder)} <= {"get", "logs"}


def test_what_it_looks_for_is_what_fine_tuning_says(tiny_checkpoint, data, tmp_path, capsys):  # noqa: F811
    recipe = build("default", {"epochs": 1, "patience": 0, "learning_rate": 3e-3, "batch_tokens": 256})
    settings = FinetuneSettings(str(tiny_checkpoint), recipe, None, str(tmp_path / "states"), 0.0)

    def interrupt(step, _metrics):
        if step > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(data, tmp_path / "model", settings, interrupt)
    said = capsys.readouterr().err
    assert (KEPT.findall(said), RESUMED.findall(said)) == (["1", "2", "3"], [])
    finetune(data, tmp_path / "model", settings)
    said = capsys.readouterr().err
    assert RESUMED.findall(said) == ["3"]
    assert re.search("^Fine-tuning", said, re.MULTILINE)
