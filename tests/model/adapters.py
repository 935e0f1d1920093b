"""Adapters with random matrices, as peft writes them."""

import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file

from mynah.decoding.decoder import KVCacheBatch
from mynah.models.adapter import BASE_FILE, CONFIG_FILE, WEIGHTS_FILE, block_prefix, matrix_sizes, write_base
from mynah.models.architecture import read_architecture
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import BaseModel

__all__ = ["BASE_FILE", "CONFIG_FILE", "WEIGHTS_FILE", "is_the_same_in_a_crowd", "make_adapter"]


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


def is_the_same_in_a_crowd(bots, seed):
    """Whether one bot's sequence is the same to the bit alone and in a crowd of bots that changes between any two steps."""
    rng = random.Random(seed)
    bot = rng.choice(bots)
    prompt, tokens = [bot.begin, *rng.sample(range(300), rng.randint(1, 9))], [rng.randrange(300) for _ in range(5)]
    alone = KVCacheBatch(bot.body)
    expected = [alone.add([prompt], [1], [bot.adapter])[-1], *(alone.step([token])[0] for token in tokens)]
    crowd = KVCacheBatch(bot.body)
    _join(crowd, rng, bots, rng.randint(0, 20))
    place = crowd.size
    found = [crowd.add([prompt], [1], [bot.adapter])[-1]]
    for token in tokens:
        _join(crowd, rng, bots, rng.randint(0, 6))
        while crowd.size > place + 1 and rng.random() < 0.7:
            crowd.remove(rng.randrange(place + 1, crowd.size))
        found.append(crowd.step([token if slot == place else rng.randrange(300) for slot in range(crowd.size)])[place])
    return all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def _join(crowd, rng, bots, count):
    others = [rng.choice(bots) for _ in range(count)]
    if others:
        prompts = [[other.begin, *rng.sample(range(300), rng.randint(0, 9))] for other in others]
        crowd.add(prompts, [1] * count, [other.adapter for other in others])
