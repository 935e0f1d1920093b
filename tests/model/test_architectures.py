"""Every supported architecture, small and with random weights: the decoder computes what transformers computes, training lowers the loss,
and other architectures are refused."""

import json
from itertools import accumulate
from pathlib import Path

import pytest
import small_models
import torch
from small_models import LLAMA3, SIZES, VOCABULARY, make_checkpoint
from torch.nn.functional import cross_entropy
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from components.finetune.data_packing import pack
from components.finetune.derived_settings import derive
from components.finetune.forward import TrainingForward
from mynah.core.errors import InputError
from mynah.decoding.decoder import KVCacheBatch
from mynah.decoding.kernels import runnable
from mynah.decoding.model import load_model
from mynah.models.architecture import SUPPORTED, read_architecture
from mynah.models.checkpoint import load
from mynah.models.scoring import token_rows, total_nats
from mynah.training.recipe import build

NEAR_ROPE = LLAMA3 | {"factor": 8.0, "original_max_position_embeddings": 64}  # its three ranges lie within the context
MODELS = small_models.MODELS | {
    "llama, Llama 3's positions within the context": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=NEAR_ROPE)),
    "qwen2, windows": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=16, max_window_layers=1)
    ),
    "gemma3, every second layer with a window": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**SIZES, head_dim=32, sliding_window=16, sliding_window_pattern=2, query_pre_attn_scalar=24)
    ),
    "gemma3, caps": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**SIZES, head_dim=32, sliding_window=16, final_logit_softcapping=3.0)
    ),
}
KERNELS = [each for each in runnable() if not each.on_request]
# Of logits divided by their standard deviation, on average.
NEAR = {"float32": 1e-4, "float16": 1e-3, "bfloat16": 1e-2, "int8": 1e-2}


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory):
    """A checkpoint whose norms, too, have weights of their own."""
    return make_checkpoint(MODELS[request.param], tmp_path_factory.mktemp("architecture") / "model")


@pytest.fixture(scope="module")
def reference(folder):
    return load(folder)


def logits(batch, hidden):
    """Those of the model's own vocabulary, with the number that the decoder leaves out."""
    return (batch.logits(hidden) + (hidden @ batch.body.mean)[:, None])[:, : batch.body.architecture.vocabulary]


@pytest.mark.parametrize("kernels", KERNELS, ids=lambda kernels: kernels.name)
def test_logits_are_those_of_transformers(folder, reference, kernels):
    """Of prompts that are longer and shorter than the windows, and of tokens after them; and the same to the bit alone."""
    model = load_model(folder, kernels)
    generator = torch.Generator().manual_seed(1)
    sequences = [torch.randint(0, VOCABULARY, (length,), generator=generator).tolist() for length in (60, 27, 60, 21)]
    prompts = [ids[:-20] for ids in sequences]
    batch = KVCacheBatch(model.body)
    hidden = batch.add(prompts, [1] * len(prompts))
    states = [hidden[torch.tensor([*accumulate(map(len, prompts))]) - 1]]
    states += [batch.step([ids[place - 20] for ids in sequences]) for place in range(20)]
    found = [logits(batch, each) for each in states]
    with torch.inference_mode():
        for row, ids in enumerate(sequences):
            expected = reference.model(torch.tensor([ids])).logits[0, -21:].float()
            error = (torch.stack([each[row] for each in found]) - expected).abs().mean() / expected.std()
            assert error < NEAR[kernels.weights], (row, error)
    if model.is_exact:
        for row, ids in enumerate(sequences):
            alone = KVCacheBatch(model.body)
            steps = [alone.add([prompts[row]], [1])[-1:], *(alone.step([each]) for each in ids[-20:])]
            for step, together in zip(steps, states, strict=True):
                assert torch.equal(step[0], together[row])
                assert torch.equal(alone.logits(step)[0], batch.logits(together)[row])


@pytest.mark.parametrize("length", [20, 160])
@pytest.mark.parametrize("kernels", KERNELS, ids=lambda kernels: kernels.name)
def test_heads_that_share_keys_give_the_same_beside_a_long_text(tmp_path, kernels, length):
    """Llama 3 and Gemma 3 have four query heads a key head, TinyLlama eight; the cache is as long as the longest text needs."""
    config = LlamaConfig(**SIZES | {"hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 64})
    model = load_model(make_checkpoint(lambda: LlamaForCausalLM(config), tmp_path / "model"), kernels)
    if not model.is_exact:
        pytest.skip(f"{kernels.name} does not promise it; its seeds are decoded alone")
    generator = torch.Generator().manual_seed(1)
    prompt, long = (torch.randint(0, VOCABULARY, (size,), generator=generator).tolist() for size in (length, 236))
    tokens = torch.randint(0, VOCABULARY, (20, 2), generator=generator).tolist()
    alone, together = KVCacheBatch(model.body), KVCacheBatch(model.body)
    states = [alone.add([prompt], [1])[-1], *(alone.step([own])[0] for own, _ in tokens)]
    beside = [together.add([prompt, long], [1, 1])[length - 1], *(together.step(both)[0] for both in tokens)]
    assert all(torch.equal(state, other) for state, other in zip(states, beside, strict=True))


def test_packed_posts_are_learnt_as_if_each_were_alone(folder, reference):
    if reference.architecture.logits_cap:
        with pytest.raises(InputError, match="cap their logits"):
            TrainingForward(reference, build("default", {}), bf16=False)
        return
    checkpoint = load(folder)
    rows = token_rows(checkpoint, [f"My neighbour {n} listens to the rain" for n in range(9)] + ["x", "a much longer text " * 5])
    recipe = derive(build("default", {"block": 64}), checkpoint.architecture, 500, None, "fp32")
    forward = TrainingForward(checkpoint, recipe, bf16=False)
    with torch.no_grad():
        assert forward.nats(pack(rows, 64)).item() == pytest.approx(total_nats(reference, rows), rel=1e-4)
    adapted = TrainingForward(load(folder), build("default", {"lora_rank": 2, "block": 64}), bf16=False)
    adapted.nats(pack(rows, 64)).backward()
    assert all(weight.grad is not None for weight in adapted.trainable().values())


def gradients(model, nats):
    """Of a loss, for each weight; the model has none afterwards."""
    model.zero_grad()
    nats.backward()
    found = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    return found


def nats_of_each(model, rows):
    """By transformers alone, each post by itself."""
    outputs = [(model(torch.tensor([row])).logits[0, :-1].float(), torch.tensor(row[1:])) for row in rows]
    return sum(cross_entropy(logits, targets, reduction="sum") for logits, targets in outputs)


def distance(found, expected):
    """How far all gradients together are off, relative to their length."""
    squares = [((found[name] - expected[name]).square().sum(), expected[name].square().sum()) for name in expected]
    return (sum(off for off, _ in squares) / sum(length for _, length in squares)).sqrt().item()


def test_gradients_are_those_of_transformers(folder):
    if read_architecture(json.loads((folder / "config.json").read_text()), folder).logits_cap:
        return  # is not trained
    checkpoint = load(folder)
    rows = token_rows(checkpoint, [f"My neighbour {n} listens to the rain" for n in range(9)] + ["x", "a much longer text " * 5])
    expected = gradients(checkpoint.model, nats_of_each(checkpoint.model, rows))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nats = nats_of_each(checkpoint.model, rows)
    rounded = distance(gradients(checkpoint.model, nats), expected)
    recipe = derive(build("default", {"block": 64}), checkpoint.architecture, 500, None, "fp32")
    for bf16 in (False, True):
        trained = load(folder)
        nats = TrainingForward(trained, recipe, bf16=bf16).nats(pack(rows, 64))
        off = distance(gradients(trained.model, nats), expected)
        assert off < (1.25 * rounded if bf16 else 1e-4), (off, rounded)


def test_parameters_are_counted(folder, reference):
    counted = sum(weight.numel() for weight in reference.model.parameters() if weight.ndim > 1)
    assert reference.architecture.parameters == counted


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "t5", "is_encoder_decoder": True}, r"'t5' \(an encoder-decoder\)"),
        ({"model_type": "qwen3_moe", "num_experts": 8}, r"'qwen3_moe' \(a mixture of experts\)"),
        ({"model_type": "gemma3", "vision_config": {}}, r"'gemma3' \(text and images\)"),
        ({"model_type": "mamba"}, "'mamba', which is not supported"),
        ({"model_type": "llama", **SIZES, "rope_scaling": {"rope_type": "yarn"}}, "the RoPE scaling 'yarn' is not supported"),
        ({"model_type": "llama", **SIZES, "hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported"),
        ({"model_type": "llama"}, "config.json cannot be read"),
        ({"model_type": "llama", **SIZES, "num_key_value_heads": 3}, "impossible sizes"),
        ({"model_type": "qwen2", **SIZES, "num_hidden_layers": 10**9}, "impossible sizes"),
        ({"model_type": "gemma3_text", **SIZES, "attn_logit_softcapping": 5.0}, "attn_logit_softcapping = 5.0 is not supported"),
        ({"model_type": "gpt2", "n_head": 5}, "impossible sizes"),
        ({"model_type": "gpt2", "n_embd": "wide"}, "config.json"),
    ],
)  # fmt: skip
def test_what_is_not_computed_is_refused(config, said):
    with pytest.raises(InputError, match=said) as refused:
        read_architecture(config, Path("a model"))
    if "which is not supported" in str(refused.value):
        assert ", ".join(SUPPORTED) in str(refused.value)
