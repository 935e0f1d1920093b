"""Prompts that arrive together: the same one is computed once, and first tokens do not wait for the steps of others of the same moment."""

import asyncio
import math
import threading
from dataclasses import replace

import pytest

from mynah.decoding.decoder import KVCacheBatch
from serving.engine import engine as engine_module
from serving.engine.scheduler import MAX_PREFILL
from tests.model.engine_requests import ask, run, texts


@pytest.fixture
def calls(monkeypatch):
    """What the decoder is asked, in order: ("add", prompts, sequences) and ("step",). The first waits until `calls.go` is set."""

    class Calls(list):
        go = threading.Event()

    seen, add, step = Calls(), KVCacheBatch.add, KVCacheBatch.step

    def watched_add(self, prompts, copies, *rest):
        seen.go.wait(60)
        seen.append(("add", len(prompts), sum(copies)))
        return add(self, prompts, copies, *rest)

    def watched_step(self, tokens):
        seen.append(("step",))
        return step(self, tokens)

    monkeypatch.setattr(KVCacheBatch, "add", watched_add)
    monkeypatch.setattr(KVCacheBatch, "step", watched_step)
    return seen


async def together(engine, model, questions, calls):
    """The answers to questions that are all there when the second prefill begins."""
    streams = [engine.submit(model, question) for question in questions]
    await asyncio.sleep(0)
    calls.go.set()
    return [texts(await stream.answers())[0][0] for stream in streams]


def test_a_prompt_that_many_ask_is_computed_once_and_each_gets_its_own_text(fledgling, calls):
    questions = [ask("I like", seed=seed, max_tokens=12) for seed in range(20)]
    found = run(fledgling, lambda engine: together(engine, fledgling, questions, calls))
    adds = [call for call in calls if call[0] == "add"]
    assert sum(sequences for _, _, sequences in adds) == 20
    assert sum(prompts for _, prompts, _ in adds) <= 2  # the first may have been read before the others came
    alone = [run(fledgling, lambda engine, each=each: engine.submit(fledgling, each).answers()) for each in questions]
    assert found == [texts(each)[0][0] for each in alone]


def test_scored_prompts_are_computed_each_for_itself(fledgling, calls):
    questions = [replace(ask("I like", seed=seed, max_tokens=3, logprobs=1), prompt_logprobs=True) for seed in range(4)]

    async def work(engine):
        streams = [engine.submit(fledgling, question) for question in questions]
        calls.go.set()
        for stream in streams:
            await stream.answers()
        return [stream.prompt_logprobs[0] for stream in streams]

    scores = run(fledgling, work)
    assert len(set(scores)) == 1 and scores[0]
    assert sum(call[1] for call in calls if call[0] == "add") == 4


def test_prompts_of_one_moment_are_all_read_before_the_first_step(fledgling, calls, monkeypatch):
    monkeypatch.setattr(engine_module, "FIRST_PREFILLS", math.inf)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    questions = [ask(f"I like {first} {second}", seed=1, max_tokens=30) for first in words for second in words[:6]]
    run(fledgling, lambda engine: together(engine, fledgling, questions, calls))
    kinds = [call[0] for call in calls]
    until_step = calls[: kinds.index("step")]
    assert len(until_step) > 1  # more tokens than one chunk takes
    assert sum(sequences for _, _, sequences in until_step) == len(questions)
    assert sum(len(fledgling.encode(question.prompts[0])) for question in questions) > MAX_PREFILL


def test_running_samples_get_a_step_between_long_prefills(fledgling, calls, monkeypatch):
    monkeypatch.setattr(engine_module, "FIRST_PREFILLS", 0.0)
    monkeypatch.setattr(engine_module, "LONG_PREFILL", 0.0)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    questions = [ask(f"I like {first} {second}", seed=1, max_tokens=9) for first in words for second in words[:6]]
    run(fledgling, lambda engine: together(engine, fledgling, questions, calls))
    kinds = "".join("a" if call[0] == "add" else "s" for call in calls)
    assert "aa" not in kinds and kinds.count("a") > 2
