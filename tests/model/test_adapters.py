"""Adapters as folders: what `mynah finetune` writes loads in peft and transformers, and a broken one is refused with its reason."""

import json
import shutil
from datetime import UTC, datetime

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_models import make_small

from components.export.step import export_checkpoint
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError
from mynah.data.datasets import read_texts
from mynah.models import checkpoint
from mynah.models.adapter import BASE_FILE, CONFIG_FILE, WEIGHTS_FILE, check_adapter, matrix_sizes, read_base
from mynah.models.adapter_weights import read_adapter
from mynah.models.architecture import read_architecture
from mynah.models.base_models import resolve
from mynah.models.merged import write_merged
from mynah.models.scoring import score
from mynah.registry.versions import BotVersion
from mynah.training.recipe import build

SETS = {"epochs": 2, "lora_rank": 4, "learning_rate": 2e-2, "batch_tokens": 256}
FAMILIES = ("gpt2", "llama")


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request, data, tmp_path_factory):
    """A base model, an adapter of it, and the record of its training."""
    folder = tmp_path_factory.mktemp("adapters")
    base = make_small(request.param, folder / "base")
    record = finetune(data, folder / "adapter", FinetuneSettings(str(base), build("default", SETS)))
    return base, folder / "adapter", record


@pytest.fixture
def broken(trained, tmp_path):
    """A copy of an adapter, to be damaged."""
    return shutil.copytree(trained[1], tmp_path / "broken")


def architecture(base):
    return read_architecture(checkpoint.check_folder(base), base)


def test_the_folder_holds_an_adapter_and_no_model(trained):
    base, folder, record = trained
    names = {path.name for path in folder.iterdir()}
    assert {CONFIG_FILE, WEIGHTS_FILE, BASE_FILE, "training.json", "steps.jsonl"} <= names
    assert not {"config.json", "tokenizer.json", "model.safetensors"} & names
    of = architecture(base)
    tensors = load_file(folder / WEIGHTS_FILE)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert len(tensors) == 2 * of.layers * (4 if of.family == "gpt2" else 7)
    assert read_base(folder) == record.base_model
    assert read_base(folder).digest == resolve(str(base)).weights_digest
    assert check_adapter(folder).base_path == str(base)


def test_its_loss_is_that_of_training(trained, data):
    base, folder, record = trained
    losses = [epoch.held_out_loss for epoch in record.history]
    assert losses[-1] < losses[0] - 0.1
    held_out = read_texts(data, "held_out")
    assert score(checkpoint.load(folder), held_out).loss == pytest.approx(min(losses), abs=2e-3)  # bf16 rounds the matrices
    assert score(checkpoint.load(base), held_out).loss == pytest.approx(losses[0], abs=1e-4)


def test_peft_and_transformers_load_it_without_a_network(trained, monkeypatch):
    _, folder, _ = trained
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, pipeline

    ours = checkpoint.load(folder)
    ids = torch.tensor([ours.tokenizer("The bird sings").input_ids])
    with torch.inference_mode():
        expected = ours.model(ids).logits
        for loaded in (AutoPeftModelForCausalLM.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)):
            assert torch.allclose(loaded.eval().float()(ids).logits, expected, atol=1e-4)
    generator = pipeline("text-generation", model=str(folder))
    text = generator("The bird", do_sample=False, max_new_tokens=8)[0]["generated_text"]
    with torch.inference_mode():
        [greedy] = ours.model.generate(**ours.tokenizer("The bird", return_tensors="pt"), do_sample=False, max_new_tokens=8)
    assert text == ours.tokenizer.decode(greedy, skip_special_tokens=True)


def test_merging_writes_a_checkpoint_that_needs_neither(trained, data, tmp_path):
    base, folder, _ = trained
    write_merged(folder, tmp_path / "merged")
    assert not {CONFIG_FILE, WEIGHTS_FILE, BASE_FILE} & {path.name for path in (tmp_path / "merged").iterdir()}
    loaded = checkpoint.load(tmp_path / "merged").model.state_dict()
    expected = checkpoint.load(folder).model.state_dict()
    assert loaded.keys() == checkpoint.load(base).model.state_dict().keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in loaded)


def test_training_merges_where_it_is_asked_to(trained, data, tmp_path):
    base, _, record = trained
    merged = finetune(data, tmp_path / "model", FinetuneSettings(str(base), build("default", SETS | {"merge": True})))
    assert merged.best_loss == pytest.approx(record.best_loss, abs=1e-6)
    assert not (tmp_path / "model" / WEIGHTS_FILE).exists()
    found = checkpoint.load(tmp_path / "model")
    assert score(found, read_texts(data, "held_out")).loss == pytest.approx(merged.best_loss, abs=1e-4)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rank=st.integers(1, 9),
    alpha=st.sampled_from([1, 3.5, 32]),
    rank_stabilised=st.booleans(),
    names=st.sets(st.integers(0, 6), min_size=1),
)
def test_an_adapter_of_peft_adds_what_peft_adds(trained, tmp_path, rank, alpha, rank_stabilised, names):
    """Of any rank and scale, and on some of the matrices alone."""
    from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model

    base, ours, _ = trained
    of = architecture(base)
    every = sorted({name.rpartition(".")[2] for name in matrix_sizes(of)})
    config = LoraConfig(
        r=rank, lora_alpha=alpha, use_rslora=rank_stabilised, target_modules=[every[number % len(every)] for number in names],
        init_lora_weights=False, fan_in_fan_out=of.family == "gpt2",
    )  # fmt: skip
    model = get_peft_model(checkpoint.load(base).model, config)
    folder = tmp_path / "peft"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    shutil.copy(ours / BASE_FILE, folder)
    set_config(folder, CONFIG_FILE, base_model_name_or_path=str(base))
    expected = AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload().state_dict()
    found = checkpoint.load(folder).model.state_dict()
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in expected)


def test_an_export_is_merged(trained, tmp_path):
    base, folder, _ = trained
    version = BotVersion("wren", 1, datetime.now(UTC), {})
    assert "model.safetensors" in export_checkpoint(folder, version, "folder", tmp_path / "folder").files
    exported = checkpoint.load(tmp_path / "folder").model.state_dict()
    expected = checkpoint.load(folder).model.state_dict()
    assert all(torch.equal(exported[name], expected[name]) for name in expected)
    assert export_checkpoint(folder, version, "gguf", tmp_path / "gguf").files == ["wren.gguf"]
    again = checkpoint.load(resolve(str(tmp_path / "gguf" / "wren.gguf")).folder).model.state_dict()
    for name in again:
        assert torch.allclose(again[name], expected[name], atol=1e-2)  # f16
    assert not all(
        torch.allclose(again[name], each, atol=1e-2) for name, each in checkpoint.load(base).model.state_dict().items()
    )


def rewrite(folder, change):
    """Write an adapter's tensors after a change of them, a dictionary."""
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def first(tensors, side="A"):
    return next(name for name in tensors if f"lora_{side}" in name)


def reshape(tensors):
    tensors[first(tensors)] = tensors[first(tensors)][:, :-1].contiguous()


def not_finite(value):
    def change(tensors):
        tensors[first(tensors, "B")][0, 0] = value

    return change


def rename(tensors):
    tensors["base_model.model.lm_head.lora_A.weight"] = tensors.pop(first(tensors))


def another_block(tensors):
    name = first(tensors)
    tensors[name.replace(".0.", ".7.")] = tensors[name].clone()


def integers(tensors):
    tensors[first(tensors)] = tensors[first(tensors)].to(torch.int8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (reshape, r"has the shape \[4, \d+\], and \[4, \d+\] belongs to rank 4"),
        (not_finite(torch.nan), "numbers that are not finite"),
        (not_finite(torch.inf), "numbers that are not finite"),
        (rename, "belongs to no matrix of its base model"),
        (another_block, "belongs to no matrix of its base model"),
        (integers, "has the type I8"),
        (lambda tensors: tensors.pop(first(tensors)), "has only its matrix B"),
        (lambda tensors: tensors.clear(), "holds no matrices"),
    ],
)
def test_wrong_tensors_are_refused(trained, broken, change, said):
    rewrite(broken, change)
    with pytest.raises(InputError, match=said):
        read_adapter(broken, architecture(trained[0]))
    with pytest.raises(InputError, match=said):
        checkpoint.load(broken)


def set_config(folder, file, **values):
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | values))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: set_config(folder, CONFIG_FILE, r=0), "the rank is 0"),
        (lambda folder: set_config(folder, CONFIG_FILE, r=8), r"\[8, \d+\] belongs to rank 8"),
        (lambda folder: set_config(folder, CONFIG_FILE, peft_type="IA3"), "type 'IA3'"),
        (lambda folder: set_config(folder, CONFIG_FILE, use_dora=True), "use_dora is not supported"),
        (lambda folder: set_config(folder, CONFIG_FILE, alora_invocation_tokens=[5]), "alora_invocation_tokens is not supported"),
        (
            lambda folder: set_config(folder, CONFIG_FILE, layer_replication=[[0, 1], [0, 1]]),
            "layer_replication is not supported",
        ),
        (lambda folder: set_config(folder, CONFIG_FILE, use_rslora="false"), "'use_rslora'"),
        (lambda folder: set_config(folder, CONFIG_FILE, lora_alpha=float("nan")), "a finite number belongs"),
        (lambda folder: set_config(folder, BASE_FILE, digest="0" * 32), "not on this machine"),
        (lambda folder: (folder / BASE_FILE).unlink(), "without base_model.json"),
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), "without adapter_model.safetensors"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"\x08" * 40), "cannot be used"),
        (lambda folder: shutil.copy(folder / WEIGHTS_FILE, folder / "model.safetensors"), "both an adapter and full weights"),
    ],
)
def test_broken_folders_are_refused(broken, damage, said):
    damage(broken)
    with pytest.raises(InputError, match=said) as refused:
        checkpoint.load(broken)
    assert refused.value.fix


def test_a_base_model_that_is_gone_is_named(broken, tmp_path):
    set_config(broken, CONFIG_FILE, base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(InputError, match="belongs to the base model base with the digest"):
        checkpoint.load(broken)


def test_an_adapter_is_no_base_model(trained):
    with pytest.raises(InputError, match="an adapter, and no model by itself"):
        resolve(str(trained[1]))
