"""The lock that holds across machines: contenders in processes of their own, over real HTTP, and what happens to holders."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from fake_kubernetes import LEASES, FakeKubernetes, write_kubeconfig

from components import lease as lease_module
from components.cluster import Cluster
from components.errors import InputError, PlatformError
from components.lease import lease_lock

NAME = "mynah-promote-wren"
RENEWED = "2026-01-01T00:00:00.000000Z"
CONTEND = f"""
import os, sys, time
import components.lease
from components.cluster import Cluster
from components.lease import lease_lock
components.lease.SECONDS_BETWEEN_TRIES = (0.0, 0.02)  # so that many see it free at once
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
cluster = Cluster.connect("fake")
for _ in range(4):
    with lease_lock(cluster, "bots", "{NAME}", "me", patience=60) as still_held:
        os.write(log, b"begin %d\\n" % os.getpid())
        time.sleep(0.03)
        still_held()
        os.write(log, b"end %d\\n" % os.getpid())
    time.sleep(0.05)  # for the others
"""
HOLD = f"""
import sys
from components.cluster import Cluster
from components.lease import lease_lock
with lease_lock(Cluster.connect("fake"), "bots", "{NAME}", "doomed", patience=5, duration=int(sys.argv[1])) as still_held:
    print("held", flush=True)
    sys.stdin.readline()
    still_held()
"""


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    fake = FakeKubernetes()
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", fake.url)))
    yield fake
    fake.stop()


@pytest.fixture
def lock(kubernetes):
    cluster = Cluster.connect("fake")

    def take(holder="me", patience=5.0, duration=15, namespace="bots"):
        return lease_lock(cluster, namespace, NAME, holder, patience, duration)

    return take


def start(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **pipes)


@pytest.fixture
def holder(kubernetes):
    """A process that holds the lock for 2 seconds at a time, until it reads a line."""
    process = start(HOLD, 2)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def held_by_another(kubernetes, renewed=RENEWED, **spec):
    there = {
        "holderIdentity": "another",
        "leaseDurationSeconds": 1,
        "acquireTime": renewed,
        "renewTime": renewed,
        "leaseTransitions": 3,
    }
    kubernetes.put(LEASES, "bots", NAME, metadata={"labels": {"kept": "yes"}}, spec=there | spec)


def eventually(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def seconds_to_take(lock, **how):
    started = time.monotonic()
    with lock(**how) as still_held:
        taken = time.monotonic() - started
        still_held()
    return taken


# Taking it, and letting it go


def test_six_processes_never_hold_it_at_once(kubernetes, tmp_path):
    log = tmp_path / "log"
    log.touch()
    contenders = [start(CONTEND, log) for _ in range(6)]
    for contender in contenders:
        _, said = contender.communicate(timeout=60)
        assert (contender.returncode, said) == (0, "")
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [word for word, _ in lines] == ["begin", "end"] * 24
    assert all(begin == end for (_, begin), (_, end) in zip(lines[::2], lines[1::2], strict=True))
    assert sorted(Counter(process for _, process in lines).values()) == [8] * 6


def test_threads_of_a_process_never_hold_it_at_once(lock):
    inside, most = [], []

    def contend():
        with lock(patience=30):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_what_the_lease_says(kubernetes, lock):
    with lock("wren-7"):
        found = kubernetes.objects[LEASES, "bots", NAME]
        assert found["spec"]["holderIdentity"].startswith("wren-7_")
        assert found["spec"]["leaseDurationSeconds"] == 15
        assert found["spec"]["leaseTransitions"] == 0
    assert kubernetes.holder(NAME) == ""
    with lock("heron-8"):
        assert kubernetes.objects[LEASES, "bots", NAME]["spec"]["leaseTransitions"] == 1


def test_what_others_wrote_beside_it_stays(kubernetes, lock):
    held_by_another(kubernetes, holderIdentity="", somethingNewer={"a": 1})
    with lock():
        found = kubernetes.objects[LEASES, "bots", NAME]
    assert found["metadata"]["labels"] == {"kept": "yes"} and found["spec"]["somethingNewer"] == {"a": 1}


@pytest.mark.parametrize("ended", [ValueError, KeyboardInterrupt])
def test_it_is_given_back_when_the_block_raises(kubernetes, lock, ended):
    with pytest.raises(ended), lock():
        raise ended
    assert kubernetes.holder(NAME) == ""
    assert seconds_to_take(lock) < 5


def test_an_api_that_fails_at_the_end_does_not_undo_what_was_done(kubernetes, lock):
    with lock():
        kubernetes.instead = (500, {}, "{}")


def test_patience_ends_and_names_the_holder(kubernetes, lock, holder):
    started = time.monotonic()
    with (
        pytest.raises(PlatformError, match=rf"another promotion has held the Lease bots/{NAME} \(as doomed_") as raised,
        lock(patience=3),
    ):
        pass
    assert 3 <= time.monotonic() - started < 60  # longer than the duration of 2 s: the holder renews it
    assert raised.value.fix
    holder.communicate("\n", timeout=10)
    assert holder.returncode == 0


def test_no_patience_is_one_try(kubernetes, lock):
    with lock(patience=0):
        started = time.monotonic()
        with pytest.raises(PlatformError, match="another promotion"), lock(patience=0):
            pass
        assert time.monotonic() - started < 60


# Following a holder that is gone


def test_a_killed_holder_is_followed_when_its_time_is_over(lock, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert 2 <= seconds_to_take(lock) < 10


@pytest.mark.parametrize("renewed", ["1970-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"])
def test_another_machines_clock_is_never_trusted(kubernetes, lock, renewed):
    held_by_another(kubernetes, renewed)
    assert 1 <= seconds_to_take(lock) < 10


def test_the_duration_is_the_holders_not_ours(kubernetes, lock):
    held_by_another(kubernetes, leaseDurationSeconds=2)
    assert 2 <= seconds_to_take(lock, duration=1) < 10


def test_a_renewal_seen_while_waiting_starts_the_time_anew(kubernetes, lock):
    held_by_another(kubernetes)
    renewal = threading.Timer(0.7, kubernetes.change, (LEASES, "bots", NAME), {"renewTime": "2026-01-01T00:00:01.000000Z"})
    renewal.start()
    assert 1.6 <= seconds_to_take(lock) < 10
    renewal.join()


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": None}, {"leaseTransitions": None, "holderIdentity": ""}])
def test_a_lease_that_nobody_holds(kubernetes, lock, spec):
    kubernetes.put(LEASES, "bots", NAME, spec=spec)
    assert seconds_to_take(lock) < 5


@pytest.mark.parametrize("duration", [None, 0])
def test_a_lease_without_a_duration_holds_for_ours(kubernetes, lock, duration):
    held_by_another(kubernetes, leaseDurationSeconds=duration)
    assert 1 <= seconds_to_take(lock, duration=1) < 10


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
