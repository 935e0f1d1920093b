"""The lock, and a process that holds it."""

import pytest

from mynah.kubernetes.cluster import Cluster
from mynah.kubernetes.lease import lease_lock
from tests.services.lease.leases import HOLD, NAME, start


@pytest.fixture
def lock(kubernetes):
    cluster = Cluster.connect("fake")

    def take(holder="me", timeout=5.0, duration=15, namespace="bots"):
        return lease_lock(cluster, namespace, NAME, holder, timeout, duration)

    return take


@pytest.fixture
def holder(kubernetes):
    """A process that holds the lock for 2 seconds at a time, until it reads a line."""
    process = start(HOLD, 2)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()
