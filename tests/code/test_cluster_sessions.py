"""A session of tests/cluster without a cluster: the runs that it follows, and what it keeps for the one that goes on."""

import pytest

from pipelines.kubeflow.pods import Pod
from tests.cluster.asked import Asked
from tests.cluster.kept import Kept
from tests.cluster.story import Story
from tests.services import fake_kubectl
from tests.services.fake_kubeflow import FakeKubeflow

pytestmark = pytest.mark.slow  # processes


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    return fake_kubectl.install(tmp_path, monkeypatch)


@pytest.fixture
def followed(kubectl, tmp_path):
    """A story and the Kubeflow that its commands ask."""
    story, kubeflow = Story(Asked("kind-mynah"), tmp_path / "kept"), FakeKubeflow()
    story.commands.environment["KF_PIPELINES_ENDPOINT"] = kubeflow.url
    yield story, kubeflow
    kubeflow.stop()


def test_a_run_is_canceled_by_the_real_command(followed):
    story, kubeflow = followed
    run = kubeflow.add_run("e2e", at=("RUNNING", {}))
    story.cancel(run)
    with pytest.raises(AssertionError, match="is over"):
        story.cancel(run)


def test_what_a_step_waits_for_is_told_by_the_real_command(followed):
    story, kubeflow = followed
    run = kubeflow.add_run("e2e", at=("RUNNING", {"finetune": "PENDING"}))
    assert story.waits_for(run, "finetune", "") == ""
    kubeflow.reasons = {"finetune": "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}
    assert "0/1 nodes are available" in story.waits_for(run, "finetune", "")


def test_what_the_training_step_wrote_is_read_by_the_real_command(kubectl, tmp_path):
    story = Story(Asked("kind-mynah"), tmp_path / "kept")
    kubeflow = FakeKubeflow()
    try:
        run = kubeflow.add_run("e2e", at=("RUNNING", {"finetune#1": "FAILED", "finetune#2": "RUNNING"}))
        story.commands.environment["KF_PIPELINES_ENDPOINT"] = kubeflow.url
        over, running = (Pod(name, "finetune", phase, "", False, "") for name, phase in (("1", "Failed"), ("2", "Running")))
        assert story.kept_at(run, running) == 0
        kubeflow.logs = {"wf-1-system-container-impl-102": "Fine-tuning\nthe state of step 9 of 840 is saved\n"}
        kubeflow.logs["wf-1-system-container-impl-112"] = (
            "Fine-tuning\nresuming at step 9 of 840\nthe state of step 40 of 840 is saved\n"
        )
        assert [story.kept_at(run, pod) for pod in (over, running)] == [0, 40]  # what is over is not killed
        assert story.resumed_at(run) == 9
    finally:
        kubeflow.stop()


def test_a_session_that_goes_on_has_the_bot_and_the_steps_of_the_one_before(tmp_path):
    story = Story(Asked("kind-mynah", keep=True), tmp_path / "1")
    story.passed("test_a_tiny_run_succeeds", 12.0)
    story.passed("test_the_servers_are_within_reach", 1.0)
    story.close(is_over=False)
    after = Story(Asked("kind-mynah", keep=True), tmp_path / "2")
    assert after.bot == story.bot
    assert after.kept.has_passed("test_a_tiny_run_succeeds") and not after.kept.has_passed("test_the_aviary_answers_for_it")
    assert not after.kept.has_passed("test_the_servers_are_within_reach")  # the ways are to be opened
    for other in (Asked("kind-mynah"), Asked("another", keep=True)):
        assert Story(other, tmp_path / "3").bot != story.bot
    after.close(is_over=True)
    assert Story(Asked("kind-mynah", keep=True), tmp_path / "4").bot != story.bot


@pytest.mark.parametrize(
    "text",
    [
        '{"bot": "aviary"}',
        '{"bot": "e2e-1", "bots": ["wren"]}',
        '{"bot": "e2e-1", "made": [["delete", "namespace", "mynah"]]}',
        "[",
        "3",
        "",
    ],
)
def test_nothing_of_others_is_taken_for_kept(tmp_path, text):
    (tmp_path / "kept.json").write_text(text)
    kept = Kept.read(tmp_path / "kept.json")
    assert kept.bot.startswith("e2e-") and kept.bot != "e2e-1" and kept.made == []
