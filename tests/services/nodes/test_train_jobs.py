"""Fine-tuning on several nodes: the step's TrainJob is created, followed and deleted, and its nodes learn as one process does."""

import signal
from dataclasses import replace

import pytest
from fake_trainer import RUNTIMES, TRAIN_JOBS

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from components.forget.stop_nodes import end_nodes
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.training.recipe import build
from tests.model.finetune_runs import curve
from tests.services.cluster_runs import keys_of
from tests.services.nodes.node_runs import KFP_RUN

EXACT = {"epochs": 1, "batch_tokens": 256, "bf16": False}
NODE = "from components.finetune import train_node as node; node.SECONDS_BETWEEN_EVENTS = 0.5"
LONG = {"epochs": 400, "batch_tokens": 256, "patience": 0, "learning_rate": 1e-4}


@pytest.fixture
def settings(cluster_pod, tiny_checkpoint):
    def build_settings(changes, **more):
        recipe = build("default", changes)
        return FinetuneSettings(str(tiny_checkpoint), recipe, nodes=cluster_pod.request, home=cluster_pod.home, **more)

    return build_settings


def train_jobs(pod):
    pod.trainer.reconcile()
    return [key for key in pod.kubernetes.objects if key[0] == TRAIN_JOBS]


def test_two_nodes_learn_as_one_process_does(cluster_pod, settings, data, tmp_path, capsys):
    cluster_pod.trainer.suspends, cluster_pod.trainer.unschedulable = 3, 4
    wanted, steps = settings(EXACT), []
    alone = finetune(data, tmp_path / "1", replace(wanted, nodes=None, processes=1))
    together = finetune(data, tmp_path / "2", wanted, lambda step, metrics: steps.append((step, metrics)))
    assert (together.processes, together.tokens) == (2, alone.tokens)
    assert curve(tmp_path / "2") == pytest.approx(curve(tmp_path / "1"), abs=1e-4)
    losses = [[epoch.held_out_loss for epoch in record.history] for record in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert together.base_model.name == alone.base_model.name
    assert {path.name for path in (tmp_path / "2").iterdir()} == {path.name for path in (tmp_path / "1").iterdir()}
    assert [metrics["train_loss"] for _, metrics in steps if "train_loss" in metrics] == curve(tmp_path / "2")
    told = capsys.readouterr().err
    assert told.count("waits: it is suspended, as Kueue does") == 1
    assert told.count("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.") == 1
    [made] = cluster_pod.trainer.made
    assert made["metadata"]["ownerReferences"][0]["kind"] == "Pod"
    assert made["spec"]["trainer"]["numNodes"] == 2
    [job] = made["spec"]["trainer"]["args"]
    assert job.startswith(cluster_pod.home)
    assert "#sha256=" in job
    assert train_jobs(cluster_pod) == []
    kept = keys_of(*cluster_pod.bucket)
    assert any("/logs/finetune-node-0-1.log" in key for key in kept)
    assert any("/logs/finetune-node-1-1.log" in key for key in kept)


def test_an_error_of_the_nodes_is_told_as_it_is(cluster_pod, settings, data, tmp_path):
    wild = {"learning_rate": 1, "weight_decay": 10, "schedule": "constant", "epochs": 50}
    with pytest.raises(MynahError, match="the loss diverges: ") as caught:
        finetune(data, tmp_path / "model", settings(wild))
    assert caught.value.fix.startswith("Lower it")
    assert not (tmp_path / "model").exists()
    assert train_jobs(cluster_pod) == []


def states(pod):
    return sorted(key for key in keys_of(*pod.bucket, "states/") if key.endswith("state.json"))


def test_a_node_that_is_killed_ends_all_and_the_next_attempt_resumes(cluster_pod, settings, data, tmp_path):
    where = f"s3://{cluster_pod.bucket[1]}/states/wren"
    wanted = settings({**EXACT, "epochs": 3, "patience": 0}, checkpoints=where, checkpoint_seconds=0.0)
    cluster_pod.trainer.kill_after = (1, lambda: states(cluster_pod))
    with pytest.raises((PlatformError, MynahError)) as caught:
        finetune(data, tmp_path / "model", wanted)
    assert "mynah logs RUN finetune" in str(caught.value) or "ended with code" in str(caught.value)
    assert train_jobs(cluster_pod) == []
    cluster_pod.trainer.wait()
    record = finetune(data, tmp_path / "model", replace(wanted, checkpoint_seconds=300.0))
    assert record.resumed_at
    assert record.processes == 2
    assert states(cluster_pod) == []


def test_a_step_that_is_ended_deletes_its_train_job_and_the_nodes_save_their_state(cluster_pod, settings, data, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt  # as interrupt_on_sigterm does

    wanted = settings(LONG, checkpoints=f"s3://{cluster_pod.bucket[1]}/states/wren")
    with pytest.raises(KeyboardInterrupt):
        finetune(data, tmp_path / "model", wanted, interrupt)
    assert train_jobs(cluster_pod) == []
    cluster_pod.trainer.wait()
    assert cluster_pod.trainer.deleted
    assert states(cluster_pod)


def test_nodes_whose_step_is_gone_end_themselves(cluster_pod, settings, data, tmp_path, monkeypatch):
    monkeypatch.setattr("components.finetune.node_exchange.SECONDS_BETWEEN_SIGNS", 3600.0)
    cluster_pod.trainer.instead = f"{NODE}; node.SECONDS_WITHOUT_SIGN = 1.0; node.main()"
    wanted = settings(LONG, checkpoints=f"s3://{cluster_pod.bucket[1]}/states/wren")
    with pytest.raises(PlatformError, match="failed"):
        finetune(data, tmp_path / "model", wanted)
    cluster_pod.trainer.wait()
    [log] = [key for key in keys_of(*cluster_pod.bucket) if "/logs/finetune-node-0-1.log" in key]
    assert "the step that waits for this training run is gone" in log_of(cluster_pod, log)


def test_nodes_whose_run_is_forgotten_leave_nothing(cluster_pod, settings, data, tmp_path, monkeypatch):
    """`mynah forget` removes the sign of life once the run has ended; a step that is killed gives no further one."""
    monkeypatch.setattr("components.finetune.node_exchange.SECONDS_BETWEEN_SIGNS", 3600.0)
    monkeypatch.setattr("components.forget.stop_nodes.SECONDS_TO_END", 0.0)
    monkeypatch.setenv("MYNAH_S3_BUCKET", cluster_pod.bucket[1])
    cluster_pod.trainer.instead = f"{NODE}; node.main()"
    wanted = settings(LONG, checkpoints=f"s3://{cluster_pod.bucket[1]}/states/wren")
    with pytest.raises((PlatformError, MynahError)):
        finetune(data, tmp_path / "model", wanted, lambda *_: end_nodes([KFP_RUN]))
    cluster_pod.trainer.wait()
    assert -signal.SIGKILL not in [process.returncode for process in cluster_pod.trainer.processes()]  # they ended by themselves
    assert states(cluster_pod) == []


def log_of(pod, key):
    return pod.bucket[0].get_object(Bucket=pod.bucket[1], Key=key)["Body"].read().decode()


def test_a_cluster_without_trainer_or_its_runtime_is_told(cluster_pod, settings, data, tmp_path):
    del cluster_pod.kubernetes.objects[RUNTIMES, "kubeflow", "mynah"]
    with pytest.raises(InputError, match="TrainingRuntime specified in TrainJob is not found") as caught:
        finetune(data, tmp_path / "model", settings(EXACT))
    assert "k8s/components/trainer" in caught.value.fix
    cluster_pod.kubernetes.kinds.remove(TRAIN_JOBS)
    with pytest.raises(InputError, match="Kubeflow Trainer is not installed"):
        finetune(data, tmp_path / "model", settings(EXACT))


def test_a_step_without_the_right_is_told_the_rule(cluster_pod, settings, data, tmp_path):
    cluster_pod.kubernetes.forbidden.add(("patch", TRAIN_JOBS))
    with pytest.raises(PlatformError, match="refused it") as caught:
        finetune(data, tmp_path / "model", settings(EXACT))
    assert "trainjobs" in caught.value.fix


def test_a_train_job_that_somebody_deletes_is_told(cluster_pod, settings, data, tmp_path):
    def delete(*_):
        for key in train_jobs(cluster_pod):
            del cluster_pod.kubernetes.objects[key]

    with pytest.raises(PlatformError, match="was deleted while it trained"):
        finetune(data, tmp_path / "model", settings(LONG), delete)
