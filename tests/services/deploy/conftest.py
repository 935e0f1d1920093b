"""KServe in a fake cluster, and its client."""

import pytest
from fake_kserve import FakeKServe

from mynah.kubernetes.cluster import Cluster


@pytest.fixture
def kserve(kubernetes):
    return FakeKServe(kubernetes)


@pytest.fixture
def cluster(kubernetes):
    return Cluster.connect("fake")
