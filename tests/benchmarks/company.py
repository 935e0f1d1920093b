"""What other work on the machine costs: `python -m tests.benchmarks.company [POLICY …]`.

Training, decoding and evaluation, each alone, beside one and three busy processes, and beside a second process of the same kind, by how
OpenMP's threads wait: for 1,000 turns, as Mynah's training and evaluation do, for 10,000, as its server does, by libgomp's default, and
not at all. Medians of three rounds in turn; ratios are to libgomp's default alone. Threads are as many as Mynah takes.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from mynah.core.threads import DECODING, TRAINING
from tests.benchmarks.engines.processes import processor
from tests.benchmarks.gpt2 import make_gpt2

SECONDS, ROUNDS = 3, 3
POLICIES = {
    "1,000 turns": {"GOMP_SPINCOUNT": TRAINING}, "10,000 turns": {"GOMP_SPINCOUNT": DECODING}, "libgomp's default": {},
    "not at all": {"OMP_WAIT_POLICY": "PASSIVE"},
}  # fmt: skip
COMPANY = {"alone": 0, "one busy process": 1, "three busy processes": 3, "another like it": -1}
BUSY = "while True: pass"
LOOP = """
import sys, time
from pathlib import Path
import torch
from mynah.core.threads import cores_to_use
torch.set_num_threads(cores_to_use(torch.get_num_threads()))
def measure(step):
    for _ in range(2):
        step()
    print("ready", flush=True)
    sys.stdin.readline()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        done += step()
    print(done / (time.perf_counter() - began), flush=True)
    while True:  # beside another
        step()
""".replace("SECONDS", str(SECONDS))
TRAIN = """
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING, resolve
from components.finetune.optimizer_step import Optimizer
from components.finetune.forward import TrainingForward
from components.finetune.derived_settings import derive
from components.finetune.process_group import ProcessGroup
from mynah.training.recipe import build
from components.finetune.device import computes_in_bf16
loaded = checkpoint.load(resolve(FLEDGLING).folder)
recipe = derive(build("default", {}), loaded.architecture, 60_000, None, "fp32")
loaded.model.train()
learner = Optimizer(TrainingForward(loaded, recipe, bf16=computes_in_bf16("cpu")), recipe, ProcessGroup())
rows = [[torch.randint(1, 5000, (129,)).tolist()] for _ in range(recipe.batch_tokens // 128)]
def step():
    learner.step(rows, 128 * len(rows), 1e-5)
    return 128 * len(rows)
measure(step)
"""
DECODE = """
import asyncio
from mynah.decoding.model import load_model
from mynah.decoding.threads import use_one_core
from mynah.models.sampling import Sampling
from serving.engine.engine import Engine
from mynah.decoding.request import GenerationRequest
use_one_core()
model, loop, engine = load_model(Path(FOLDER)), asyncio.new_event_loop(), Engine()
async def start():
    engine.start()
loop.run_until_complete(start())
async def answer():
    return await engine.submit(model, GenerationRequest(("My dream is",), Sampling(n=COUNT, min_tokens=12, max_tokens=12))).answers()
def step():
    loop.run_until_complete(answer())
    return COUNT * 12
measure(step)
"""
SCORE = """
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING, resolve
from mynah.models.scoring import total_nats
loaded = checkpoint.load(resolve(FLEDGLING).folder)
rows = [torch.randint(1, 5000, (40,)).tolist() for _ in range(50)]
def step():
    total_nats(loaded, rows)
    return 50 * 39
measure(step)
"""


def works(gpt2: Path) -> dict[str, str]:
    return {
        "training, fledgling": TRAIN,
        "held-out loss, fledgling": SCORE,
        "decoding, GPT-2, 1 sequence": DECODE.replace("FOLDER", repr(str(gpt2))).replace("COUNT", "1"),
        "decoding, GPT-2, 16 sequences": DECODE.replace("FOLDER", repr(str(gpt2))).replace("COUNT", "16"),
    }


def speed(code: str, policy: dict[str, str], company: int) -> float:
    """Tokens a second of `code` in a process of its own, beside so many busy ones; -1: beside another of itself."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    } | policy
    command = [sys.executable, "-c", LOOP + code]
    others = [[sys.executable, "-c", BUSY]] * company if company >= 0 else [command]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    ours, beside = subprocess.Popen(command, **pipes), []
    try:
        assert ours.stdout.readline() == "ready\n"
        beside = [subprocess.Popen(each, **pipes) for each in others]
        if company < 0:
            assert beside[0].stdout.readline() == "ready\n"
            print("", file=beside[0].stdin, flush=True)
        print("", file=ours.stdin, flush=True)
        return float(ours.stdout.readline())
    finally:
        for each in (ours, *beside):
            each.kill()
            each.wait()


def main() -> None:
    policies = {name: POLICIES[name] for name in sys.argv[1:]} or POLICIES
    print(f"{processor()}; {SECONDS} s each, medians of {ROUNDS}\n")
    print("| work | threads wait | " + " | ".join(COMPANY) + " |\n|---|---|" + "---|" * len(COMPANY))
    with tempfile.TemporaryDirectory() as home:
        for work, code in works(make_gpt2(Path(home, "gpt2"))).items():
            found = {(policy, company): [] for policy in policies for company in COMPANY}
            for _ in range(ROUNDS):
                for policy, company in found:
                    found[policy, company].append(speed(code, policies[policy], COMPANY[company]))
            medians = {key: statistics.median(values) for key, values in found.items()}
            base = medians.get(("libgomp's default", "alone"), max(medians.values()))
            for policy in policies:
                cells = [f"{medians[policy, company]:,.0f} ({medians[policy, company] / base:.2f})" for company in COMPANY]
                print(f"| {work} | {policy} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
