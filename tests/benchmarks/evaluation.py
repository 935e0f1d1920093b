"""How long an evaluation takes: `python -m tests.benchmarks.evaluation [gpt2] [fledgling]`; both without a name.

240 held-out posts of julia.csv and 200 samples, each evaluation a process of its own, from its start to the report on disk. GPT-2 124M
has random weights, on which speed does not depend, but for the samples: none of them ends early. The peer is transformers' `generate`
in fp32, a batch of 32 prompts of one token, as many new tokens each as ours had at most, before and after ours.
Machines differ and wander: quote the ratios.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mynah.models.base_models import FLEDGLING_FOLDER
from tests.benchmarks.finetune import posts
from tests.benchmarks.gpt2 import make_gpt2

POSTS, HELD_OUT, SAMPLES, PEERS = 2400, 240, 200, 32
BARS = {"gpt2": 180, "fledgling": 15}  # seconds on two cores

PEER = """
import json, sys, time, torch
from transformers import GPT2LMHeadModel
from mynah.core.threads import cores_to_use
torch.set_num_threads(cores_to_use(torch.get_num_threads()))
model, tokens = GPT2LMHeadModel.from_pretrained(sys.argv[1], dtype="float32").eval(), int(sys.argv[2])
ids = torch.full((int(sys.argv[3]), 1), model.config.eos_token_id)
def generate(new):
    began = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_p=0.95, top_k=0,
                   min_new_tokens=new, max_new_tokens=new, pad_token_id=model.config.eos_token_id)
    return len(ids) * new / (time.perf_counter() - began)
generate(2)
print(json.dumps(generate(tokens)))
"""
OURS = """
import sys
from pathlib import Path
from components.evaluate.step import EvaluateSettings, evaluate
model, data, out, base = sys.argv[1:]
evaluate(Path(model), Path(data), Path(out), EvaluateSettings(base))
"""


def run(code: str, *words: Any) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def record(folder: Path, data: Path) -> Path:
    """training.json of a short training: what an evaluation reads of a model beside its weights."""
    from components.finetune.settings import FinetuneSettings
    from components.finetune.step import finetune
    from mynah.training.recipe import build

    finetune(data, folder / "tuned", FinetuneSettings("fledgling", build("default", {"epochs": 1})))
    return folder / "tuned"


def measure(name: str, folder: Path) -> None:
    """One row of the table."""
    from components.evaluate.samples import max_sample_tokens
    from mynah.data.datasets import read_texts
    from mynah.decoding.model import load_model

    data = posts(folder, POSTS)
    shutil.copy(folder / "all" / "funnel.json", data)
    tuned = record(folder, data)
    model, base = (folder / "model", make_gpt2(folder / "gpt2")) if name == "gpt2" else (tuned, FLEDGLING_FOLDER)
    if name == "gpt2":
        shutil.copytree(base, model)
        shutil.copy(tuned / "training.json", model)
    assert len(read_texts(data, "held_out")) == HELD_OUT
    tokens = max_sample_tokens(load_model(model), read_texts(data, "train"))
    before = float(run(PEER, model, tokens, PEERS))
    began = time.perf_counter()
    run(OURS, model, data, folder / "report", base)
    seconds = time.perf_counter() - began
    peer = statistics.mean((before, float(run(PEER, model, tokens, PEERS))))
    found = json.loads((folder / "report" / "metrics.json").read_text())
    assert found["samples"] == SAMPLES
    mine = found["sample_tokens_per_second"]
    sampling = SAMPLES / found["answers_per_second"]
    print(
        f"| {name} | {seconds:.1f} | {BARS[name]} | {sampling:.1f} | {mine:,.0f} | {peer:,.0f} | {mine / peer:.1f} |", flush=True
    )


def main() -> None:
    print(f"{os.cpu_count()} cores; {HELD_OUT} held-out posts, {SAMPLES} samples\n")
    print("| model | seconds | bar | of them sampling | tokens/s | `generate`, tokens/s | ratio |\n|---|---|---|---|---|---|---|")
    for name in sys.argv[1:] or BARS:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, Path(folder))


if __name__ == "__main__":
    main()
