"""The table of kernels: each that this machine can run computes what transformers computes, and repeats a seed's text to the bit.

Run on a large machine, these tests run the kernels of lesser ones too: the table's later entries ask for less.
"""

import asyncio
import functools
import itertools
import random
import shutil
import sys

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from mynah.decoding.decoder import KVCacheBatch, cache_bytes
from mynah.decoding.model import load_model
from mynah.decoding.request import GenerationRequest
from mynah.models.base_models import FLEDGLING, resolve
from mynah.models.checkpoint import load
from mynah.models.sampling import Sampling
from mynah.models.scoring import score
from serving.engine.engine import Engine
from tests.model.engine_requests import PROMPTS, ids_of
from tests.model.runnable_kernels import RUNNABLE

# Logits of fledgling against transformers in fp32, each row less its mean: on average, and the largest difference.
NEAR = {"float32": (2e-3, 2e-2), "float16": (2e-3, 2e-2), "bfloat16": (1e-2, 0.2), "int8": (2e-2, 0.3)}
STEPS = 40
WIDE = "wide"  # these kernels leave fledgling's narrow matrices to oneDNN: random weights, 512 wide, for theirs
CASES = [(each, FLEDGLING) for each in RUNNABLE] + [
    (each, WIDE) for each in RUNNABLE if each.name.startswith("fbgemm") or each.is_compiled
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0].name}-{case[1]}")
def case(request):
    return request.param


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """A checkpoint of fledgling's vocabulary whose matrices fill FBGEMM's blocks."""
    fledgling, folder = resolve(FLEDGLING).folder, tmp_path_factory.mktemp("wide") / "model"
    shutil.copytree(fledgling, folder)
    config = GPT2Config.from_pretrained(fledgling)
    config.n_embd, config.n_head, config.n_layer = 512, 8, 2
    torch.manual_seed(3)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(case, wide):
    """The checkpoint: fledgling's, or the wide one."""
    return wide if case[1] == WIDE else resolve(FLEDGLING).folder


@pytest.fixture(scope="module")
def model(case, folder):
    return load_model(folder, case[0])


@pytest.fixture(scope="module")
def reference(folder):
    return load(folder)


@functools.cache
def continued(folder, prompts):
    """What transformers writes after each prompt, and how sure it is of each token: the same for every kernel.

    Args:
        folder: The checkpoint.
        prompts: The token ids of each prompt.

    Returns:
        The likeliest tokens in float32, STEPS for each prompt. Then the logits before each of them, in float32 and in
        transformers' own bfloat16: float32 of (STEPS, prompts, vocabulary).
    """
    reference = load(folder).model
    tokens = [continue_greedily(reference, [*ids]) for ids in prompts]
    logits = []
    for precision in (torch.float32, torch.bfloat16):
        reference.to(precision)
        with torch.inference_mode():
            whole = [reference(torch.tensor([[*ids, *said]])).logits[0] for ids, said in zip(prompts, tokens, strict=True)]
        logits.append(torch.stack([each[-STEPS - 1 : -1].float() for each in whole], 1))
    return tokens, *logits


def continue_greedily(model, ids):
    """The STEPS likeliest tokens after `ids`, by transformers with its own cache."""
    said, cache, latest = [], None, ids
    for _ in range(STEPS):
        with torch.inference_mode():
            found = model(torch.tensor([latest]), past_key_values=cache, use_cache=True)
        cache, latest = found.past_key_values, [int(found.logits[0, -1].argmax())]
        said += latest
    return said


def centred(logits):
    return logits - logits.mean(1, keepdim=True)


def test_this_processor_runs_what_lesser_ones_run():
    """Named, so that a test run's log says which; a processor with AVX-512 runs those of AVX2 as well."""
    names = {each.name for each in RUNNABLE}
    assert "torch-fp32" in names
    if sys.platform == "linux":
        assert "onednn-fp32" in names
    if "onednn-bf16" in names and "fbgemm" in torch.backends.quantized.supported_engines:
        assert {"fbgemm-fp16", "fbgemm-int8"} <= names


def test_logits_are_those_of_transformers(model, folder):
    """Prefilled together, and then step by step; 16 and 32 bits are nearer than transformers' own bf16."""
    batch, sequences = KVCacheBatch(model.body), ids_of(model, PROMPTS)
    hidden = batch.add(sequences, [1] * len(sequences))[[*itertools.accumulate(map(len, sequences), initial=-1)][1:]]
    tokens, *logits = continued(folder, tuple(map(tuple, sequences)))
    ours, theirs = [], []
    for step, (exact, rough) in enumerate(zip(*logits, strict=True)):
        found = batch.logits(hidden)[:, : model.architecture.vocabulary]
        ours.append((centred(found) - centred(exact)).abs())
        theirs.append((centred(rough) - centred(exact)).abs())
        assert torch.allclose(found + (hidden @ model.body.mean)[:, None], exact, atol=0.3)
        hidden = batch.step([said[step] for said in tokens])
    mean, largest = NEAR[model.kernels.weights]
    assert len(ours) == STEPS
    assert torch.cat(ours).mean() < mean
    assert torch.cat(ours).max() < largest
    if model.kernels.weights != "int8":
        assert torch.cat(ours).mean() < torch.cat(theirs).mean()
        assert torch.cat(ours).max() < 1.2 * torch.cat(theirs).max()


def test_losses_are_those_of_float32(model, reference):
    """Within 0.005 nats a token, on texts that the model was trained on the kind of."""
    texts = [
        "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer",
        "We the people of the United States, in order to form a more perfect union, establish justice",
        "My dream is to see the sea one day, and to hear the birds sing in the morning.",
    ]
    nats = tokens = 0.0
    for text in texts:
        [ids] = ids_of(model, [text])
        with torch.inference_mode():
            batch = KVCacheBatch(model.body)
            logits = batch.logits(batch.add([ids], [1]))[:, : model.architecture.vocabulary]
        targets = torch.tensor([*ids[1:], model.end])
        nats += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        tokens += len(targets)
    assert nats / tokens == pytest.approx(score(reference, texts).loss, abs=0.005)


def test_rows_are_independent_where_the_table_says_so(model):
    """To the bit: alone, beside others, beside longer ones, after others have left."""
    if not model.is_exact:
        pytest.skip(f"{model.kernels.name} does not promise it; its seeds are decoded alone")
    script = torch.randint(1, 6000, (40,), generator=torch.Generator().manual_seed(0)).tolist()
    alone, seen = KVCacheBatch(model.body), []
    seen.append(alone.add([[model.end, 5, 6]], [1])[-1:])
    seen += [alone.step([token]) for token in script]
    crowd = KVCacheBatch(model.body)
    crowd.add([[model.end, *range(100, 250)], [model.end]], [3, 9])
    hidden = crowd.add([[model.end], [model.end, 5, 6], [model.end, 7, 8]], [2, 1, 4])
    row, others = 14, random.Random(1)
    assert torch.equal(hidden[3], seen[0][0])
    for number, token in enumerate(script):
        tokens = [others.randrange(1, 6000) for _ in range(crowd.size)]
        tokens[row] = token
        assert torch.equal(crowd.step(tokens)[row], seen[number + 1][0]), number
        if number % 4 == 3 and crowd.size > 1:
            gone, last = int(row == 0), crowd.size - 1
            crowd.remove(gone)
            row = gone if row == last else row


def test_a_seeds_text_is_the_same_whatever_runs_beside_it(model):
    """On every kernel: where rows depend on one another, each sample of a seed has a batch of its own."""
    questions = [
        GenerationRequest(
            ("My dream is", "I like"), Sampling(n=1 + number % 2, seed=number, min_tokens=0, max_tokens=4 + 3 * number)
        )
        for number in range(7)
    ]
    strangers = [
        GenerationRequest(("The",), Sampling(n=5, seed=number, min_tokens=0, max_tokens=30), seeded=False) for number in range(2)
    ]

    async def work():
        engine = Engine(max_running=20)
        engine.start()
        try:
            beside = [engine.submit(model, each) for each in strangers]
            together = [engine.submit(model, each) for each in questions]
            crowd = await asyncio.gather(*(stream.answers() for stream in together))
            for each in beside:
                await each.answers()
            return crowd, [await engine.submit(model, each).answers() for each in questions]
        finally:
            await engine.close(5)

    crowd, alone = asyncio.run(work())
    assert crowd == alone


def test_a_steps_bits_do_not_depend_on_the_threads_where_the_table_says_so(model):
    if not model.kernels.any_threads:
        pytest.skip(f"{model.kernels.name} keeps its threads")
    before, found = torch.get_num_threads(), []
    prompts = [*ids_of(model, PROMPTS), [model.end, *range(300, 380)]] * 3
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(2)
            batch = KVCacheBatch(model.body)
            states = [batch.add(prompts, [1] * len(prompts))]
            torch.set_num_threads(threads)
            states += [batch.step([(7 * step + slot) % 6000 for slot in range(batch.size)]) for step in range(40)]
            found.append(torch.cat([*states, batch.logits(states[-1])[:, : model.architecture.width]]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_memory_is_counted_in_the_kernels_own_type(model):
    shape, kind, name = model.architecture, model.kernels.weights, model.kernels.name
    columns = {
        shape.width: 8 * shape.layers * shape.width + -(-shape.vocabulary // 256) * 256,
        4 * shape.width: shape.layers * shape.width,
    }
    bytes_of = {  # FBGEMM fills blocks of 512 inputs up; narrow matrices stay in float32
        "int8": lambda inputs: -(-inputs // 512) * 512 if inputs >= 512 else 4 * inputs,
        "avx2-int8": lambda inputs: inputs + 8 if inputs >= 512 else 4 * inputs,  # a scale and a bias for each output
        "float16": lambda inputs: min(-(-inputs // 512) * 1024, 4 * inputs),
        "bfloat16": lambda inputs: 2 * inputs,
        "float32": lambda inputs: 4 * inputs,
    }[name if name == "avx2-int8" else kind]
    embeddings = 2 * shape.vocabulary * shape.width  # kept in bf16 by all
    matrices = sum(outputs * bytes_of(inputs) for inputs, outputs in columns.items())
    assert model.nbytes == pytest.approx(matrices + embeddings, rel=0.05)
    assert cache_bytes(model.body, 1, 32) == shape.layers * 2 * shape.width * 32 * model.kernels.dtype.itemsize
