"""Steps that are one program of compiled functions: they compute what prompts do, and a sequence's is its own to the bit."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from mynah.decoding.compiled_blocks import runs_as_program
from mynah.decoding.decoder import KVCacheBatch
from mynah.decoding.model import load_model
from tests.model.adapters import is_the_same_in_a_crowd, make_adapter
from tests.model.runnable_kernels import RUNNABLE
from tests.model.small_models import END, SIZES, VOCABULARY, make_checkpoint, make_small

pytestmark = pytest.mark.skipif("avx2-int8" not in {each.name for each in RUNNABLE}, reason="this machine cannot run avx2-int8")

KERNELS = next((each for each in RUNNABLE if each.name == "avx2-int8"), None)
WIDE = SIZES | {"hidden_size": 512, "intermediate_size": 576, "num_attention_heads": 8, "num_key_value_heads": 2}
TOKENS = {"vocab_size": VOCABULARY, "bos_token_id": END, "eos_token_id": END}
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_positions=256, n_embd=512, n_layer=2, n_head=8, **TOKENS)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**WIDE, tie_word_embeddings=True)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**WIDE, head_dim=64)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**WIDE | {"num_hidden_layers": 7}, head_dim=64, sliding_window=16, query_pre_attn_scalar=32)
    ),
}
PROMPTS = [[END, 5, 6], [END], [END, *range(40, 75)], [END, 9], [END, 8, 7, 6], [END, 1]]
LATER = [[300, 17, 250, 4, 99], [12, 12, 12, 12, 12], [7, 77, 177, 277, 3], [1, 2, 3, 4, 5], [9, 8, 7, 6, 5], [40, 30, 20, 10, 0]]


@pytest.fixture(scope="module", params=MODELS)
def bots(request, tmp_path_factory):
    """Adapters of several ranks, and their base model itself."""
    folder = tmp_path_factory.mktemp("wide")
    base = make_checkpoint(MODELS[request.param], folder / "base")
    return [load_model(make_adapter(folder / str(rank), base, rank, rank), KERNELS) for rank in (1, 4, 7, 16)] + [
        load_model(base, KERNELS)
    ]


@pytest.fixture(scope="module")
def on_one_body(bots):
    return [each for each in bots if each.body is bots[0].body]


def test_wide_models_are_computed_so_and_narrow_ones_are_not(bots, tmp_path):
    assert all(runs_as_program(each.body) for each in bots)
    assert not runs_as_program(load_model(make_small("llama", tmp_path / "narrow"), KERNELS).body)


def test_steps_compute_what_prompts_do(bots):
    """Five tokens one after the other, and all of them with their prompt at once, of one sequence and of several bots' at once."""
    for group in (bots[:1], bots[-1:], [each for each in bots if each.body is bots[0].body]):
        adapters = [group[place % len(group)].adapter for place in range(len(PROMPTS))][: 1 if len(group) == 1 else None]
        prompts, later = PROMPTS[: len(adapters)], LATER[: len(adapters)]
        batch, whole = KVCacheBatch(group[0].body), KVCacheBatch(group[0].body)
        batch.add(prompts, [1] * len(prompts), adapters)
        found = [batch.step([each[number] for each in later]) for number in range(len(LATER[0]))]
        expected = whole.add([[*one, *other] for one, other in zip(prompts, later, strict=True)], [1] * len(prompts), adapters)
        rows = torch.split(expected, [len(one) + len(other) for one, other in zip(prompts, later, strict=True)])
        for place, row in enumerate(rows):
            assert torch.equal(torch.stack([each[place] for each in found]), row[-len(found) :])


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_a_sequence_is_the_same_to_the_bit_whatever_joins_and_leaves_beside_it(on_one_body, bots, seed):
    assert is_the_same_in_a_crowd(on_one_body, seed)
    assert is_the_same_in_a_crowd(bots[-1:], seed)


def test_steps_are_the_same_to_the_bit_with_any_threads(bots):
    def steps(threads):
        torch.set_num_threads(1)  # prompts are read by torch, whose bits may change with the threads
        batch = KVCacheBatch(bots[0].body)
        batch.add(PROMPTS, [1] * len(PROMPTS), [bots[0].adapter, None] * (len(PROMPTS) // 2))
        torch.set_num_threads(threads)
        return torch.stack([batch.step([each[number] for each in LATER]) for number in range(3)])

    before = torch.get_num_threads()
    try:
        first, *others = [steps(threads) for threads in (1, 2, 3)]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(first, other) for other in others)


def test_weights_that_are_broken_show_and_touch_no_other_row(tmp_path):
    """What is no number stays so: the sampler then ends the sample."""
    folder = make_checkpoint(MODELS["gpt2"], tmp_path / "broken")
    sound = load_model(folder, KERNELS)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["transformer.wte.weight"][7] = torch.nan
    save_file(tensors, path, {"format": "pt"})
    states = []
    for body in (sound.body, load_model(folder, KERNELS).body):
        batch = KVCacheBatch(body)
        batch.add([[END], [END]], [1, 1])
        states.append(batch.step([5, 7]))
    assert torch.equal(states[0][0], states[1][0])
    assert torch.isfinite(states[0]).all()
    assert not torch.isfinite(states[1][1]).any()


def test_programs_compute_what_torchs_operations_do(bots):
    for bot in (bots[0], bots[-1]):
        batches = KVCacheBatch(bot.body), KVCacheBatch(bot.body)
        batches[1]._is_program = False
        prompts, adapters, copies = PROMPTS[:3], [bot.adapter] * 3, [1, 3, 2]
        found, expected = (batch.add(prompts, copies, adapters) for batch in batches)
        assert torch.allclose(found, expected, atol=0.01 * float(expected.abs().max()))
        for tokens in ([1, 2, 3, 4, 5, 6], [9, 9, 9, 8, 8, 8]):
            found, expected = (batch.step(tokens) for batch in batches)
            assert torch.allclose(found, expected, atol=0.01 * float(expected.abs().max()))


def test_programs_are_copies_that_keep_no_body_in_memory(bots):
    """Templates of programs are kept for each body, and a batch's program is another's with the addresses of its own memory."""
    loaded = load_model(bots[-1].folder, KERNELS)
    own = replace(loaded.body)

    def steps(body):
        batch = KVCacheBatch(body)
        first = batch.add([[END, 3, 4], [END]], [2, 1])
        return torch.cat([first, batch.step([5, 6, 7]), batch.step([8, 9, 10])])

    assert torch.equal(steps(own), steps(own))
    gone = weakref.ref(own)
    del own, loaded
    gc.collect()
    assert gone() is None
