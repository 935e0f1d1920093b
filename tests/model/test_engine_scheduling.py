"""The engine's queue: samples take turns, memory is bounded, nobody waits for who has left, and failures stay with their requests."""

import asyncio
from dataclasses import replace

import pytest
import torch

from mynah.decoding.decoder import cache_bytes
from serving.engine.engine import Engine
from serving.engine.errors import EngineStopped, GenerationFailed, QueueFull
from tests.model.engine_requests import ask, run, texts, with_body


def test_more_samples_than_slots_take_turns(fledgling):
    question = ask("I like", n=50, seed=1, max_tokens=9)
    few = run(fledgling, lambda engine: engine.submit(fledgling, question).answers(), max_running=7)
    many = run(fledgling, lambda engine: engine.submit(fledgling, question).answers(), max_running=64)
    assert few == many


def test_a_hundred_samples_do_not_keep_a_newcomer_waiting(fledgling):
    async def work(engine):
        long = engine.submit(fledgling, ask("I like", n=100, min_tokens=240, max_tokens=240))
        async for _ in long:
            break
        late = [engine.submit(fledgling, ask("My dream is", seed=seed, max_tokens=5)) for seed in range(3)]
        for each in late:
            await each.answers()
        return long.written

    assert run(fledgling, work) < 100 * 240 / 2


def test_those_who_wait_take_turns(fledgling):
    async def work(engine):
        crowds = [engine.submit(fledgling, ask("I like", n=30, seed=seed, min_tokens=20, max_tokens=20)) for seed in range(3)]
        while not all(crowd.written for crowd in crowds):
            await asyncio.sleep(0.001)
        first = max(crowd.written for crowd in crowds)
        for crowd in crowds:
            await crowd.answers()
        return first

    assert run(fledgling, work, max_running=16) < 30 * 20  # the last had begun before the first was through


def test_the_caches_bytes_are_bounded_and_what_is_too_large_runs_alone(fledgling):
    one = cache_bytes(fledgling.body, 1, fledgling.context)
    seen = []

    class Look:
        def step(self, labels, batch, seconds):
            seen.append(batch)

        def prefill(self, *_):
            pass

    async def work(engine, n):
        many = engine.submit(fledgling, replace(ask("I like", n=n, min_tokens=40, max_tokens=240), seeded=False))
        few = engine.submit(fledgling, ask("My dream is", max_tokens=5))
        return await many.answers(), await few.answers()

    [several], [[short]] = run(fledgling, lambda engine: work(engine, 8), cache=4 * one, observer=Look())
    assert (len(several), max(seen)) == (8, 4)
    assert short.tokens
    seen.clear()
    assert len(run(fledgling, lambda engine: work(engine, 2), cache=1, observer=Look())[0][0]) == 2
    assert max(seen) == 1


def test_prompts_that_are_alike_get_texts_that_are_not(fledgling):
    async def work(engine):
        thrice = await engine.submit(fledgling, ask("I like", "I", "I like", "I like", seed=5, max_tokens=20)).answers()
        samples = await engine.submit(fledgling, ask("I like", n=3, seed=5, max_tokens=20)).answers()
        return texts(thrice), texts(samples)

    (first, _, second, third), [samples] = run(fledgling, work)
    assert [first[0], second[0], third[0]] == samples
    assert len(set(samples)) == 3


def test_who_leaves_makes_room_at_once(fledgling):
    async def work(engine):
        long = engine.submit(fledgling, ask("I like", n=100, min_tokens=200, max_tokens=240))
        async for _ in long:
            break
        behind = engine.submit(fledgling, ask("My dream is", max_tokens=5))
        waiting = engine.submit(fledgling, ask("I", n=60, min_tokens=200, max_tokens=240))
        waiting.cancel()
        long.cancel()
        await behind.answers()
        running, queued = engine.running, engine.waiting
        reader = asyncio.create_task(engine.submit(fledgling, ask("I like", min_tokens=200, max_tokens=240)).answers())
        await asyncio.sleep(0.05)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        while engine.running:
            await asyncio.sleep(0.01)
        return running, queued

    assert run(fledgling, work) == (0, 0)


def test_a_full_queue_says_how_long_it_is(fledgling):
    async def work(engine):
        streams = [engine.submit(fledgling, ask("I like", min_tokens=100, max_tokens=100)) for _ in range(4)]
        with pytest.raises(QueueFull) as refused:
            while True:
                streams.append(engine.submit(fledgling, ask("I like", min_tokens=100, max_tokens=100)))
        for stream in streams:
            stream.cancel()
        return refused.value, len(streams)

    refused, taken = run(fledgling, work, max_running=2, max_waiting=4)
    assert taken >= 4
    assert refused.wait >= 1


def test_samples_that_are_decoded_alone_wait_as_one_request(fledgling):
    """Where rows depend on one another, each sample of a seed waits for itself: a request of many samples is no full queue."""
    alone = with_body(fledgling, kernels=replace(fledgling.kernels, is_exact=False))

    async def work(engine):
        streams = [engine.submit(alone, ask("I like", n=5, seed=seed, max_tokens=5)) for seed in range(3)]
        waiting = engine.waiting
        return waiting, [len(text) for text in [await stream.answers() for stream in streams]]

    waiting, answers = run(alone, work, max_running=1, max_waiting=4)
    assert waiting <= 3
    assert len(answers) == 3


def test_closing_finishes_what_runs_and_ends_what_takes_too_long(fledgling):
    async def main(grace, tokens):
        engine = Engine()
        engine.start()
        short = engine.submit(fledgling, ask("I like", max_tokens=5))
        long = engine.submit(fledgling, ask("I like", n=100, min_tokens=tokens, max_tokens=tokens))
        closing = asyncio.create_task(engine.close(grace))
        await asyncio.sleep(0)
        with pytest.raises(EngineStopped):
            engine.submit(fledgling, ask("I like"))
        results = await asyncio.gather(short.answers(), long.answers(), return_exceptions=True)
        await closing
        return results

    short, long = asyncio.run(main(60, tokens=20))
    assert (len(short), len(long[0])) == (1, 100)
    short, long = asyncio.run(main(0.2, tokens=250))
    assert isinstance(long, EngineStopped)


def test_a_lost_gpu_is_told_to_who_waits_for_this_process(fledgling):
    def lost(hidden):
        raise RuntimeError("CUDA error: device-side assert triggered")

    async def work(engine):
        with pytest.raises(GenerationFailed):
            await engine.submit(with_body(fledgling, head=lost), ask("I like")).answers()
        with pytest.raises(EngineStopped):
            engine.submit(fledgling, ask("I like"))
        return engine.alive, engine.device_lost

    assert run(fledgling, work) == (False, True)


def test_weights_that_are_no_numbers_end_their_own_answers_alone(fledgling):
    def broken(hidden):
        logits = fledgling.body.head(hidden)
        logits[-1] = torch.nan
        return logits

    async def work(engine):
        model = with_body(fledgling, head=broken)
        return await engine.submit(model, ask("I like", n=2, min_tokens=5, max_tokens=9, seed=3)).answers()

    [[well, ill]] = run(fledgling, work)
    assert (ill.text, ill.finish) == ("", "stop")
    assert len(well.tokens) <= 9


def test_a_defect_in_a_step_ends_its_requests_and_not_the_engine(fledgling):
    broken = with_body(fledgling, head=None)

    async def work(engine):
        with pytest.raises(GenerationFailed):
            await engine.submit(broken, ask("I like")).answers()
        return await engine.submit(fledgling, ask("I like", max_tokens=3)).answers()

    assert len(run(fledgling, work)) == 1
