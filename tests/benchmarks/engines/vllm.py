"""Mynah's server beside vLLM's build for processors, over HTTP on this machine, with the weights of SmolLM2-135M.

vLLM lives in an environment of its own (docs/benchmarks.md): `--vllm PYTHON` names its Python. Both keep bfloat16 where the processor has it.
"""

import shlex
import socket
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mynah.models.base_models import resolve
from tests.benchmarks.engines.processes import Server, processor, start_server
from tests.benchmarks.engines.servers import Measured, Side, measure, mynah

CLIENTS = (1, 16, 64)
BARS = {1: 1.3, 16: 2.0, 64: 2.0}
# A seed of a request's own is drawn from by a slower routine; the answers are as long with any.
WITHOUT_SEEDS = {"seed": None, "ignore_eos": True}


def vllm(python: str, checkpoint: Path) -> Side:
    """vLLM's server in bfloat16, with a cache that holds all clients' texts."""

    @contextmanager
    def start(_: int) -> Iterator[Server]:
        port = _free_port()
        options = {
            "host": "127.0.0.1", "port": port, "dtype": "bfloat16", "max-model-len": 512, "max-num-seqs": 64, "served-model-name": "gpt2",
        }  # fmt: skip
        words = [python, "-m", "vllm.entrypoints.cli.main", "serve", str(checkpoint)]
        words += [text for name, value in options.items() for text in (f"--{name}", str(value))]
        environment = (
            "OMP_NUM_THREADS=2 VLLM_CPU_KVCACHE_SPACE=2 VLLM_LOGGING_LEVEL=WARNING VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1"
        )
        command = f"echo http://127.0.0.1:{port} >&2; exec env {environment} {shlex.join(words)}"
        with start_server(["sh", "-c", command], "/v1/completions", WITHOUT_SEEDS, health="/health") as server:
            yield server

    return Side(start, CLIENTS, lambda _: (checkpoint / "model.safetensors").stat().st_size)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def compare(python: str, rounds: int) -> None:
    """Print tokens a second of both, in turn, and the ratio with its bar."""
    checkpoint = resolve("smollm2").folder
    print(f"{processor()}\nSmolLM2-135M, 64 new tokens; {rounds} rounds, medians (smallest to largest)\n", flush=True)
    sides = {"Mynah": mynah(checkpoint), "vLLM": vllm(python, checkpoint)}
    print("| clients | Mynah | vLLM | ratio | bar | other processes, cores |\n|---|---|---|---|---|---|")
    for clients in CLIENTS:
        found: dict[str, list[Measured]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                found[name].append(measure(side, clients))
        speeds = {name: sorted(each.speed for each in values) for name, values in found.items()}
        middle = {name: statistics.median(values) for name, values in speeds.items()}
        cells = [f"{middle[name]:.0f} ({values[0]:.0f} to {values[-1]:.0f})" for name, values in speeds.items()]
        others = max(each.others for each in found["Mynah"])
        print(
            f"| {clients} | {' | '.join(cells)} | {middle['Mynah'] / middle['vLLM']:.2f} | {BARS[clients]:g} | {others:.2f} |",
            flush=True,
        )
