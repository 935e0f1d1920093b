"""Leases in a fake cluster, and processes that hold one."""

import subprocess
import time

from fake_kubernetes_objects import LEASES

from tests.fork_client import RUN_CODE

NAME = "mynah-promote-wren"
RENEWED = "2026-01-01T00:00:00.000000Z"
HOLD = f"""
import sys
from mynah.kubernetes.cluster import Cluster
from mynah.kubernetes.lease import lease_lock
with lease_lock(Cluster.connect("fake"), "bots", "{NAME}", "doomed", timeout=5, duration=int(sys.argv[1])) as still_held:
    print("held", flush=True)
    sys.stdin.readline()
    still_held()
"""


def start(code, *arguments):
    command = [*RUN_CODE, code, *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **pipes)


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
