"""Runs that `mynah submit` starts and waits for: node pools, steps that fail, and an API that is away for a moment."""

import json
import time
from types import SimpleNamespace

import pytest

from pipelines.cli import runs
from pipelines.kubeflow import follow
from tests.services.fake_kubeflow import BROKEN, TOKEN
from tests.services.kubeflow_commands import SUBMIT, refused, told

ERROR = """[KFP Executor] Looking for component `filter_posts`
Traceback (most recent call last):
  File "/usr/lib/python3.11/runpy.py", line 198, in _run_module_as_main
mynah.core.errors.InputError: only 12 characters are left after filtering, and a bot needs 6,000 at the least
Add another source with --from, or more posts.
"""


@pytest.mark.parametrize(("label", "found"), [("mynah.dev/pool=gpu", True), ("pool=a100", True), ("pool=none", False)])
def test_a_pool_that_is_missing_is_told_before_anything_is_sent(mynah, kubeflow, kubernetes, label, found):
    for number, (key, value) in enumerate((("mynah.dev/pool", "gpu"), ("pool", "a100"))):
        kubernetes.put(
            "nodes", "", f"gpu-{number}", metadata={"labels": {key: value}}, status={"allocatable": {"nvidia.com/gpu": "1"}}
        )
    done = mynah(*SUBMIT, "--no-wait", "--context", "fake", "--gpu-pool", label)
    if found:
        assert done.returncode == 0, done.stderr
        assert len(kubeflow.runs) == 1
    else:
        refused(done, 3, "no node has the label pool=none", "--no-gpu")
        assert not kubeflow.runs
        assert mynah(*SUBMIT, "--no-wait", "--context", "fake", "--gpu-pool", label, "--no-gpu").returncode == 0


def test_more_gpus_than_a_node_has_are_refused_before_anything_is_sent(mynah, kubeflow, kubernetes):
    for name, count in (("small", "1"), ("large", "4"), ("cordoned", "8")):
        kubernetes.put(
            "nodes", "", name, metadata={"labels": {"mynah.dev/pool": "gpu"}}, status={"allocatable": {"nvidia.com/gpu": count}},
            spec={"unschedulable": name == "cordoned"},
        )  # fmt: skip
    refused(
        mynah(*SUBMIT, "--no-wait", "--context", "fake", "--gpus", "5"), 2,
        "no node offers 5 GPUs: the largest node of mynah.dev/pool=gpu, large, has 4", "--gpus 4",
    )  # fmt: skip
    assert not kubeflow.runs
    assert mynah(*SUBMIT, "--no-wait", "--context", "fake", "--gpus", "4").returncode == 0
    kubernetes.put("configmaps", "kube-system", "cluster-autoscaler-status")  # may add a larger one
    done = mynah(*SUBMIT, "--no-wait", "--context", "fake", "--gpus", "5")
    assert done.returncode == 0, done.stderr
    assert "large, has 4, and the cluster autoscaler may add a larger one" in done.stderr


def test_a_service_of_its_own_is_asked_for_by_its_namespace(mynah, kubeflow):
    assert mynah(*SUBMIT, "--no-wait", "--serve-in", "mynah").returncode == 0
    [run] = kubeflow.runs.values()
    assert told(run).serve_in == "mynah"


def test_not_waiting(mynah, kubeflow):
    kubeflow.script = [("RUNNING", {})]
    done = mynah(*SUBMIT, "--no-wait", "--json")
    assert json.loads(done.stdout) == {"run": next(iter(kubeflow.runs)), "state": "PENDING"}


def test_a_failed_step_is_told_with_its_own_error_and_exit_code(mynah, kubeflow):
    kubeflow.script = [("FAILED", {"fetch": "SUCCEEDED", "filter-posts": "FAILED"})]
    kubeflow.logs = {"wf-1-system-container-impl-112": ERROR}
    done = mynah(*SUBMIT)
    run_id = next(iter(kubeflow.runs))
    refused(
        done, 2, f"error: the run {run_id} failed in filter-posts: only 12 characters are left",
        f"Add another source with --from, or more posts. See more: mynah logs {run_id[:8]} filter-posts",
    )  # fmt: skip


@pytest.mark.parametrize(
    "message", ["OOMKilled (exit code 137)", "Pod was active on the node longer than the specified deadline"]
)
def test_a_step_without_a_log_is_told_with_kubernetes_reason(mynah, kubeflow, message):
    kubeflow.script = [("FAILED", {"fetch": "SUCCEEDED", "finetune": "FAILED"})]
    kubeflow.reasons = {"finetune": message}
    refused(mynah(*SUBMIT), 3, f"failed in finetune: {message}", "mynah logs")


def test_a_failure_that_nothing_explains(mynah, kubeflow):
    kubeflow.keeps_workflows = False
    kubeflow.script = [("FAILED", {"finetune": "FAILED"})]
    refused(mynah(*SUBMIT), 3, "failed in finetune: no reason is recorded", "mynah logs")
    kubeflow.script = [("FAILED", {})]
    refused(mynah(*SUBMIT), 3, "failed: no reason is recorded", "mynah runs")


@pytest.mark.parametrize(("states", "code", "said"), [
    (["CANCELING", "FAILED"], 5, "was canceled"),  # as Kubeflow 2.17 ends a canceled run
    (["CANCELING", None, "FAILED"], 5, "was canceled"), (["CANCELED"], 5, "was canceled"), (["SKIPPED"], 3, "was skipped"),
])  # fmt: skip
def test_a_run_that_came_to_nothing_is_no_success(mynah, kubeflow, states, code, said):
    kubeflow.script = [("RUNNING", {}), *((state, {}) for state in states)]
    refused(mynah(*SUBMIT), code, said)


def test_a_moment_without_a_state_is_no_end(mynah, kubeflow):
    kubeflow.script = [("PENDING", {}), (None, {}), ("RUNNING", {}), (None, {}), ("SUCCEEDED", {})]
    done = mynah(*SUBMIT)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("run: ")] == [
        "run: pending",
        "run: running",
        "run: succeeded",
    ]


@pytest.mark.parametrize(
    "reason",
    [
        "ImagePullBackOff: Back-off pulling image mynah-train:0.1.0",
        'pods "wf-1" is forbidden: exceeded quota: mynah, requested: nvidia.com/gpu=1, used: 1, limited: 1',
        "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    ],
)
def test_what_a_step_waits_for_is_shown_and_told_at_the_deadline(mynah, kubeflow, monkeypatch, reason):
    monkeypatch.setattr(runs, "GRACE", -2 * 3600 + 0.3)
    kubeflow.script = [("RUNNING", {"fetch": "SUCCEEDED", "finetune": "PENDING"})]
    kubeflow.reasons = {"finetune": reason}
    done = mynah(*SUBMIT, "--deadline", "2")
    run_id = next(iter(kubeflow.runs))
    assert f"finetune waits: {reason}" in done.stderr.splitlines()
    refused(done, 3, f"the run {run_id} is still running", f"finetune waits: {reason[:40]}", f"mynah cancel {run_id[:8]} ends it")


def test_an_api_that_is_away_for_a_moment_ends_nothing(mynah, kubeflow, monkeypatch):
    run_id = kubeflow.add_run("wren", at=("SUCCEEDED", {}))
    from pipelines.kubeflow.api import Kubeflow

    api = Kubeflow.connect()
    kubeflow.failures = [BROKEN] * 2
    assert follow.follow(api, run_id, 60).state == "SUCCEEDED"
    kubeflow.token = TOKEN  # but credentials that have expired do
    with pytest.raises(Exception, match="requires a login"):
        follow.follow(api, run_id, 60)


def test_interrupting_leaves_the_run(mynah, kubeflow, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    # follow's own clock alone: the fake server's threads sleep too.
    monkeypatch.setattr(follow, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic, time=time.time))
    kubeflow.script = [("RUNNING", {})]
    done = mynah(*SUBMIT)
    assert done.returncode == 130
    assert "the run continues: mynah runs" in done.stderr
