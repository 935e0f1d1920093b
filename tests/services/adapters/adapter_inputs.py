"""Adapters for tests, as peft writes them, and the folders around one that the steps before `register` leave."""

import json
import os
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path

from registry_inputs import make_outputs

from mynah.models.adapter import write_base
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import BaseModel

MODULES = ["c_attn", "c_proj", "c_fc"]  # of GPT-2's blocks


def make_base(folder: Path, checkpoint: Path) -> Path:
    """A copy of a checkpoint with weights that no other test has: stores outlive a test."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint, folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    noise = torch.Generator().manual_seed(int.from_bytes(os.urandom(7)))
    tensors[name] = tensors[name] + torch.randn(tensors[name].shape, generator=noise) / 100
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def make_adapter(folder: Path, base: Path, rank: int = 4, seed: int = 0) -> BaseModelRecord:
    """Write an adapter of random matrices for the GPT-2 in `base`; return what its base_model.json says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=rank, target_modules=MODULES, fan_in_fan_out=True, init_lora_weights=False, task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), config).save_pretrained(folder)
    (folder / "README.md").unlink()
    record = BaseModelRecord(base.name, BaseModel(base.name, base).weights_digest, "", "apache-2.0")
    write_base(folder, record)
    return record


def make_adapter_outputs(folder: Path, base: Path, author: str = "ann", seed: int = 0) -> Path:
    """The folders model, data, report and card of a bot of `author` whose model is an adapter of the GPT-2 in `base`."""
    outputs = make_outputs(folder, base, author)
    training = json.loads((outputs / "model" / "training.json").read_text())
    shutil.rmtree(outputs / "model")
    record = make_adapter(outputs / "model", base, seed=seed)
    training |= {"base_model": record.to_record(), "versions": training["versions"] | {"peft": version("peft")}}
    (outputs / "model" / "training.json").write_text(json.dumps(training))
    return outputs


def greedy(model, tokenizer) -> str:
    """What a model writes first without chance, in words of its tokenizer."""
    import torch

    ids = tokenizer("My dream", return_tensors="pt").input_ids
    with torch.no_grad():
        written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
    return str(tokenizer.decode(written[0]))


def expected(base: Path, adapter: Path) -> str:
    """What peft makes of an adapter and its base model, each in its own folder."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    return greedy(model, AutoTokenizer.from_pretrained(base))
