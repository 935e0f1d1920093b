"""How a server runs: one object that carries every choice of its command line, and refuses nonsense when it is built."""

import contextlib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import NAME_OF_TYPE, InputError
from components.files import there_is

MIB = 1 << 20
LEAST_MEMORY = 64 * MIB  # a dozen of the smallest bots


def free_memory() -> int:
    """Bytes that this process may still take: what the machine has available, or what its container is allowed, if less."""
    found = [_available(), *_allowed(Path("/sys/fs/cgroup"))]
    return max(0, min(found))


def default_cache() -> int:
    """Bytes for the keys and values of running requests where nobody says: a quarter of what is free."""
    return max(LEAST_MEMORY, free_memory() // 4)


def default_memory() -> int:
    """Bytes for models where nobody says: half of what is free, for requests and Python need room too."""
    return max(LEAST_MEMORY, free_memory() // 2)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told. Raises InputError for a value that makes no sense."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0 picks a free one
    grpc_port: int | None = None  # None: no gRPC; 0 picks a free one
    keys_file: Path | None = None  # hashed API keys; None: anybody may ask
    most_waiting: int = 256  # requests that may wait for their turn; past it 503
    max_body: int = MIB  # bytes of a request's body; past it 413
    grace: float = 25.0  # seconds for running requests after SIGTERM; Kubernetes kills after 30
    deadline: float = 120.0  # seconds for a whole answer; a caller may ask for fewer
    memory: int = field(default_factory=default_memory)  # bytes for loaded models
    cache: int = field(default_factory=default_cache)  # bytes for running requests' keys and values
    metrics_port: int | None = None  # where /metrics is open to all who reach it; None: on the port, and with keys for admins
    poll: float = 2.0  # seconds between looks at the registry's aliases
    split: float = 0.0  # share of a bot's requests that its challenger answers, 0 to 1
    shadow: float = 0.0  # share of a bot's requests that its challenger gets a copy of, unanswered, 0 to 1
    allow_verbatim: bool = False  # may a bot repeat a post that it was trained on?
    log_prompts: bool = False
    webhook_secret: str = field(default="", repr=False)  # of MLflow's webhooks, whose hints it signs

    def __post_init__(self) -> None:
        for name, kind, low, high in RANGES:
            _check(name, getattr(self, name), kind, low, high)
        ports = [port for port in (self.port, self.grpc_port, self.metrics_port) if port]
        if len(set(ports)) < len(ports):
            raise InputError(f"the ports {', '.join(map(str, ports))} are not all different", "Each needs one of its own.")
        if not self.host or len(self.host) > 255:
            raise InputError(f"{self.host[:80]!r} is no address to bind", "127.0.0.1 is this machine alone; 0.0.0.0 the network.")
        if self.keys_file and not there_is(self.keys_file):
            raise InputError(f"there is no file {self.keys_file} with API keys", "Make one with `mynah keys`, or correct --keys.")


RANGES: tuple[tuple[str, type, float, float], ...] = (
    ("port", int, 0, 65535),
    ("grpc_port", int, 0, 65535),
    ("most_waiting", int, 1, 100_000),
    ("max_body", int, 1024, 1024 * MIB),
    ("grace", float, 0, 3600),
    ("deadline", float, 0.1, 86_400),
    ("memory", int, MIB, 1 << 50),
    ("cache", int, MIB, 1 << 50),
    ("metrics_port", int, 0, 65535),
    ("poll", float, 0.1, 3600),
    ("split", float, 0, 1),
    ("shadow", float, 0, 1),
)


def _check(name: str, value: object, kind: type, low: float, high: float) -> None:
    if value is None and name in ("grpc_port", "metrics_port"):
        return
    number = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise InputError(
            f"{name} is {str(value)[:40]!r}, and must be {NAME_OF_TYPE[kind]} from {low:,g} to {high:,g}", f"Change {name}."
        )


def _available() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096 * MIB


def _allowed(group: Path) -> list[int]:
    """What the container's memory limit leaves, where there is one; cached files count as free, for the kernel drops them first."""
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
        limit, used = (int((group / f"memory.{what}").read_text()) for what in ("max", "current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return [limit - used + int(counts.get("inactive_file", 0))]
    return []
