"""GGUF in and out, by what the models compute: the same logits after it, and the same tokens by llama.cpp."""

import json

import pytest
import torch
from small_models import MODELS, VOCABULARY, greedy, llama_cpp, logits, make_small, smollm2_file

from mynah.decoding.kernels import chosen, runnable
from mynah.decoding.model import load_model
from mynah.models.base_models import FLEDGLING_FOLDER, resolve
from mynah.models.checkpoint import load
from mynah.models.gguf.write import write_gguf

FP32 = next(each for each in runnable() if each.weights == "float32" and "cpu" in each.device)
KERNELS = list({each.name: each for each in (chosen(), FP32)}.values())
# Of logits divided by their standard deviation, on average. The decoder keeps token embeddings in bf16, which is most of the first two.
NEAR = {"float32": 2e-3, "float16": 2e-3, "bfloat16": 1e-2, "int8": 6e-2}
TEXT = "It was 1984, and the clocks of the déjà-vu weren't striking; the capital of France is"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYNAH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def smollm2(cache):
    return resolve(str(smollm2_file()))


@pytest.fixture(scope="module")
def reference(smollm2):
    return load(smollm2.folder)


@pytest.fixture(scope="module")
def exact(smollm2):
    return load_model(smollm2.folder, FP32)


def mean_error(found, expected):
    return float((found - expected).abs().mean() / expected.std())


def test_smollm2_has_its_own_special_tokens(smollm2, reference, exact):
    """transformers' own loader says <|im_start|> ends a text."""
    assert smollm2.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert (reference.begin, reference.end, reference.context) == (2, 2, 8192)
    assert reference.tokenizer.convert_ids_to_tokens([1, 2]) == [reference.tokenizer.bos_token, reference.tokenizer.eos_token]
    assert reference.tokenizer.eos_token == "<|im_end|>"
    assert json.loads((smollm2.folder / "config.json").read_text())["rope_parameters"]["rope_theta"] == 100_000
    assert reference.tokenizer("in 1984")["input_ids"] == exact.encode("in 1984")
    assert reference.tokenizer.tokenize("in 1984") == ["in", "Ġ", "1", "9", "8", "4"]


@pytest.mark.parametrize("kernels", KERNELS, ids=lambda kernels: kernels.name)
def test_smollm2_gives_the_logits_of_transformers(smollm2, reference, exact, kernels):
    model = exact if kernels is FP32 else load_model(smollm2.folder, kernels)
    ids = [model.begin, *model.encode(TEXT)]
    with torch.inference_mode():
        expected = reference.model(torch.tensor([ids])).logits[0]
    assert mean_error(logits(model, ids), expected) < NEAR[kernels.weights]


def test_llama_cpp_continues_smollm2_as_the_decoder_does(smollm2, exact, tmp_path):
    file = write_gguf(smollm2.folder, tmp_path / "smollm2.gguf")
    assert llama_cpp(file, TEXT, 32) == greedy(exact, [exact.begin, *exact.encode(TEXT)], 32)


@pytest.mark.parametrize(("prompt", "is_ended"), [("My dream is", True), ("In 1776", False)])
def test_llama_cpp_continues_fledgling_as_the_decoder_does(tmp_path, prompt, is_ended):
    """From a text: the file says how it is split, what a post begins with, and what ends it."""
    model = load_model(FLEDGLING_FOLDER, FP32)
    file = write_gguf(FLEDGLING_FOLDER, tmp_path / "fledgling.gguf")
    found = llama_cpp(file, prompt, 32)
    assert found == greedy(model, [model.begin, *model.encode(prompt)], 32)
    assert (found[-1] == model.end, len(found) < 32) == (is_ended, is_ended)


def test_half_as_large_is_nearly_the_same(tmp_path):
    large, small = (write_gguf(FLEDGLING_FOLDER, tmp_path / f"{kind}.gguf", kind) for kind in ("f16", "q8_0"))
    assert small.stat().st_size < 0.62 * large.stat().st_size
    one, other = (load_model(resolve(str(file)).folder, FP32) for file in (large, small))
    ids = [one.begin, *one.encode(TEXT)]
    assert 0 < mean_error(logits(other, ids), logits(one, ids)) < 0.03


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_comes_back_as_it_was(name, tmp_path):
    """And llama.cpp computes the same."""
    folder = make_small(name, tmp_path / "model")
    file = write_gguf(folder, tmp_path / "small.gguf", "f32")
    before, after = load_model(folder, FP32), load_model(resolve(str(file)).folder, FP32)
    assert before.architecture == after.architecture
    ids = torch.randint(1, VOCABULARY, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    error = (logits(after, ids) - logits(before, ids)).abs().max()
    assert error < 1e-4, error  # 0 but for Gemma, whose norms are stored plus one
    assert llama_cpp(file, ids, 32) == greedy(before, ids, 32)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3"])
def test_transformers_reads_the_converted_folder_alike(name, tmp_path):
    folder = make_small(name, tmp_path / "model")
    one, other = (load(each) for each in (folder, resolve(str(write_gguf(folder, tmp_path / "m.gguf", "f32"))).folder))
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        assert torch.allclose(one.model(ids).logits, other.model(ids).logits, atol=1e-4)
    assert (one.begin, one.end, one.tokenizer("a  b 12")["input_ids"]) == (
        other.begin, other.end, other.tokenizer("a  b 12", add_special_tokens=False)["input_ids"],
    )  # fmt: skip
