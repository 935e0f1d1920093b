"""Many adapters on one base model in one server: `python -m tests.benchmarks.adapters [throughput] [peer] [thousand]`; all without a name.

SmolLM2-135M (`mynah bases`) with adapters of rank 16 on all linear layers, random matrices, over HTTP, clients in another process.
The sides of a comparison take turns; medians. The peer is transformers' `generate` with peft, fp32, one request at a time, the adapter
switched before each, as a server without batches of several adapters has to.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from mynah.core.threads import DECODING, wait_shortly
from mynah.models.base_models import resolve
from tests.benchmarks.load import PROMPT
from tests.benchmarks.serving import load, percentile, resident, serving
from tests.model.adapters import make_adapter

RANK, BOTS, DISTINCT, ROUNDS, TOKENS = 16, 1000, 64, 3, 32
CLIENTS = (64, 16, 1)
MEMORY = 1450  # MiB for the base model and a quarter of the adapters

PEER = """
import sys, time, torch
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, home, prompt, bots, tokens = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
ids = AutoTokenizer.from_pretrained(base)(prompt, return_tensors="pt")
names = [f"bot-{number:04d}" for number in range(bots)]
model = PeftModel.from_pretrained(model, home / names[0], adapter_name=names[0])
for name in names[1:]:
    model.load_adapter(home / name, adapter_name=name)
model.eval()
def ask(name):
    model.set_adapter(name)
    with torch.inference_mode():
        model.generate(**ids, do_sample=True, top_p=0.95, top_k=0, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0)
ask(names[0])
began = time.perf_counter()
for name in names[:ASKED]:  # one after the other: more of them are no faster
    ask(name)
print(ASKED * tokens / (time.perf_counter() - began))
""".replace("ASKED", "6")


def make(home: Path, base: Path, count: int) -> list[str]:
    """Bots in `home`; beyond the first DISTINCT, with files that they share on disk, and with memory of their own."""
    names = [f"bot-{number:04d}" for number in range(count)]
    for number, name in enumerate(names):
        if number < DISTINCT:
            make_adapter(home / name, base, RANK, number, size=0.02)
        else:
            shutil.copytree(home / names[number % DISTINCT], home / name, copy_function=os.link)
    return names


def throughput(home: Path, base: Path) -> None:
    """Tokens a second of as many clients over one bot and over one bot each."""
    names = make(home, base, DISTINCT)
    found: dict[tuple[int, str], list[float]] = {}
    with serving([("base", base), *((name, home / name) for name in names)]) as (url, _, _):
        load(url, names, clients=16, requests=DISTINCT, tokens=8)
        for clients in CLIENTS:
            sides = {"no adapter": ["base"], "one bot": names[:1], "a bot each": names[:clients]}
            for _ in range(ROUNDS):
                for side, bots in sides.items():
                    seen = load(url, bots, clients=clients, requests=max(4, clients), tokens=TOKENS)
                    assert not seen["failed"], seen["errors"]
                    found.setdefault((clients, side), []).append(seen["tokens"] / seen["wall"])
    print(f"\nTokens a second over HTTP, {TOKENS} new tokens each, medians of {ROUNDS}\n")
    print("| clients | no adapter | one bot | a bot each | ratio | bar |\n|---|---|---|---|---|---|")
    for clients in CLIENTS:
        none, one, each = (statistics.median(found[clients, side]) for side in ("no adapter", "one bot", "a bot each"))
        print(f"| {clients} | {none:.0f} | {one:.0f} | {each:.0f} | {each / one:.2f} | {'0.75' if clients == 64 else ''} |")


def peer(home: Path, base: Path) -> None:
    """16 clients over 16 bots beside transformers and peft."""
    bots, ours, theirs = make(home, base, 16), [], []
    command = [sys.executable, "-c", PEER, str(base), str(home), PROMPT, str(len(bots)), str(TOKENS)]
    with serving([(name, home / name) for name in bots]) as (url, _, _):
        load(url, bots, clients=16, requests=16, tokens=8)
        for _ in range(ROUNDS):
            theirs.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            seen = load(url, bots, clients=16, requests=48, tokens=TOKENS)
            ours.append(seen["tokens"] / seen["wall"])
    one, other = statistics.median(ours), statistics.median(theirs)
    print(f"\n16 clients over 16 bots: {one:.0f} tokens/s; transformers and peft {other:.1f}; ratio {one / other:.1f} (bar 5)")


def thousand(home: Path, base: Path) -> None:
    """A thousand bots, a quarter of them in memory: first tokens, and memory."""
    names = make(home, base, BOTS)
    with serving([(name, home / name) for name in names], MEMORY) as (url, pid, ready):
        load(url, names[-1:], clients=1, requests=3, tokens=8, stream=True)
        cold = load(url, names[400:], clients=1, requests=60, tokens=4, stream=True)
        warm = load(url, names[400:420], clients=1, requests=60, tokens=4, stream=True)
        crowd = load(url, names, clients=32, requests=BOTS // 3, tokens=4)
        print(
            f"\n{BOTS} bots, {MEMORY} MiB for models; ms to the first token, streamed, one client\n\n| | p50 | p99 | bar |\n|---|---|---|---|"
        )
        for what, seen, bar in (("cold", cold, 60), ("warm", warm, 30)):
            assert not seen["failed"], seen["errors"]
            times = [1e3 * each for each in seen["first"]]
            print(f"| {what} | {statistics.median(times):.1f} | {percentile(times, 0.99):.1f} | {bar} |")
        print(
            f"\nready after {ready:.1f} s; {resident(pid):.0f} MB resident after 32 clients asked a third ({crowd['failed']} errors), bar 2,500"
        )


MEASUREMENTS = {"throughput": throughput, "peer": peer, "thousand": thousand}


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    wait_shortly(DECODING)  # as `mynah serve` does
    base = resolve("smollm2").folder
    for name in sys.argv[1:] or list(MEASUREMENTS):
        with tempfile.TemporaryDirectory() as folder:
            MEASUREMENTS[name](Path(folder), base)


if __name__ == "__main__":
    main()
