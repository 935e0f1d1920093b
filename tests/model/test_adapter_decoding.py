"""Bots that are adapters of one base model: what they compute, that they share its memory and its batches, and that none changes another."""

import asyncio
import gc
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

import mynah.decoding.adapter
from mynah.core.errors import InputError
from mynah.decoding.kernels import TABLE
from mynah.decoding.model import load_model
from mynah.models.adapter import check_adapter
from mynah.models.adapter_weights import merge, read_adapter
from serving.engine.engine import Engine
from tests.model.adapters import WEIGHTS_FILE, is_the_same_in_a_crowd, make_adapter
from tests.model.engine_requests import ask, texts
from tests.model.runnable_kernels import RUNNABLE
from tests.model.small_models import MODELS, logits, make_small

RANKS = (1, 3, 4, 7, 16, 33)
FP32 = next(kernels for kernels in TABLE if kernels.name == "onednn-fp32")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_small("llama", tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def bots(base, tmp_path_factory):
    """Adapters of several ranks, and the base model itself."""
    folder = tmp_path_factory.mktemp("adapters")
    return [load_model(make_adapter(folder / str(rank), base, rank, rank)) for rank in RANKS] + [load_model(base)]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("family", MODELS)
def test_what_an_adapter_computes_is_what_the_merged_model_does(family, compiled, tmp_path, monkeypatch):
    if not compiled:
        monkeypatch.setattr(mynah.decoding.adapter, "is_compiled", lambda _: False)
    base = make_small(family, tmp_path / "base")
    names = ["self_attn.q_proj", "mlp.down_proj"] if family == "qwen2" else None  # an adapter of some matrices
    folder = make_adapter(tmp_path / "adapter", base, 6, 3, names=names, rank_stabilised=family == "qwen3")
    model = load_model(folder, FP32)
    ids = [model.begin, *model.encode("My dream is to fly over the")]
    theirs = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    with torch.inference_mode():
        before = theirs(torch.tensor([ids])).logits[0]
        merge(theirs, read_adapter(folder, model.architecture), check_adapter(folder).scale)
        merged, found = theirs(torch.tensor([ids])).logits[0], logits(model, ids)
    error = (found - merged).abs().mean() / (before - merged).abs().mean()
    assert error < (0.02 if compiled else 0.001), "int8 rounds what is added by a hundredth"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_a_sequence_is_the_same_to_the_bit_whatever_joins_and_leaves_beside_it(bots, seed):
    assert is_the_same_in_a_crowd(bots, seed)


def test_requests_of_many_bots_run_in_one_batch_and_get_the_texts_that_they_get_alone(bots):
    questions = [(bot, ask("I like", seed=seed, max_tokens=12, min_tokens=12, **kind))
                 for bot in bots for seed in (1, 2) for kind in ({}, {"top_k": 1})]  # fmt: skip
    seen = []

    class Look:
        def step(self, labels, batch, seconds):
            seen.append((len(labels), batch))

        def prefill(self, tokens):
            pass

    async def main(several):
        engine = Engine(observer=Look())
        engine.start()
        try:
            streams = [engine.submit(bot, question, str(id(bot))) for bot, question in several]
            return [texts(await stream.answers()) for stream in streams]
        finally:
            await engine.close(5)

    together = asyncio.run(main(questions))
    assert max(seen) == (len(bots), len(questions)), "one step for all of them"
    alone = [asyncio.run(main([question]))[0] for question in questions]
    assert together == alone
    assert len({str(answer) for answer in together}) > len(bots), "they are different bots"


def test_one_body_is_in_memory_for_all_its_bots_and_leaves_with_the_last(base, tmp_path):
    one, other = (load_model(make_adapter(tmp_path / str(rank), base, rank, rank), FP32) for rank in (2, 4))
    assert one.body is other.body is load_model(base, FP32).body
    assert 0 < one.own_bytes < other.own_bytes < one.body.nbytes
    assert one.nbytes == one.body.nbytes + one.own_bytes
    assert one.is_exact
    body = weakref.ref(one.body)
    del one, other
    gc.collect()
    assert body() is None


@pytest.mark.parametrize("kernels", [each for each in RUNNABLE if each.device == "cpu"], ids=lambda each: each.name)
@pytest.mark.parametrize("is_first", [True, False])
def test_gpt2_and_its_adapters_have_the_same_weights_in_memory(kernels, is_first, tmp_path):
    """Whichever is loaded first; what each computes is what it does alone."""
    base = make_small("gpt2", tmp_path / "base")
    folders = [base, make_adapter(tmp_path / "adapter", base, 4)]
    ids = [5, 6, 7, 8]
    alone = []
    for folder in folders:
        alone.append(logits(load_model(folder, kernels), ids))
        gc.collect()
    one, other = (load_model(folder, kernels) for folder in (folders if is_first else folders[::-1]))
    assert one.body is not other.body, "GELU is in another place"
    for layer, same in zip(one.body.layers, other.body.layers, strict=True):
        assert all(getattr(layer, name) is getattr(same, name) for name in ("qkv", "out", "up", "down"))
    assert all(getattr(one.body, name) is getattr(other.body, name) for name in ("head", "tokens", "positions", "tokenizer"))
    found = [logits(model, ids) for model in ((one, other) if is_first else (other, one))]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, alone, strict=True))


def test_an_adapter_keeps_no_more_than_half_of_its_file(base, tmp_path):
    folder = make_adapter(tmp_path / "adapter", base, 16)
    assert load_model(folder).own_bytes < 0.6 * (folder / WEIGHTS_FILE).stat().st_size


def test_a_base_model_that_changed_is_no_longer_the_adapters(base, tmp_path):
    own = make_small("llama", tmp_path / "base")
    folder = make_adapter(tmp_path / "adapter", own, 2)
    load_model(folder)
    weights = own / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(InputError, match="not on this machine"):
        load_model(folder)


def test_where_rows_depend_on_one_another_a_seed_is_decoded_alone(base, tmp_path, monkeypatch):
    monkeypatch.setattr(mynah.decoding.adapter, "is_compiled", lambda _: False)
    model = load_model(make_adapter(tmp_path / "adapter", base, 2), FP32)
    assert not model.is_exact
    assert model.apart().body is not model.body
    assert replace(model, adapter=None).is_exact
