"""Mynah's server beside llama.cpp's and transformers', over HTTP on this machine.

Each of them serves the same random-weight GPT-2 124M: ours in the type that its kernel keeps, llama.cpp's server in q8_0, transformers in
float32 under a lock. One server is up at a time; the sides take turns at each number of clients, and the medians of the rounds count.

All sides draw by top-p 0.95 from the whole vocabulary. llama.cpp sorts it for that, 50,257 tokens by one thread, which takes as long as
the rest of a token does; by its own defaults it cuts to the 40 likeliest tokens first. So it is measured that way too, where it does
less than the others do.
"""

import importlib.util
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mynah.core.threads import cores_to_use
from tests.benchmarks.engines.processes import Memory, OtherWork, Server, memory_of, processor, start_server
from tests.benchmarks.gpt2 import make_gpt2
from tests.benchmarks.serving import load

TOKENS = 64
CLIENTS = (1, 4, 16, 64)
LOCKED_CLIENTS = (1, 4, 16)  # under a lock, 64 clients wait for as long as they like and get what 16 get
BARS = {1: (2.0, 0.9), 16: (10.0, 3.0), 64: (15.0, 4.0)}  # clients: (of transformers', of llama.cpp's)
MYNAH, TRANSFORMERS, LLAMA, LLAMA_TOP_K = "Mynah", "transformers, float32", "llama.cpp, q8_0", "llama.cpp, q8_0, top-k 40"


@dataclass(frozen=True)
class Side:
    """One of the servers.

    Args:
        start: runs the server that is best for a number of clients.
        clients: the numbers of clients to measure.
        weights: bytes of the model as it is kept, asked of the running server.
    """

    start: Callable[[int], AbstractContextManager[Server]]
    clients: tuple[int, ...]
    weights: Callable[[Server], int]


@dataclass(frozen=True)
class Measured:
    """What one server did for one number of clients."""

    speed: float  # tokens a second, of all clients together
    memory: Memory
    weights: int
    others: float  # cores that other processes took meanwhile
    about: str  # what the server says of itself


def mynah(checkpoint: Path) -> Side:
    """Mynah's server, as `mynah serve` starts it."""

    @contextmanager
    def start(_: int) -> Iterator[Server]:
        command = [sys.executable, "-m", "pipelines", "serve", "--model-dir", str(checkpoint), "--name", "gpt2", "--port", "0"]
        with start_server(command, "/openai/v1/completions") as server:
            yield server

    def weights(server: Server) -> int:
        found = re.search(r"^mynah_models_bytes (\S+)", server.get("/metrics"), re.MULTILINE)
        return int(float(found.group(1))) if found else 0

    return Side(start, CLIENTS, weights)


def transformers(checkpoint: Path) -> Side:
    """transformers' `generate` under a lock."""

    @contextmanager
    def start(_: int) -> Iterator[Server]:
        command = [sys.executable, "-m", "tests.benchmarks.engines.transformers_server", str(checkpoint), str(_threads())]
        with start_server(command, "/v1/completions") as server:
            yield server

    return Side(start, LOCKED_CLIENTS, lambda _: (checkpoint / "model.safetensors").stat().st_size)


def llama(program: str, gguf: Path, top_k: int) -> Side:
    """llama.cpp's server with a slot per client; `top_k` 0 is no limit."""
    # The samplers that are not wanted take time even where their settings turn them off.
    body = {
        "ignore_eos": True,
        "top_k": top_k,
        "samplers": ["top_k", "top_p", "temperature"] if top_k else ["top_p", "temperature"],
    }

    @contextmanager
    def start(clients: int) -> Iterator[Server]:
        command = [program, "--model", str(gguf), "--host", "127.0.0.1", "--port", "0", *llama_options(clients)]
        with start_server(command, "/v1/completions", body, health="/health") as server:
            yield server

    return Side(start, CLIENTS, lambda _: gguf.stat().st_size)


def llama_options(clients: int) -> list[str]:
    """The options that were fastest for `clients`: its defaults, flash attention and repacked weights among them, and a slot each.

    Slower on AVX2: one cache for all slots at 64 clients (half), no flash attention (0.75 to 0.95), keys and values in float32, smaller
    batches, samplers on the backend (0.8).
    """
    threads = str(_threads())
    context = 128 * clients  # prompt and answer are under 128 tokens
    return ["--threads", threads, "--threads-batch", threads, "--parallel", str(clients), "--ctx-size", str(context)]


def _threads() -> int:
    import torch

    return cores_to_use(torch.get_num_threads())


def measure(side: Side, clients: int) -> Measured:
    """Start the server, warm it up, and let `clients` ask at once, again and again."""
    with side.start(clients) as server:
        load(server.url, clients=min(clients, 4), requests=min(clients, 4), tokens=16, path=server.path, body=server.body)
        requests = clients if side.clients is LOCKED_CLIENTS and clients > 1 else max(4, 2 * clients)
        with OtherWork(server) as others:
            seen = load(server.url, clients=clients, requests=requests, tokens=TOKENS, path=server.path, body=server.body)
        if seen["failed"] or seen["tokens"] != requests * TOKENS:
            raise SystemExit(f"{server.url}: {seen['failed']} errors, {seen['tokens']} tokens: {seen['errors']}")
        speed = seen["tokens"] / seen["wall"]
        return Measured(speed, memory_of(server.pid), side.weights(server), others.cores, _about(server))


def _about(server: Server) -> str:
    """The kernel that Mynah's server works with, by its metrics; "" for another server."""
    if not server.path.startswith("/openai"):
        return ""
    found = re.search(r"^mynah_kernels\w*\{(.*)\}", server.get("/metrics"), re.MULTILINE)
    return found.group(1) if found else "not told by /metrics"


def compare(program: str, rounds: int) -> None:
    """Print the tables of a comparison of `rounds` rounds; `program` is llama.cpp's server, or "" for none."""
    print(f"{processor()}\n", flush=True)
    with tempfile.TemporaryDirectory() as home:
        checkpoint = make_gpt2(Path(home, "gpt2"))
        sides = {MYNAH: mynah(checkpoint), TRANSFORMERS: transformers(checkpoint)}
        if shutil.which(program) and importlib.util.find_spec("gguf"):
            from mynah.models.gguf.write import write_gguf

            gguf = write_gguf(checkpoint, Path(home, "gpt2.gguf"), "q8_0")
            sides |= {LLAMA: llama(program, gguf, 0), LLAMA_TOP_K: llama(program, gguf, 40)}
        else:
            missing = "the package gguf (pip install gguf)" if shutil.which(program) else program or "llama-server"
            print(
                f"llama.cpp is left out: {missing} was not found (--llama-server PATH, or LLAMA_SERVER, names its server)\n",
                flush=True,
            )
        found: dict[tuple[str, int], list[Measured]] = {}
        for _ in range(rounds):
            for clients in CLIENTS:
                for name, side in sides.items():
                    if clients in side.clients:
                        found.setdefault((name, clients), []).append(measure(side, clients))
    _print_speeds(found, rounds)
    _print_memory(found)


def _print_speeds(found: dict[tuple[str, int], list[Measured]], rounds: int) -> None:
    speeds = {key: statistics.median(each.speed for each in values) for key, values in found.items()}
    others = [each.others for values in found.values() for each in values]
    print(f"Mynah's kernel: {found[MYNAH, 1][0].about}")
    print(f"Other processes took {statistics.median(others):.2f} cores meanwhile, at most {max(others):.2f}")
    print(
        f"\nTokens a second over HTTP, {TOKENS} new tokens after a prompt of five, medians of {rounds} rounds (smallest to largest)\n"
    )
    names = [name for name in (MYNAH, TRANSFORMERS, LLAMA, LLAMA_TOP_K) if (name, 1) in found]
    print(f"| clients | {' | '.join(names)} |\n|---|" + "---|" * len(names))
    for clients in CLIENTS:
        print(f"| {clients} | {' | '.join(_range(found.get((name, clients), [])) for name in names)} |")
    print(f"\nMynah's ratio to each, with the bar\n\n| clients | {' | '.join(names[1:])} |\n|---|" + "---|" * (len(names) - 1))
    for clients in CLIENTS:
        ratios = [speeds[MYNAH, clients] / _peer(speeds, name, clients) for name in names[1:]]
        bars = [f" (bar {bar:g})" for bar in BARS[clients]] if clients in BARS else ["", ""]
        cells = [f"{ratio:.2f}{bar}" for ratio, bar in zip(ratios, [*bars, ""], strict=False)]
        print(f"| {clients} | {' | '.join(cells)} |")


def _peer(speeds: dict[tuple[str, int], float], name: str, clients: int) -> float:
    return speeds[name, min(clients, max(LOCKED_CLIENTS)) if name == TRANSFORMERS else clients]


def _range(values: list[Measured]) -> str:
    if not values:
        return f"as {max(LOCKED_CLIENTS)}"
    speeds = sorted(each.speed for each in values)
    return f"{statistics.median(speeds):.0f} ({speeds[0]:.0f} to {speeds[-1]:.0f})"


def _print_memory(found: dict[tuple[str, int], list[Measured]]) -> None:
    print("\nMemory after the last request, MB, the largest of the rounds; PSS counts what processes share by its share\n")
    print("| server | clients | weights | RSS | PSS |\n|---|---|---|---|---|")
    for (name, clients), values in sorted(found.items()):
        weights = max(each.weights for each in values)
        resident, own = (max(getattr(each.memory, what) for each in values) for what in ("resident", "own"))
        print(f"| {name} | {clients} | {weights / 1e6:.0f} | {resident / 1e6:.0f} | {own / 1e6:.0f} |")
