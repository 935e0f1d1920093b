"""Decoding without a server: what the engine says, for many prompts at once."""

import asyncio
import dataclasses
import re

import pytest

import mynah.decoding.generate
from components.evaluate.text_metrics import Memory
from mynah.core.errors import InputError
from mynah.data.verbatim_filter import read_bloom, write_bloom
from mynah.decoding.decoder import cache_bytes
from mynah.decoding.errors import PromptTooLong
from mynah.decoding.generate import generate
from mynah.decoding.kernels import TABLE
from mynah.decoding.model import load_model
from mynah.decoding.request import GenerationRequest
from mynah.decoding.running_batch import RunningBatch
from mynah.models.base_models import FLEDGLING, resolve
from mynah.models.sampling import Sampling
from serving.engine.engine import Engine
from tests.model.engine_requests import with_body

PROMPTS = ["My dream is", "", "I like", "My dream is"]


def served(model, prompts, sampling, **options):
    """What the server's engine gives, as `generate` has it."""

    async def main():
        engine = Engine(**options)
        engine.start()
        try:
            return await engine.submit(model, GenerationRequest(tuple(prompts), sampling)).answers()
        finally:
            await engine.close(5)

    answers = asyncio.run(main())
    return [[f"{prompt}{each.text}".strip() for each in several] for prompt, several in zip(prompts, answers, strict=True)]


def test_it_writes_what_the_server_says(fledgling):
    """More sequences than run side by side, of all lengths, some that end by themselves and some that are cut."""
    sampling = Sampling(n=25, min_tokens=0, max_tokens=20, seed=5)
    expected = served(fledgling, PROMPTS, sampling)
    written = generate(fledgling, PROMPTS, sampling, repeatable=True)  # on processors whose rows are not exact
    assert written.texts == expected
    assert written.texts[0] != written.texts[3]  # prompts that are alike
    assert 100 <= written.tokens <= 100 * 20


def test_it_repeats_for_a_seed_and_keeps_within_its_limits(fledgling):
    asked = Sampling(n=3, min_tokens=4, max_tokens=8, seed=3)
    written = generate(fledgling, ["My dream"], asked)
    assert written == generate(fledgling, ["My dream"], asked)
    assert written != generate(fledgling, ["My dream"], Sampling(n=3, min_tokens=4, max_tokens=8, seed=4))
    assert 3 * 4 <= written.tokens <= 3 * 8
    assert all(answer.startswith("My dream") for answer in written.texts[0])
    with pytest.raises(PromptTooLong, match="leaves no room"):
        generate(fledgling, ["fine", "word " * 1200], asked)
    with pytest.raises(InputError, match="not Unicode"):
        generate(fledgling, ["\ud800"], asked)


def test_an_answer_holds_nothing_that_a_terminal_would_obey(tiny_checkpoint):
    """A model of random weights writes random bytes: half characters and control characters among them."""
    answers = generate(load_model(tiny_checkpoint), ["My\tdream \ufffd"], Sampling(n=50, max_tokens=40)).texts[0]
    assert all(answer.startswith("My\tdream \ufffd") for answer in answers)
    written = "".join(answer.removeprefix("My\tdream \ufffd") for answer in answers)
    assert any(ord(character) > 127 for character in written)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]", written)


def test_it_writes_what_the_server_says_also_where_rows_depend_on_one_another():
    """There the server decodes each sample of a seed in a batch of its own."""
    kernels = next(each for each in TABLE if each.name == "torch-fp32")
    if missing := kernels.lacks():
        pytest.skip(f"{kernels.name} needs {missing}")
    model = load_model(resolve(FLEDGLING).folder, dataclasses.replace(kernels, is_exact=False))
    sampling = Sampling(n=3, min_tokens=0, max_tokens=20, seed=5)
    assert generate(model, PROMPTS, sampling, repeatable=True).texts == served(model, PROMPTS, sampling)


def test_the_caches_bytes_are_bounded(fledgling, monkeypatch):
    sampling = Sampling(n=6, min_tokens=0, max_tokens=12, seed=5)
    sizes = []

    def counting(batch, step=RunningBatch.step):
        sizes.append(batch.size)
        return step(batch)

    monkeypatch.setattr(RunningBatch, "step", counting)
    for fitting, most in ((4, 4), (0, 1)):  # a sample alone always fits
        sizes.clear()
        monkeypatch.setattr(mynah.decoding.generate, "MAX_CACHE_BYTES", fitting * cache_bytes(fledgling.body, 1, 30))
        written = generate(fledgling, PROMPTS, sampling)
        assert max(sizes) == most
        assert [len(set(several)) for several in written.texts] == [6] * len(PROMPTS)


def test_it_repeats_no_training_post_unless_it_may(fledgling, tmp_path):
    """The model is made certain of a post."""
    post = "When the morning comes over the harbour I walk down to the boats and count the gulls, every single one of them."
    write_bloom(tmp_path, [post])
    ids, head = fledgling.encode(post), fledgling.body.head
    for allow_verbatim in (True, False):
        certain = iter([*ids, *[fledgling.end] * 60])

        def by_heart(hidden, certain=certain):
            logits = head(hidden)
            logits[:, next(certain)] = 40.0
            return logits

        model = with_body(dataclasses.replace(fledgling, bloom=read_bloom(tmp_path)), head=by_heart)
        sampling = Sampling(min_tokens=0, max_tokens=60, seed=3)
        [[text]] = generate(model, [""], sampling, allow_verbatim=allow_verbatim).texts
        assert Memory([post]).memorised(text) is allow_verbatim, text
