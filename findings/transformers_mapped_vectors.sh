#!/usr/bin/env bash
# transformers 5.17.0, safetensors 0.8.0, torch 2.13.0: a checkpoint with bf16 matrices and float32 norms, loaded with dtype="float32".
#
# Guess: the matrices are converted, so the file is closed after loading, and the model takes four bytes a weight.
# Seen: the norms, which need no conversion, are views of the memory-mapped file, and keep all of it mapped as long as the model lives. The
# pages that the conversion read stay resident: two bytes a weight more. A file whose tensors are all bf16 is unmapped after loading. Copying
# the vectors (a few kilobytes) unmaps it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.17.0 safetensors==0.8.0 numpy==2.4.6
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$folder/venv/bin/python" -W ignore - "$folder" <<'PY' 2>/dev/null
import gc
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM


def resident(folder):
    """Megabytes of the checkpoint's file that are mapped and resident."""
    total, inside = 0, False
    for line in open("/proc/self/smaps"):
        if line.split(":")[0].isalnum() is False and "-" in line.split()[0]:
            inside = f"{folder}/model.safetensors" in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return round(total / 1000)


def load(kind):
    folder = f"{sys.argv[1]}/{kind}"
    config = LlamaConfig(vocab_size=8000, hidden_size=512, intermediate_size=1024, num_hidden_layers=4, tie_word_embeddings=True)
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    tensors = load_file(f"{folder}/model.safetensors")
    if kind == "mixed":
        tensors = {name: tensor.float() if tensor.ndim == 1 else tensor.clone() for name, tensor in tensors.items()}
        save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
    size = round(sum(tensor.nbytes for tensor in tensors.values()) / 1e6)
    del tensors
    model = LlamaForCausalLM.from_pretrained(folder, dtype="float32")
    gc.collect()
    loaded = resident(folder)
    for weight in model.parameters():
        if weight.ndim == 1:
            weight.data = weight.data.clone()
    gc.collect()
    return size, loaded, resident(folder)


found = {kind: load(kind) for kind in ("bf16", "mixed")}
print("torch", torch.__version__, "megabytes of the file, resident after loading, after copying the vectors:", found)
assert found["bf16"][1:] == (0, 0), "a file of bf16 alone stays mapped too"
size, loaded, copied = found["mixed"]
assert loaded > 0.9 * size and copied == 0, "a mixed file is unmapped after loading, or not after copying its vectors"
PY
