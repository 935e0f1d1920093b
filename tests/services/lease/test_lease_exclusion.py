"""The lock that holds across machines: contenders in processes of their own, and who follows a holder that died."""

import signal
import threading
import time
from collections import Counter

import pytest
from fake_kubernetes_objects import LEASES

from mynah.core.errors import PlatformError
from tests.services.lease.leases import NAME, held_by_another, seconds_to_take, start

CONTEND = f"""
import os, sys, time
import mynah.kubernetes.lease
from mynah.kubernetes.cluster import Cluster
from mynah.kubernetes.lease import lease_lock
mynah.kubernetes.lease.SECONDS_BETWEEN_TRIES = (0.0, 0.02)  # so that many see it free at once
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
cluster = Cluster.connect("fake")
for _ in range(4):
    with lease_lock(cluster, "bots", "{NAME}", "me", timeout=60) as still_held:
        os.write(log, b"begin %d\\n" % os.getpid())
        time.sleep(0.03)
        still_held()
        os.write(log, b"end %d\\n" % os.getpid())
    time.sleep(0.05)  # for the others
"""

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
        with lock(timeout=30):
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
        lock(timeout=3),
    ):
        pass
    assert 3 <= time.monotonic() - started < 60  # longer than the duration of 2 s: the holder renews it
    assert raised.value.fix
    holder.communicate("\n", timeout=10)
    assert holder.returncode == 0


def test_no_patience_is_one_try(kubernetes, lock):
    with lock(timeout=0):
        started = time.monotonic()
        with pytest.raises(PlatformError, match="another promotion"), lock(timeout=0):
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
