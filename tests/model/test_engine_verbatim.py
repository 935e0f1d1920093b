"""The filter of verbatim posts: a bot does not repeat a post that it knows by heart."""

import dataclasses
import json
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluate.text_metrics import Memory
from mynah.core.errors import InputError
from mynah.data.verbatim_filter import FILE, read_bloom, words, write_bloom
from mynah.decoding.sampler import SamplerState, draw, sample_rng
from mynah.models.sampling import Sampling
from tests.model.engine_requests import ask, run, with_body

POST = "When the morning comes over the harbour I walk down to the boats and count the gulls, every single one of them."


def test_a_bot_does_not_repeat_a_post_that_it_knows_by_heart(fledgling, tmp_path):
    """The model is made certain of a post; what it says shares words with it, and no run that the metric calls memorised."""
    write_bloom(tmp_path, [POST])
    ids = fledgling.encode(POST)
    memory = Memory([POST])
    head = fledgling.body.head
    for bloom, repeated in ((None, True), (read_bloom(tmp_path), False)):
        certain = iter([*ids, *[fledgling.end] * 60])

        def by_heart(hidden, certain=certain):
            logits = head(hidden)
            logits[:, next(certain)] = 40.0
            return logits

        model = with_body(dataclasses.replace(fledgling, bloom=bloom), head=by_heart)

        async def work(engine, model=model):
            [[answer]] = await engine.submit(model, ask("", seed=3, max_tokens=60)).answers()
            return answer.text

        said = run(model, work)
        assert memory.memorised(said) is repeated, said
        assert "When the morning comes" in said


@pytest.mark.parametrize("k", [1, 2])
def test_what_is_refused_leaves_its_place_among_the_k_likeliest(fledgling, k):
    """Greedy, on a model that knows a post by heart: the next likeliest token takes the place, and never one that there is not."""
    first = [5.0, 4.0, 3.0, 2.0]

    def drawn(refused):
        logits = torch.full((2, 512), -torch.inf)
        logits[:, :4] = torch.tensor(first)
        each = [
            SamplerState(
                Sampling(top_k=k, top_p=1.0, seed=1), sample_rng(seed, 0), 400, written=20, refuses=lambda token: token in refused
            )
            for seed in range(2)
        ]
        return set(draw(logits, each))

    for refused in ((), (0,), (0, 1), (0, 1, 2)):
        left = [token for token in range(4) if token not in refused]
        assert drawn(refused) <= set(left[:k])
    assert drawn((0, 1, 2, 3)) == {400}  # there is nothing left to say


def test_greedy_is_the_same_whoever_asks(fledgling):
    """Of tokens that bf16 makes equal, always the same is taken."""

    async def work(engine):
        asked = [engine.submit(fledgling, ask("The birds", n=20, seed=seed, top_k=1, max_tokens=60)) for seed in range(3)]
        return [await each.answers() for each in asked]

    assert len({answer.text for [several] in run(fledgling, work) for answer in several}) == 1


@settings(max_examples=30)
@given(st.lists(st.text("abc de  ", min_size=5, max_size=160), max_size=30))
def test_the_filter_knows_every_run_of_the_posts(tmp_path_factory, posts):
    folder = tmp_path_factory.mktemp("bloom")
    write_bloom(folder, posts)
    bloom, memory = read_bloom(folder), Memory(posts)
    for post in posts:
        said = words(post)
        assert bloom.repeats(said) is memory.memorised(post)
        assert not bloom.repeats([*said, "never-said"])


def test_a_damaged_filter_is_refused(tmp_path):
    assert read_bloom(tmp_path) is None
    write_bloom(tmp_path, [POST])
    whole = (tmp_path / FILE).read_bytes()
    header = json.loads(whole.split(b"\n")[1])
    assert header["runs"] == 15
    noise = random.Random(0)
    for cut in (b"", whole[:10], whole[:-1], whole + b"x", whole.replace(b'"hashes": ', b'"hashes": -'), b"\xff" * 100):
        (tmp_path / FILE).write_bytes(cut)
        with pytest.raises(InputError):
            read_bloom(tmp_path)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[noise.randrange(60)] = noise.randrange(256)
        (tmp_path / FILE).write_bytes(damaged)
        try:
            assert read_bloom(tmp_path) is not None
        except InputError:
            continue
