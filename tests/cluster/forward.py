"""A way to a Service: `kubectl port-forward` at a port of this machine, opened again at the same port whenever it ends.

kubectl leads to one pod, and ends with it: when it is deleted, evicted or replaced.
"""

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.asked import ROOT
from tests.cluster.commands import Commands

SECONDS_TO_OPEN = 60.0
PAUSE = 0.05  # seconds between two looks at a process
PAUSE_TO_REOPEN = 1.0  # seconds: a Service may have no pod for a while
OPEN = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


class Way:
    """A way that is open, or is being opened again; its text is HOST:PORT."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.opened = 0  # times
        self.is_open = False
        self.ended = 0.0  # when it last ended, by the monotonic clock; 0 for never

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port}"

    def was_away_since(self, moment: float, seconds: float = 0) -> bool:
        """Whether a request that began then may have failed for want of a way, as is seen within `seconds`."""
        deadline = time.monotonic() + seconds
        while not (is_away := not self.is_open or self.ended >= moment) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return is_away


@contextlib.contextmanager
def forward(commands: Commands, namespace: str, service: str, port: int, local: int = 0) -> Iterator[Way]:
    """The way to a Service's port for as long as the `with` lasts. local: 0 lets kubectl choose a free one.

    Raises AssertionError with kubectl's words when it ends before it is open for the first time.
    """
    where = f"{namespace}/{service}"
    words = ("port-forward", "--namespace", namespace, "--address", "127.0.0.1", f"service/{service}")
    print("$", " ".join(commands.kubectl_words(*words, f"{local or ''}:{port}")), "&", flush=True)
    if commands.dry_run:
        yield Way(local or port)
        return
    commands.folder.mkdir(parents=True, exist_ok=True)
    log = commands.folder / f"port-forward-{service}.log"
    process, chosen = _opened(commands, (*words, f"{local or ''}:{port}"), where, log)
    way, over = Way(chosen), threading.Event()
    again = (*words, f"{chosen}:{port}")
    keeper = threading.Thread(target=_keep_open, args=(commands, again, where, log, process, way, over), daemon=True)
    way.opened, way.is_open = 1, True
    keeper.start()
    try:
        yield way
    finally:
        over.set()
        keeper.join()


def _keep_open(
    commands: Commands, words: tuple[str, ...], where: str, log: Path, process: "subprocess.Popen[bytes]", way: Way, over: threading.Event
) -> None:  # fmt: skip
    """Open a way again whenever it ends, until `over`; then close it."""
    while not over.wait(PAUSE):
        if process.poll() is None:
            continue
        if way.is_open:
            way.is_open, way.ended = False, time.monotonic()
            print(f"# the way to {where} ended, and is opened again: {_last_words(log)}", flush=True)
        try:
            process, _ = _opened(commands, words, where, log, over)
            way.opened, way.is_open = way.opened + 1, True
        except AssertionError:  # no pod yet
            over.wait(PAUSE_TO_REOPEN)
    _end(process)


def _opened(
    commands: Commands, words: tuple[str, ...], where: str, log: Path, over: threading.Event | None = None
) -> tuple["subprocess.Popen[bytes]", int]:
    """A process that leads to the Service, and the local port. Raises AssertionError when it does not open, or `over` is set meanwhile."""
    with log.open("w", encoding="utf-8") as out:  # a line for each connection, which a pipe would not hold
        argv = commands.kubectl_words(*words)
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, env=commands.environment, cwd=ROOT)
    deadline = time.monotonic() + SECONDS_TO_OPEN
    while not (found := OPEN.search(log.read_text("utf-8"))):
        problem = ""
        if process.poll() is not None:
            problem = f"the way to {where} is closed: {_last_words(log)}"
        elif time.monotonic() > deadline or (over and over.is_set()):
            problem = f"the way to {where} did not open in {SECONDS_TO_OPEN:.0f} s: {_last_words(log)}"
        if problem:
            _end(process)
            raise AssertionError(problem)
        time.sleep(PAUSE)
    return process, int(found[1])


def _last_words(log: Path) -> str:
    return log.read_text("utf-8").strip()[-500:] or "kubectl says nothing"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
