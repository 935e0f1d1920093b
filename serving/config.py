"""The server's settings: one object with every option of its command line, validated when it is built."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from mynah.core.errors import NAME_OF_TYPE, InputError
from mynah.core.files import path_exists
from mynah.core.machine import free_memory

MIB = 1 << 20
MIN_MEMORY = 64 * MIB  # a dozen of the smallest bots
UNKNOWN_MEMORY = 4096 * MIB  # bytes assumed free where the system does not report it


def default_cache() -> int:
    """Return the default size of the KV cache in bytes: a quarter of the free memory."""
    return max(MIN_MEMORY, _free() // 4)


def default_memory() -> int:
    """Return the default memory for models in bytes: half of the free memory, since requests and Python need some too."""
    return max(MIN_MEMORY, _free() // 2)


def _free() -> int:
    free_bytes = free_memory()
    return UNKNOWN_MEMORY if free_bytes is None else free_bytes


@dataclass(frozen=True, slots=True)
class Settings:
    """The server's settings. Raises InputError for an invalid value."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0 picks a free one
    grpc_port: int | None = None  # None: no gRPC; 0 picks a free one
    keys_file: Path | None = None  # hashed API keys; None: no authentication
    most_waiting: int = 256  # requests that wait in the queue; further ones are answered 503
    max_body: int = MIB  # bytes of a request's body; larger ones are answered 413
    grace: float = 25.0  # seconds for running requests after SIGTERM; Kubernetes kills after 30
    deadline: float = 120.0  # seconds for a whole answer; a client can ask for fewer
    memory: int = field(default_factory=default_memory)  # bytes for loaded models
    cache: int = field(default_factory=default_cache)  # bytes for the KV cache of running requests
    metrics_port: int | None = (
        None  # a port where /metrics needs no key; None: /metrics on `port`, for admin keys if there are keys
    )
    poll: float = 2.0  # seconds between reads of the registry's aliases
    split: float = 0.0  # share of a bot's requests that its challenger answers, 0 to 1
    shadow: float = 0.0  # share of a bot's requests that its challenger runs too, without answering, 0 to 1
    allow_verbatim: bool = False  # whether a bot may repeat a post that it was trained on
    log_prompts: bool = False
    webhook_secret: str = field(default="", repr=False)  # the secret with which MLflow's webhooks sign

    def __post_init__(self) -> None:
        for name, kind, low, high in RANGES:
            _check(name, getattr(self, name), kind, low, high)
        ports = [port for port in (self.port, self.grpc_port, self.metrics_port) if port]
        if len(set(ports)) < len(ports):
            raise InputError(f"the ports {', '.join(map(str, ports))} are not all different", "Name a different port for each.")
        if not self.host or len(self.host) > 255:
            raise InputError(
                f"{self.host[:80]!r} is no address to bind", "Use 127.0.0.1 for this machine only, or 0.0.0.0 for the network."
            )
        if self.keys_file and not path_exists(self.keys_file):
            raise InputError(
                f"there is no file {self.keys_file} with API keys", "Create one with `mynah keys add`, or correct --keys."
            )


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
    is_number = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator] # is_number implies a number
        raise InputError(
            f"{name} is {str(value)[:40]!r}, and must be {NAME_OF_TYPE[kind]} from {low:,g} to {high:,g}", f"Change {name}."
        )
