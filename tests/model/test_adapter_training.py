"""Training of adapters: our own forward pass computes what peft computes, for every architecture; it resumes, and says what it needs."""

import pytest
import torch
from small_models import MODELS, make_small

from components.finetune import base_memory
from components.finetune.data_packing import pack
from components.finetune.derived_settings import derive
from components.finetune.forward import TrainingForward
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError
from mynah.models.adapter import WEIGHTS_FILE
from mynah.models.base_models import resolve
from mynah.models.checkpoint import load
from mynah.models.scoring import token_rows
from mynah.training.recipe import build

POSTS = [*(f"My neighbour {n} listens to the rain" for n in range(9)), "x", "a much longer text " * 5]


def gradients(folder, *, bf16=False, own=True):
    """Of adapters that add something already, by name; and the loss in nats."""
    checkpoint = load(folder)
    recipe = derive(build("default", {"block": 64, "lora_rank": 3}), checkpoint.architecture, 500, None, "fp32")
    torch.manual_seed(3)
    forward = TrainingForward(checkpoint, recipe, bf16=bf16)
    assert (forward._cpu_body is None) == (checkpoint.architecture.family == "gpt2")
    if not own:
        forward._cpu_body = None
    for weight in forward.trainable().values():
        torch.nn.init.normal_(weight, 0.0, 0.05)
    nats = forward.nats(pack(token_rows(checkpoint, POSTS), 64))
    nats.backward()
    return {name: weight.grad for name, weight in forward.trainable().items()}, nats.item()


def distance(found, expected):
    """How far all gradients together are off, relative to their length."""
    off = sum((found[name] - expected[name]).square().sum() for name in expected)
    return (off / sum(each.square().sum() for each in expected.values())).sqrt().item()


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_peft(name, tmp_path):
    folder = make_small(name, tmp_path / "model")
    expected, nats = gradients(folder, own=False)
    found, own_nats = gradients(folder)
    assert found.keys() == expected.keys()
    assert own_nats == pytest.approx(nats, rel=1e-6)
    assert distance(found, expected) < 1e-5
    rounded, _ = gradients(folder, bf16=True, own=False)
    found, _ = gradients(folder, bf16=True)
    assert distance(found, expected) < 1.25 * distance(rounded, expected)


def test_nothing_but_adapters_gets_a_gradient(tmp_path):
    checkpoint = load(make_small("llama", tmp_path / "model"))
    recipe = derive(build("default", {"block": 64, "lora_rank": 3}), checkpoint.architecture, 500, None, "fp32")
    forward = TrainingForward(checkpoint, recipe, bf16=False)
    forward.nats(pack(token_rows(checkpoint, POSTS), 64)).backward()
    with_gradient = {name for name, weight in checkpoint.model.named_parameters() if weight.grad is not None}
    assert with_gradient == {name for name in forward.trainable() if "lora_" in name}
    assert len(with_gradient) == 2 * 7 * checkpoint.architecture.layers


def test_an_interrupted_adapter_resumes_and_ends_the_same_to_the_bit(data, tmp_path):
    base = make_small("llama", tmp_path / "base")
    recipe = build("default", {"epochs": 2, "lora_rank": 4, "learning_rate": 1e-2, "batch_tokens": 256})
    finetune(data, tmp_path / "whole", FinetuneSettings(str(base), recipe))

    def interrupt(step, _metrics):
        if step == 30:
            raise KeyboardInterrupt

    kept = FinetuneSettings(str(base), recipe, None, str(tmp_path / "states"), 0.0)
    with pytest.raises(KeyboardInterrupt):
        finetune(data, tmp_path / "resumed", kept, interrupt)
    [state] = (tmp_path / "states").glob("*/step-000029/state.safetensors")
    assert state.stat().st_size < (base / "model.safetensors").stat().st_size  # the frozen weights are not in it
    record = finetune(data, tmp_path / "resumed", kept)
    assert record.resumed_at
    assert (tmp_path / "resumed" / WEIGHTS_FILE).read_bytes() == (tmp_path / "whole" / WEIGHTS_FILE).read_bytes()


def test_the_memory_that_adapters_need_is_that_of_frozen_weights(tmp_path, monkeypatch):
    base = resolve(str(make_small("llama", tmp_path / "base")))
    weights = sum(weight.numel() for weight in load(base.folder).model.parameters() if weight.ndim > 1)
    monkeypatch.setattr(base_memory, "free_memory", lambda: 5 * weights)  # bytes
    base_memory.require_memory(base, build("default", {"lora_rank": 2}))
    with pytest.raises(InputError, match="training it takes at least") as refused:
        base_memory.require_memory(base, build("default", {}))
    assert "or adapters: --set lora_rank=8" in refused.value.fix
    with pytest.raises(InputError):
        base_memory.require_memory(base, build("default", {"lora_rank": 64}))
