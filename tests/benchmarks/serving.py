"""How fast the server answers: `python -m tests.benchmarks.serving [throughput] [first] [overhead] [soak] [bots] [start]`; all without a name.

The server runs in a process of its own and is asked over HTTP by clients in another, on the same machine. The peer is transformers'
`generate` in fp32, one request at a time under a lock (what KServe's own Hugging Face runtime amounts to), on the same random-weight
GPT-2 124M with the same prompt of five tokens, measured before and after ours. Machines differ and wander: quote the ratios.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mynah.models.base_models import FLEDGLING_FOLDER
from tests.benchmarks.gpt2 import make_gpt2, peer
from tests.benchmarks.load import PROMPT

SOAK_SECONDS = 120
BOTS = 1000
MEMORY = 3 * 1024  # MiB for models, so that the process as a whole stays under 4 GB


# The server, and its clients


SERVE = """
import sys, json
from pathlib import Path
from serving.server import serve
from serving.config import Settings
from serving.models.sources import FolderSource, ServedBot
bots = [ServedBot(name, "1", Path(folder)) for name, folder in json.loads(Path(sys.argv[1]).read_text())]
serve(FolderSource(bots), Settings(port=0, memory=int(sys.argv[2]) << 20))
"""


@contextmanager
def serving(bots: Sequence[tuple[str, Path]], memory: int = 4096) -> Iterator[tuple[str, int, float]]:
    """A server of `bots` with `memory` MiB for models: its URL, its process id, and the seconds that it took to be ready."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "bots.json")
        plan.write_text(json.dumps([(name, str(path)) for name, path in bots]))
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(plan), str(memory)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"http://[\d.:]+", line):
                break
        else:
            raise SystemExit("the server did not start")
        ready = time.perf_counter() - began
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield found.group(), process.pid, ready
        finally:
            process.terminate()
            process.wait(60)


def load(url: str, bots: Sequence[str] = ("gpt2",), **plan: Any) -> dict[str, Any]:
    """What the clients saw."""
    text = json.dumps({"url": url, "bots": list(bots), **plan})
    done = subprocess.run([sys.executable, "-m", "tests.benchmarks.load", text], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def resident(pid: int) -> float:
    """MB of memory that the process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


# The measurements


def throughput(folder: Path) -> None:
    print("\nTokens a second over HTTP, against transformers' generate (fp32), one request at a time\n")
    before = peer(folder)
    ours: dict[tuple[int, int], float] = {}
    with serving([("gpt2", folder)]) as (url, _, _):
        load(url, clients=4, requests=8, tokens=32)
        for tokens in (32, 128):
            for clients in (1, 4, 16, 64):
                seen = load(url, clients=clients, requests=max(6, 4 * clients), tokens=tokens)
                assert not seen["failed"], seen["errors"]
                ours[clients, tokens] = seen["tokens"] / seen["wall"]
        five = {tokens: load(url, clients=1, requests=6, tokens=tokens, n=5) for tokens in (32, 128)}
    after = peer(folder)
    theirs = {key: statistics.median(before[key] + after[key]) for key in before}
    bars = {1: "2", 4: "", 16: "12", 64: "20"}
    print("| clients | new tokens | generate | Mynah | ratio | bar |\n|---|---|---|---|---|---|")
    for (clients, tokens), found in ours.items():
        one = theirs[f"1 {tokens}"]
        print(f"| {clients} | {tokens} | {one:.0f} | {found:.0f} | {found / one:.1f} | {bars[clients]} |")
    for tokens, seen in five.items():
        one = theirs[f"5 {tokens}"]
        found = seen["tokens"] / seen["wall"]
        print(f"| 1, n = 5 | {tokens} | {one:.0f} | {found:.0f} | {found / one:.1f} | 3.5 |")


def first(folder: Path) -> None:
    print("\nSeconds to the first token, streamed, 32 new tokens\n")
    with serving([("gpt2", folder)]) as (url, _, _):
        load(url, clients=4, requests=8, tokens=32, stream=True)
        idle = load(url, clients=1, requests=40, tokens=32, stream=True)["first"]
        capacity = load(url, clients=16, requests=128, tokens=32)
        most = capacity["tokens"] / capacity["wall"] / 32
        print("| load | p50 ms | p99 ms | p50 against idle | bar |\n|---|---|---|---|---|")
        print(f"| none | {1e3 * statistics.median(idle):.1f} | {1e3 * percentile(idle, 0.99):.1f} | | |")
        loads: dict[str, dict[str, Any]] = {
            f"{share:.0%} of what 16 clients get ({share * most:.0f} requests/s, Poisson)": {
                "rate": share * most,
                "requests": 400,
            }
            for share in (0.3, 0.6, 0.9)
        }
        for clients in (4, 16, 64):
            for own, kind in ((False, "one prompt"), (True, "a prompt each")):
                loads[f"{clients} clients in lock-step, {kind}"] = {
                    "clients": clients,
                    "requests": 8 * clients,
                    "own_prompts": own,
                }
        for what, plan in loads.items():
            seen = load(url, tokens=32, stream=True, **plan)
            assert not seen["failed"], seen["errors"]
            middle = statistics.median(seen["first"])
            worst = 1e3 * percentile(seen["first"], 0.99)
            print(f"| {what} | {1e3 * middle:.1f} | {worst:.1f} | {middle / statistics.median(idle):.1f} | 3 |")


ENGINE = """
import asyncio, json, sys, time
from pathlib import Path
from mynah.models.sampling import Sampling
from mynah.decoding.request import GenerationRequest
from serving.engine.engine import Engine
from mynah.decoding.decoder import warm_up
from mynah.decoding.model import load_model
from mynah.decoding.threads import use_one_core
async def main():
    use_one_core()
    model = load_model(Path(sys.argv[1])); warm_up(model)
    engine = Engine(); engine.start()
    clients, requests, tokens = map(int, sys.argv[3:])
    left = iter(range(requests))
    async def one():
        for seed in left:
            await engine.submit(model, GenerationRequest((sys.argv[2],), Sampling(seed=seed, min_tokens=tokens, max_tokens=tokens))).answers()
    await asyncio.gather(*(one() for _ in range(4)))
    left = iter(range(requests))
    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    print(requests * tokens / (time.perf_counter() - began))
asyncio.run(main())
"""


def overhead(folder: Path) -> None:
    print(
        "\nHTTP, JSON and scheduling against the engine alone (its own queue and thread, no HTTP), tokens a second, medians of 3\n"
    )
    print("| clients | new tokens | engine | over HTTP | cost | bar |\n|---|---|---|---|---|---|")
    for clients, tokens in ((1, 128), (16, 128), (64, 128)):
        requests = max(8, 2 * clients)
        arguments = [sys.executable, "-c", ENGINE, str(folder), PROMPT, str(clients), str(requests), str(tokens)]
        alone, served = [], []
        for _ in range(3):
            alone.append(float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout))
            with serving([("gpt2", folder)]) as (url, _, _):
                load(url, clients=4, requests=8, tokens=32)
                seen = load(url, clients=clients, requests=requests, tokens=tokens)
                served.append(seen["tokens"] / seen["wall"])
        one, other = statistics.median(alone), statistics.median(served)
        print(f"| {clients} | {tokens} | {one:.0f} | {other:.0f} | {100 * (one / other - 1):.1f} % | 10 % |")


def soak(folder: Path) -> None:
    print(f"\n64 clients for {SOAK_SECONDS} s, 32 new tokens each\n")
    with serving([("gpt2", folder)]) as (url, pid, _):
        load(url, clients=64, seconds=20, tokens=32)
        sizes = [resident(pid)]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(5):
                sizes.append(resident(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        seen = load(url, clients=64, seconds=SOAK_SECONDS, tokens=32, spread=0.01)
        stop.set()
        watcher.join()
    middle, worst = statistics.median(seen["seconds"]), percentile(seen["seconds"], 0.99)
    half = len(sizes) // 2
    print(f"requests {len(seen['seconds'])}, errors {seen['failed']} {seen['errors']}")
    print(f"p50 {middle:.2f} s, p99 {worst:.2f} s, ratio {worst / middle:.2f} (bar 3)")
    print(
        f"memory after warm-up {sizes[0]:.0f} MB, largest in the first half {max(sizes[:half]):.0f} MB, in the second {max(sizes[half:]):.0f} MB"
    )


MAKE_BOTS = """
import sys, shutil, torch
from pathlib import Path
from safetensors.torch import load_file, save_file
base, out, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
weights = load_file(base / "model.safetensors")
for number in range(count):
    folder = out / f"bot-{number:04d}"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, folder)
    torch.manual_seed(number)
    key = "transformer.ln_f.weight"
    save_file({**weights, key: weights[key] * (1 + 0.01 * torch.randn_like(weights[key]))}, folder / "model.safetensors")
"""


def bots(folder: Path) -> None:
    print(
        f"\n{BOTS} distinct fledgling bots in one server, {MEMORY} MiB for models; ms to the first token, streamed, one client\n"
    )
    home = folder.parent / "bots"
    home.mkdir()
    subprocess.run([sys.executable, "-c", MAKE_BOTS, str(FLEDGLING_FOLDER), str(home), str(BOTS)], check=True)
    names = [path.name for path in sorted(home.iterdir())]
    with serving([(name, home / name) for name in names], MEMORY) as (url, pid, ready):
        load(url, names[:1], clients=1, requests=3, tokens=8, stream=True)
        cold = load(url, names[1:], clients=1, requests=BOTS - 1, tokens=8, stream=True)
        after = resident(pid)
        warm = load(url, names[-50:], clients=1, requests=300, tokens=8, stream=True)
        crowd = load(url, names, clients=32, requests=2 * BOTS, tokens=16)
        print("| | p50 | p99 | most | bar |\n|---|---|---|---|---|")
        for what, seen, bar in (("cold", cold, 300), ("warm", warm, 50)):
            times = [1e3 * each for each in seen["first"]]
            assert not seen["failed"], seen["errors"]
            print(f"| {what} | {statistics.median(times):.1f} | {percentile(times, 0.99):.1f} | {max(times):.1f} | {bar} |")
        print(f"\nready after {ready:.1f} s; memory {after:.0f} MB when each had been asked once (bar 4,000)")
        print(f"{resident(pid):.0f} MB after 32 clients asked all of them twice, {crowd['failed']} errors")
    shutil.rmtree(home)


def start(folder: Path) -> None:
    print("\nSeconds from the process's start to ready, `mynah serve --model-dir`, medians of 5\n")
    for what, where in (("fledgling", FLEDGLING_FOLDER), ("GPT-2 124M", folder)):
        times = []
        for _ in range(5):
            with serving([("bot", where)]) as (_, _, ready):
                times.append(ready)
        print(f"{what}: {statistics.median(times):.1f} s (bar 5)")


MEASUREMENTS = {"throughput": throughput, "first": first, "overhead": overhead, "soak": soak, "bots": bots, "start": start}


def main() -> None:
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_gpt2(Path(folder, "gpt2"))
        for name in wanted:
            MEASUREMENTS[name](checkpoint)


if __name__ == "__main__":
    main()
