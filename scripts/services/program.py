"""A server's program in the background, and what all of them need: a free port, an end that leaves nothing, a log to quote."""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from components.errors import PlatformError

# What a person's shell sets for other servers (AWS_PROFILE, PGPORT, MLFLOW_TRACKING_URI, CEPH_ARGS …) must not reach ours.
OTHERS = ("AWS_", "CEPH_", "MLFLOW_", "_MLFLOW_", "PG")
SECONDS_TO_END = 10.0


@dataclass(eq=False)
class Program:
    """A program in a session of its own, so that neither Ctrl-C nor the end of the terminal reaches it.

    `folder` holds its log and its pid file, by which another process can end it: see `end`.
    """

    name: str
    command: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ends_on: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """Where it writes what it has to say."""
        return self.folder / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Which process it is."""
        return self.folder / f"{self.name}.pid"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; `wait_until` tells when it can be used."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=clean_environment(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        identity = {"pid": self._process.pid, "created": psutil.Process(self._process.pid).create_time()}
        self.pid_file.write_text(json.dumps(identity | {"ends_on": self.ends_on}))

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`. Raises PlatformError with the end of the log when the program ends, or `seconds` have passed."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise PlatformError(f"{self.name} ended before it was ready", quoted(self.log))
            if time.monotonic() > deadline:
                raise PlatformError(f"{self.name} was not ready within {seconds:.0f} s", quoted(self.log))
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order, and wait for that."""
        self._end(self.ends_on)

    def kill(self) -> None:
        """End it and all that it started at once, as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def _end(self, by: signal.Signals) -> None:
        end(self.pid_file, by)
        if self._process is not None:
            self._process.wait()


def end(pid_file: Path, by: signal.Signals | None = None) -> None:
    """End the program that `pid_file` names and all that it started, by its own signal or `by`; fine when it runs no more.

    What has not ended after SECONDS_TO_END is killed.
    """
    with contextlib.suppress(FileNotFoundError):
        recorded = json.loads(pid_file.read_text())
        by = by or signal.Signals(recorded["ends_on"])
        family = _family(recorded["pid"], recorded["created"])
        # In good order the first of them tells the others; a crash takes them all.
        _send(family if by == signal.SIGKILL else family[:1], by)
        stubborn = _wait(family)
        _send(stubborn, signal.SIGKILL)
        _wait(stubborn)
        pid_file.unlink(missing_ok=True)


def runs(pid_file: Path) -> bool:
    """Whether the program that `pid_file` names runs."""
    recorded = json.loads(pid_file.read_text())
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(recorded["pid"])
        return bool(process.create_time() == recorded["created"]) and _runs(process)
    return False


def _family(pid: int, created: float) -> list[psutil.Process]:
    """The process, its descendants, and what else is left of its session when it died before them."""
    try:
        first = psutil.Process(pid)
        if first.create_time() != created:  # it ended, and its number went to another
            return []
        found = [first, *first.children(recursive=True)]  # PostgreSQL's processes have sessions of their own
    except psutil.NoSuchProcess:
        found = []
    return found + [other for other in psutil.process_iter() if other not in found and _session(other.pid) == pid]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _wait(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Wait SECONDS_TO_END at most, and return those that still run."""
    deadline = time.monotonic() + SECONDS_TO_END
    while (running := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return running


def _runs(process: psutil.Process) -> bool:
    # A zombie has ended. Its parent may be long in taking note, or never do so: not every container's first process does.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def run(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None, seconds: float = 60) -> str:
    """Run a command to its end and return its stdout. Raises PlatformError with what it said on stderr when it fails."""
    try:
        with log.open("ab") as errors:
            done = subprocess.run(
                command,
                env=clean_environment(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                check=True,
                timeout=seconds,
            )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"{Path(command[0]).name} failed: {str(error)[-200:]}", quoted(log)) from error
    return done.stdout


def clean_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would lead our servers elsewhere, and with `ours`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)} | dict(ours)


def quoted(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"The end of {log}:\n" + "\n".join(f"  {line[:300]}" for line in text.splitlines()[-lines:])


def find(program: str, package: str, folders: Sequence[Path] = ()) -> Path:
    """The path of a program in `folders`, else in PATH. Raises PlatformError naming the Debian package that has it."""
    # An ordinary user's PATH on Debian lacks the folders of servers.
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if found := shutil.which(program, path=path):
        return Path(found)
    raise PlatformError(
        f"{program} is not installed (Debian's package {package})", f"apt-get install -y --no-install-recommends {package}"
    )


def free_port(wish: int = 0, *, insist: bool = True) -> int:
    """`wish` where it is free on loopback; else, unless we `insist`, another that is.

    Others lie below the range from which Linux takes ports for outgoing connections, so that nobody else gets one between the
    stop and the start of a server that is to come back on the same port. They are drawn, not counted up: two that start at once
    hardly meet. Raises PlatformError when `wish` is taken and we insist: whoever has it would answer in our server's stead.
    """
    for port in [wish] * bool(wish) + random.sample(range(20000, 32768), 100) * (not (wish and insist)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port just left is free
            listener.bind(("127.0.0.1", port))
            return port
    raise PlatformError(f"port {wish or '20000 and above'} on 127.0.0.1 is taken", "See what listens there: ss -ltnp")


def answers(port: int, path: str) -> bool:
    """Whether an HTTP server on loopback answers a GET with 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
