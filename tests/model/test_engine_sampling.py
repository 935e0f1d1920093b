"""The engine draws from the distribution that was asked for, and its logits are those of transformers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor

from mynah.decoding.request import GenerationRequest
from mynah.decoding.running_batch import RunningBatch, RunningSample
from mynah.decoding.sampler import SamplerState, draw, sample_rng
from mynah.models.base_models import FLEDGLING, resolve
from mynah.models.checkpoint import load
from mynah.models.sampling import Sampling
from tests.model.engine_requests import PROMPTS, greedy, ids_of

# The numbers


def test_a_prompts_own_logprobs_are_those_of_transformers(fledgling):
    reference = load(resolve(FLEDGLING).folder).model
    (ids,) = ids_of(fledgling, ["It was the best of times, it was the worst of times. " * 6])  # more than a block of rows
    with torch.inference_mode():
        expected = torch.log_softmax(reference(torch.tensor([ids])).logits[0].float(), 1)
    request = GenerationRequest(("",), Sampling(min_tokens=0, max_tokens=1), logprobs=3, prompt_logprobs=True)
    sample = RunningSample.begin(None, request, fledgling, 0, 0, ids, allow_verbatim=True, score_prompt=True)
    RunningBatch(fledgling.body).add([ids], [[sample]])
    found = sample.prompt_logprobs
    assert [token.id for token in found] == ids[1:]
    for place, token in enumerate(found):
        assert token.logprob == pytest.approx(float(expected[place, token.id]), abs=0.15)
        assert token.top[0][1] == pytest.approx(float(expected[place].max()), abs=0.15)


@pytest.mark.parametrize("penalty", [1.0, 1.5, 0.7])
def test_greedy_takes_what_transformers_would(fledgling, penalty):
    """But for ties that bf16 cannot see, with transformers' own repetition penalty."""
    reference = load(resolve(FLEDGLING).folder).model
    punish = RepetitionPenaltyLogitsProcessor(penalty)
    for prompt in PROMPTS:
        [before] = ids_of(fledgling, [prompt])
        written = [token.id for token in greedy(fledgling, prompt, max_tokens=12, penalty=penalty, min_tokens=12).tokens]
        ids = torch.tensor([before + written])
        with torch.no_grad():
            logits = reference(ids).logits[0, len(before) - 1 : -1]
        logits[:, fledgling.end] = -torch.inf
        for place, token in enumerate(written):
            scores = punish(ids[:, : len(before) + place], logits[place : place + 1])[0]
            assert scores.max() - scores[token] < 0.2


# The draw


def drawer(seed=0, **sampling):
    return SamplerState(Sampling(**{"min_tokens": 0, "max_tokens": 5, **sampling}), sample_rng(seed, 0), end=0)


def shares(logits, **sampling):
    """How often each token is drawn, out of 4,000 times."""
    rows = torch.full((4000, 256), -torch.inf)
    rows[:, : len(logits)] = torch.tensor(logits)
    tokens = draw(rows, [drawer(seed, **sampling) for seed in range(4000)])
    return torch.bincount(torch.tensor(tokens), minlength=len(logits)).double() / 4000


def nucleus(logits, p=1.0, k=0, temperature=1.0):
    """The distribution that sorting gives."""
    chances = torch.softmax(torch.tensor(logits, dtype=torch.float64) / temperature, 0)
    if k:
        chances = torch.where(chances >= chances.topk(k).values[-1], chances, 0)
        chances /= chances.sum()
    order = chances.argsort(descending=True)
    before = chances[order].cumsum(0) - chances[order]
    chances[order[before >= p]] = 0
    return chances / chances.sum()


@pytest.mark.parametrize(
    "how", [{}, {"top_p": 0.9}, {"top_p": 0.3}, {"top_p": 0.05}, {"top_k": 3}, {"top_k": 5, "top_p": 0.7, "temperature": 0.6}]
)
def test_it_draws_from_the_distribution_that_was_asked_for(how):
    logits = torch.randn(60, generator=torch.Generator().manual_seed(3)).mul(2).tolist()
    expected = nucleus(logits, how.get("top_p", 1.0), how.get("top_k", 0), how.get("temperature", 1.0))
    found = shares(logits, **{"top_p": 1.0, **how})
    assert float(found[expected == 0].sum()) == 0
    assert float((found - expected).abs().sum()) < 0.09  # some 0.06 by chance with 60 tokens


@settings(max_examples=100)
@given(
    st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=300),
    st.floats(0.01, 1.0),
    st.integers(0, 400),
    st.floats(0.01, 10),
)
def test_whatever_the_logits_a_token_of_the_nucleus_is_drawn(logits, top_p, top_k, temperature):
    width = -(-len(logits) // 256) * 256
    row = torch.full((1, width), -torch.inf)
    row[0, : len(logits)] = torch.tensor(logits)
    [token] = draw(row.clone(), [drawer(1, top_p=top_p, top_k=top_k, temperature=temperature)])
    scaled = row[0].double() / temperature
    likelier = scaled > scaled[token] + 1e-4  # nearer ones are the same to fp32
    assert 0 <= token < len(logits)
    assert float(torch.softmax(scaled, 0)[likelier].sum()) <= top_p + 1e-3
    if top_k:
        assert int(likelier.sum()) < top_k


def test_the_end_is_not_drawn_too_early():
    row = torch.full((1, 256), -torch.inf)
    row[0, :2] = torch.tensor([50.0, 0.0])  # the end is all but certain
    early, late = drawer(min_tokens=3), drawer()
    assert draw(row.clone(), [early]) == [1]
    assert draw(row.clone(), [late]) == [0]
