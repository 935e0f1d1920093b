"""Prune removes the specifications and posts of submissions that nothing on a cluster reads again, and no others."""

import json
import uuid
from datetime import timedelta

import pytest

from mynah.core.errors import PlatformError
from mynah.maintenance import prune as pruning
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.registry.registry import Registry
from mynah.tracking.kfp_runs import start_run
from mynah.tracking.runs import end_run
from tests.services.cluster_files import ClusterFiles


@pytest.fixture
def cluster(kubeflow, on_server, bucket, monkeypatch, tmp_path):
    """Kubeflow, MLflow and Mynah's bucket, where everything is old."""
    client, name = bucket
    monkeypatch.setenv("MYNAH_S3_BUCKET", name)
    monkeypatch.setattr(pruning, "STATES_KEPT", timedelta(0))
    return ClusterFiles(kubeflow, client, name, tmp_path)


@pytest.fixture
def prune(mynah, tmp_path):
    def call(*more, **environment):
        return mynah("prune", "--no-cluster", "--workdir", tmp_path / "work", *more, **environment)

    return call


def removed(done):
    assert done.returncode == 0, done.stderr
    return {each["name"] for each in json.loads(done.stdout) if each["kind"] == "submission"}


def address(cluster, bot):
    return cluster.ids[bot].uri


def ended(store, bot, kfp_run):
    end_run(store, start_run(bot, kfp_run, store, {}), "FINISHED")


def test_what_ended_or_was_never_made_goes_and_what_is_read_again_stays(cluster, prune):
    store = Store.from_environment()
    ended(store, "over", cluster.run("over", recorded=False))
    cluster.submitted("never")  # a command that was killed before it asked Kubeflow
    cluster.run("waiting", state="PENDING", recorded=False)
    cluster.run("running", state="RUNNING", recorded=False)
    cluster.scheduled({"spec": cluster.submitted("scheduled")})
    paused = cluster.scheduled({"specs": [cluster.submitted("paused"), cluster.submitted("fleet")]})
    next(each for each in cluster.kubeflow.recurring if each["recurring_run_id"] == paused)["status"] = "DISABLED"
    ended(store, "scheduled", cluster.run("scheduled", spec=f"{cluster.ids['scheduled'].spec}#sha256={'0' * 64}", recorded=False))
    start_run("elsewhere", cluster.run("elsewhere", recorded=False), store, {})  # Kubeflow calls it over, MLflow running
    gone = {address(cluster, bot) for bot in ("over", "never")}
    before = cluster.object_keys()
    assert removed(prune("--json", "--dry-run")) == gone
    assert cluster.object_keys() == before
    assert removed(prune("--json")) == gone
    left = {key.split("/")[1] for key in cluster.object_keys()}
    assert left == {cluster.ids[bot].id for bot in ("waiting", "running", "scheduled", "paused", "fleet", "elsewhere")}
    for bot in ("scheduled", "paused", "fleet", "waiting"):
        assert {f"{cluster.ids[bot].prefix}/{name}" for name in ("spec.json", "uploads/posts.jsonl")} <= set(
            cluster.object_keys()
        )
    assert removed(prune("--json")) == set()


def test_only_the_bots_that_are_named(cluster, prune):
    cluster.submitted("one")
    cluster.submitted("other")
    registered = Registry(Store.from_environment()).client
    registered.create_registered_model("other", tags={BOT_TAG: "other"})
    assert removed(prune("other", "--json")) == {address(cluster, "other")}
    registered.delete_registered_model("other")


def test_young_ones_stay(cluster, prune, monkeypatch):
    monkeypatch.setattr(pruning, "STATES_KEPT", timedelta(days=7))
    cluster.submitted("young")
    done = prune()
    assert (done.returncode, done.stdout) == (0, "Nothing to remove.\n")
    assert "stay in the bucket" not in done.stderr


def test_without_kubeflow_they_stay_and_are_told(cluster, prune, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    cluster.submitted("never")
    done = prune()
    assert (done.returncode, done.stdout) == (0, "Nothing to remove.\n")
    assert "the specification and posts of a submission stay in the bucket" in done.stderr
    assert "KF_PIPELINES_ENDPOINT" in done.stderr
    assert len(cluster.object_keys()) == 2


def test_a_kubeflow_that_fails_loses_nothing(cluster, prune):
    cluster.submitted("never")
    cluster.kubeflow.instead = (503, {}, "away")
    assert prune().returncode == 3
    assert len(cluster.object_keys()) == 2


def test_of_a_kubeflow_that_is_shared_only_what_its_runs_name(cluster, prune):
    """Another namespace's runs are not listed, and its submissions may lie in the same bucket."""
    cluster.kubeflow.multi_user = True
    cluster.submitted("unknown")
    ended(Store.from_environment(), "over", cluster.run("over", recorded=False))
    assert removed(prune("--json", "--namespace", "mine")) == {address(cluster, "over")}


def test_posts_go_before_the_specification_that_tells_whose_they_are(cluster, prune, monkeypatch):
    from mynah.storage.s3 import S3ArtifactStore

    remove, calls = S3ArtifactStore.remove, []

    def interrupted(self):
        if calls:
            raise PlatformError("killed")
        calls.append(self.prefix)
        remove(self)

    cluster.submitted("never")
    monkeypatch.setattr(S3ArtifactStore, "remove", interrupted)
    assert prune().returncode == 3
    assert cluster.object_keys() == [f"{cluster.ids['never'].prefix}/spec.json"]


def test_names_that_are_no_submissions_stay(cluster, prune):
    for key in ("runs/readme.txt", f"runs/{uuid.uuid4()}/spec.json", "runs/0123/uploads/posts.jsonl"):
        cluster.put(key, "mine")
    assert removed(prune("--json")) == set()
    assert len(cluster.object_keys()) == 3
