"""`mynah finetune` in a process of its own, and what it recorded."""

import json
import os
import subprocess
import sys

from mynah.training.recipe import build

FAST = build("default", {"epochs": 2, "learning_rate": 5e-3, "batch_tokens": 256})
MYNAH = [sys.executable, "-m", "pipelines", "finetune"]


def run(*words, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.run([*MYNAH, *map(str, words)], capture_output=True, text=True, timeout=240, env=environment, **options)


def curve(out):
    return [
        line["train_loss"] for line in map(json.loads, (out / "steps.jsonl").read_text().splitlines()) if "train_loss" in line
    ]
