"""KServe in a fake cluster, and its client."""

import os

import pytest
from fake_kserve import FakeKServe
from registry_inputs import register_all

from mynah.kubernetes.cluster import Cluster


@pytest.fixture
def kserve(kubernetes):
    return FakeKServe(kubernetes)


@pytest.fixture
def cluster(kubernetes):
    return Cluster.connect("fake")


@pytest.fixture
def wren(request, outputs, tmp_path):
    """A bot of this test's own on the MLflow server that the test names: (name, work folder)."""
    request.getfixturevalue(getattr(request, "param", "on_server"))
    name, workdir = f"wren-{os.urandom(3).hex()}", tmp_path / "work"
    register_all({name: outputs}, workdir)
    return name, workdir
