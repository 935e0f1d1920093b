"""Holders that lose the lock notice: it is taken, deleted, or the API fails; and where there is no lock at all."""

import signal
import threading
import time

import pytest
from fake_kubernetes import write_kubeconfig
from fake_kubernetes_objects import LEASES

from mynah.core.errors import InputError, PlatformError
from mynah.kubernetes import lease as lease_module
from mynah.kubernetes.cluster import Cluster
from mynah.kubernetes.lease import lease_lock
from tests.services.lease.leases import NAME, eventually, held_by_another

# Losing it


def test_a_stopped_holder_notices_that_another_followed(kubernetes, lock, holder):
    holder.send_signal(signal.SIGSTOP)
    with lock():
        holder.send_signal(signal.SIGCONT)
        _, said = holder.communicate("\n", timeout=10)
        assert "was lost: me_" in said and holder.returncode == 1
        assert kubernetes.holder(NAME).startswith("me_")  # it gave back nothing that was not its own


def test_taken_by_force(kubernetes, lock):
    with lock() as still_held:
        still_held()
        kubernetes.change(LEASES, "bots", NAME, holderIdentity="thief")
        for _ in range(2):
            with pytest.raises(PlatformError, match="was lost: thief holds it now"):
                still_held()
    assert kubernetes.holder(NAME) == "thief"


def test_deleted_under_the_holder(kubernetes, lock):
    with lock() as still_held:
        del kubernetes.objects[LEASES, "bots", NAME]
        with pytest.raises(PlatformError, match="was lost: somebody deleted it"):
            still_held()
    assert (LEASES, "bots", NAME) not in kubernetes.objects  # nor did it make another


def test_deleted_and_made_again_by_another(kubernetes, lock):
    with lock() as still_held:
        held_by_another(kubernetes)
        with pytest.raises(PlatformError, match="another holds it now"):
            still_held()


def test_the_renewing_thread_notices_too_and_stops(kubernetes, lock):
    with lock(duration=1):
        assert any(thread.name == f"renew {NAME}" for thread in threading.enumerate())
        kubernetes.change(LEASES, "bots", NAME, holderIdentity="thief")
        eventually(lambda: not any(thread.name == f"renew {NAME}" for thread in threading.enumerate()))


def test_somebodys_label_does_not_lose_it(kubernetes, lock):
    with lock() as still_held:
        kubernetes.change(LEASES, "bots", NAME)
        still_held()


def test_an_api_that_fails_and_comes_back(kubernetes, lock):
    with lock(duration=1) as still_held:
        kubernetes.instead = (500, {}, '{"kind": "Status", "message": "etcdserver: leader changed"}')
        with pytest.raises(PlatformError, match="leader changed"):
            still_held()
        kubernetes.instead = None
        renewed = kubernetes.objects[LEASES, "bots", NAME]["spec"]["renewTime"]
        eventually(lambda: kubernetes.objects[LEASES, "bots", NAME]["spec"]["renewTime"] > renewed)
        still_held()


def test_a_renewal_whose_answer_got_lost(kubernetes, lock):
    with lock() as still_held:
        kubernetes.answers_to_lose = 1
        with pytest.raises(PlatformError, match="cannot be reached"):
            still_held()
        still_held()


def test_the_check_outside_the_block(kubernetes, lock):
    with lock() as still_held:
        pass
    with pytest.raises(PlatformError, match="has ended"):
        still_held()
    assert kubernetes.holder(NAME) == ""


# Where it cannot be had


def test_outside_a_cluster():
    with pytest.raises(InputError, match="MYNAH_LOCK"), lease_lock(None, "bots", NAME, "me", 1):
        pass


def test_the_namespace_is_the_pods_own(kubernetes, lock, tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "SERVICE_ACCOUNT", tmp_path)
    with pytest.raises(InputError, match="namespace"), lock(namespace=""):
        pass
    (tmp_path / "namespace").write_text("other\n")
    with lock(namespace=""):
        assert kubernetes.holder(NAME, "other").startswith("me_")


def test_a_namespace_that_is_not_there(lock):
    with pytest.raises(PlatformError, match="no namespace 'nowhere'"), lock(namespace="nowhere"):
        pass


@pytest.mark.parametrize("verb", ["get", "create", "update"])
def test_forbidden_names_the_rule_that_is_needed(kubernetes, lock, verb):
    if verb == "update":
        held_by_another(kubernetes, holderIdentity="")
    kubernetes.forbidden.add((verb, LEASES))
    rule = r"\{apiGroups: \[coordination.k8s.io\], resources: \[leases\], verbs: \[get, create, update\]\}"
    with pytest.raises(PlatformError, match=rule), lock():
        pass


def test_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")))
    started = time.monotonic()
    with pytest.raises(PlatformError, match="cannot be reached"), lease_lock(Cluster.connect("fake"), "bots", NAME, "me", 60):
        pass
    assert time.monotonic() - started < 60
