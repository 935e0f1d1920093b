"""A server in a process of its own: starting it, and reading what it holds and took from Linux's /proc."""

import os
import re
import resource
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS_TO_START = 300


@dataclass(frozen=True)
class Server:
    """A server that answers OpenAI's completions.

    Args:
        url: such as http://127.0.0.1:8080.
        pid: its process.
        path: the route of completions.
        body: fields that every request to it has beside the common ones.
    """

    url: str
    pid: int
    path: str
    body: dict[str, Any] = field(default_factory=dict)

    def get(self, path: str) -> str:
        """The text at `path`."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())


@contextmanager
def start_server(command: Sequence[str], path: str, body: dict[str, Any] | None = None, *, health: str = "") -> Iterator[Server]:
    """Run `command` until the block ends; it names its URL on stderr.

    Args:
        command: the server's.
        path: the route of completions.
        body: fields that every request to it has.
        health: a route that answers 200 once the server is ready, for one that names its URL before it is.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        lines: list[str] = []
        assert process.stderr
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://[\d.]+:\d+", line):
                break
        else:
            raise SystemExit(f"{command[0]} did not start:\n{''.join(lines[-20:])}")
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop the server
        server = Server(found.group(), process.pid, path, body or {})
        if health:
            _wait_until_healthy(server, health, process)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_healthy(server: Server, path: str, process: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < ends and process.poll() is None:
        try:
            server.get(path)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{server.url}{path} did not answer 200 within {SECONDS_TO_START} s, or the server ended")


@dataclass(frozen=True)
class Memory:
    """Bytes of memory that a process holds: `resident` in all, `own` with shared pages counted by their share (PSS)."""

    resident: int
    own: int


def memory_of(pid: int) -> Memory:
    """What the process holds now."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return Memory(*(int(lines[name].split()[0]) * 1024 for name in ("Rss", "Pss")))


class OtherWork:
    """How many cores the rest of the machine took while a block ran, the server and this process's children left out."""

    def __init__(self, server: Server) -> None:
        self._pid = server.pid
        self.cores = 0.0

    def __enter__(self) -> "OtherWork":
        self._began = time.monotonic()
        self._before = self._seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.cores = (self._seconds() - self._before) / (time.monotonic() - self._began)

    def _seconds(self) -> float:
        ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        everything = (
            sum(ticks) - ticks[3] - ticks[4]
        )  # less idle and iowait; https://man7.org/linux/man-pages/man5/proc_stat.5.html
        own = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()
        everything -= int(own[11]) + int(own[12])
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return everything / os.sysconf("SC_CLK_TCK") - children.ru_utime - children.ru_stime


def processor() -> str:
    """The processor in a line: its name, cores, and whether it has AVX-512 and bf16."""
    lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    facts = {name.strip(): value.strip() for name, value in lines}
    name = facts.get("model name") or facts.get("CPU part", "unknown")
    flags = set((facts.get("flags") or facts.get("Features", "")).split())
    cores = sum(key.strip() == "processor" for key, _ in lines)
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16", "sve")
    return f"{name}, {cores} cores, of {', '.join(known)}: {', '.join(flag for flag in known if flag in flags) or 'none'}"
