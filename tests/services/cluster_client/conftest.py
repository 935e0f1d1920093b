"""A fake API server, and a client that its kubeconfig leads to."""

import pytest
from fake_kubernetes import FakeKubernetes, write_kubeconfig

from mynah.kubernetes.cluster import Cluster


@pytest.fixture
def kubernetes():
    """An API server that no kubeconfig leads to yet."""
    fake = FakeKubernetes()
    yield fake
    fake.stop()


@pytest.fixture
def reach(tmp_path, monkeypatch):
    """Connect to the server at an address, as its kubeconfig says."""

    def connect(url, **settings):
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url, **settings)))
        return Cluster.connect("fake")

    return connect


@pytest.fixture
def cluster(kubernetes, reach):
    return reach(kubernetes.url)
