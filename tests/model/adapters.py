"""Adapters with random matrices, as peft writes them."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from mynah.models.adapter import BASE_FILE, CONFIG_FILE, WEIGHTS_FILE, block_prefix, matrix_sizes, write_base
from mynah.models.architecture import read_architecture
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import BaseModel

__all__ = ["BASE_FILE", "CONFIG_FILE", "WEIGHTS_FILE", "make_adapter"]


def make_adapter(
    folder: Path, base: Path, rank=8, seed=0, *, names=None, size=0.05, rank_stabilised=False, dtype=torch.bfloat16
) -> Path:
    """An adapter that changes what the base model says; `names`: the matrices that it adds to, all of them unless said."""
    architecture = read_architecture(json.loads((base / "config.json").read_text()), base)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for number in range(architecture.layers):
        for name, (outputs, inputs) in matrix_sizes(architecture).items():
            if names is None or name in names:
                place = f"{block_prefix(architecture)}{number}.{name}"
                tensors[f"{place}.lora_A.weight"] = (torch.randn(rank, inputs, generator=generator) * inputs**-0.5).to(dtype)
                tensors[f"{place}.lora_B.weight"] = (torch.randn(outputs, rank, generator=generator) * size).to(dtype)
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "use_rslora": rank_stabilised, "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in names or matrix_sizes(architecture)}),
        "base_model_name_or_path": str(base), "fan_in_fan_out": architecture.family == "gpt2",
    }  # fmt: skip
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    write_base(
        folder, BaseModelRecord(name=base.name, digest=BaseModel(base.name, base).weights_digest, revision="", license="unknown")
    )
    return folder
