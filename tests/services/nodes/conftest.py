"""A pod of the step finetune in a cluster with Kubeflow Trainer, whose nodes are processes of this machine, and a bucket in a real S3."""

import os
from types import SimpleNamespace

import pytest
from fake_kubernetes import FakeKubernetes
from fake_trainer import NAMESPACE, FakeTrainer

from components.finetune import nodes
from mynah.kubernetes import cluster, lease
from mynah.storage.run_files import RunFiles, new_id
from mynah.training.node_request import NodeRequest
from tests.model.conftest import data  # noqa: F401 - a fixture
from tests.services.certificates import self_signed
from tests.services.nodes.node_runs import KFP_RUN


@pytest.fixture
def cluster_pod(tmp_path, monkeypatch, s3, bucket):
    """This process as the step's pod: `trainer`, `kubernetes`, the `home` of the run's files, and what it asks for."""
    account = tmp_path / "account"
    account.mkdir()
    fake = FakeKubernetes(self_signed(account))
    host, _, port = fake.url.removeprefix("https://").partition(":")
    (account / "token").write_text(fake.token)
    (account / "namespace").write_text(NAMESPACE)
    for name, value in {**s3.environment, "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}.items():
        monkeypatch.setenv(name, value)
    for module in (cluster, lease):
        monkeypatch.setattr(module, "SERVICE_ACCOUNT", account)
    monkeypatch.setattr(nodes, "SECONDS_BETWEEN_LOOKS", 0.2)
    outside = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
    trainer = FakeTrainer(fake, outside | s3.environment)
    request = NodeRequest(2, "mynah-train:1", "cpu", ("2", "8"), ("8Gi", "16Gi"))
    home = RunFiles(bucket[1], new_id()).of(KFP_RUN)
    yield SimpleNamespace(trainer=trainer, kubernetes=fake, home=home, request=request, bucket=bucket)
    trainer.stop()
    fake.stop()
