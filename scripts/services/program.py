"""Run programs of servers in the background: find a free port, start, wait, stop all processes, and quote the log."""

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

from mynah.core.errors import PlatformError

# Prefixes of variables that a shell may set for other servers (AWS_PROFILE, PGPORT, CEPH_ARGS …), which must not affect ours.
OTHERS = ("AWS_", "CEPH_", "MLFLOW_", "_MLFLOW_", "PG")
SECONDS_TO_END = 10.0


@dataclass(eq=False)
class Program:
    """A program in a session of its own, which neither Ctrl-C nor the end of the terminal stops.

    Attributes:
        name: Its name, also of its log and pid file.
        command: The command.
        folder: The folder of its log and its pid file, by which another process can stop it (see `end`).
        environment: Further environment variables.
        ends_on: The signal that stops it.
    """

    name: str
    command: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ends_on: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.folder / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """The file with its process id."""
        return self.folder / f"{self.name}.pid"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program; call `wait_until` before using it."""
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
        """Wait until `ready()` returns True. Raises PlatformError with the end of the log when the program ends, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise PlatformError(f"{self.name} ended before it was ready", quoted(self.log))
            if time.monotonic() > deadline:
                raise PlatformError(f"{self.name} was not ready within {seconds:.0f} s", quoted(self.log))
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the program with its signal, and wait until it has ended."""
        self._end(self.ends_on)

    def kill(self) -> None:
        """Kill the program and its descendants, as in a crash (SIGKILL)."""
        self._end(signal.SIGKILL)

    def _end(self, by: signal.Signals) -> None:
        end(self.pid_file, by)
        if self._process is not None:
            self._process.wait()


def end(pid_file: Path, by: signal.Signals | None = None) -> None:
    """Stop the program that a pid file names, and its descendants. It is no error if it no longer runs.

    Processes that have not ended after SECONDS_TO_END are killed.

    Args:
        pid_file: The pid file.
        by: The signal; by default the program's own.
    """
    with contextlib.suppress(FileNotFoundError):
        recorded = json.loads(pid_file.read_text())
        by = by or signal.Signals(recorded["ends_on"])
        family = _family(recorded["pid"], recorded["created"])
        # A regular stop signals the first process, which stops the others; a crash ends all of them.
        _send(family if by == signal.SIGKILL else family[:1], by)
        running = _wait(family)
        _send(running, signal.SIGKILL)
        _wait(running)
        pid_file.unlink(missing_ok=True)


def runs(pid_file: Path) -> bool:
    """Return whether the program that `pid_file` names runs."""
    recorded = json.loads(pid_file.read_text())
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(recorded["pid"])
        return bool(process.create_time() == recorded["created"]) and _runs(process)
    return False


def _family(pid: int, created: float) -> list[psutil.Process]:
    """Return the process, its descendants, and the other processes of its session, which may outlive it."""
    try:
        first = psutil.Process(pid)
        if first.create_time() != created:  # it ended, and another process has its number
            return []
        family = [first, *first.children(recursive=True)]  # PostgreSQL's processes have sessions of their own
    except psutil.NoSuchProcess:
        family = []
    return family + [other for other in psutil.process_iter() if other not in family and _session(other.pid) == pid]


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
    """Wait SECONDS_TO_END at most, and return the processes that still run."""
    deadline = time.monotonic() + SECONDS_TO_END
    while (running := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return running


def _runs(process: psutil.Process) -> bool:
    # A zombie has ended. Its parent may reap it late or never: the first process of some containers does not.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def run(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None, seconds: float = 60) -> str:
    """Run a command to its end.

    Args:
        command: The command.
        log: The file that its stderr is appended to.
        environment: Further environment variables.
        seconds: The time limit.

    Returns:
        Its stdout.

    Raises:
        PlatformError: The command fails or takes too long; the message has the end of the log.
    """
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
    """Return this process's environment without the variables of other servers, and with `ours`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)} | dict(ours)


def quoted(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"The end of {log}:\n" + "\n".join(f"  {line[:300]}" for line in text.splitlines()[-lines:])


def find(program: str, package: str, folders: Sequence[Path] = ()) -> Path:
    """Find a program.

    Args:
        program: Its name.
        package: The Debian package that contains it.
        folders: The folders to search before PATH.

    Returns:
        Its path.

    Raises:
        PlatformError: It is not installed; the message names the package.
    """
    # An ordinary user's PATH on Debian lacks the folders of servers.
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if location := shutil.which(program, path=path):
        return Path(location)
    raise PlatformError(
        f"{program} is not installed (Debian's package {package})", f"apt-get install -y --no-install-recommends {package}"
    )


def free_port(wish: int = 0, *, insist: bool = True) -> int:
    """Return a free port on loopback.

    Other ports than `wish` are below the range from which Linux takes ports for outgoing connections, so that no other process gets the
    port while a server restarts. They are chosen at random, so that two servers that start at the same time rarely choose the same one.

    Args:
        wish: The preferred port; 0 for any.
        insist: Whether to fail when the preferred port is taken.

    Returns:
        The port.

    Raises:
        PlatformError: No port is free, or the preferred one is taken and `insist` is set: its owner would respond instead of our server.
    """
    for port in [wish] * bool(wish) + random.sample(range(20000, 32768), 100) * (not (wish and insist)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port just left is free
            listener.bind(("127.0.0.1", port))
            return port
    raise PlatformError(f"port {wish or '20000 and above'} on 127.0.0.1 is taken", "See what listens there: ss -ltnp")


def answers(port: int, path: str) -> bool:
    """Return whether an HTTP server on loopback responds to a GET of `path` with 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
