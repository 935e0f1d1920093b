"""The engine: it computes what transformers computes, a seed means the same text whatever runs beside it, and nobody is kept waiting
for who has left."""

import asyncio
import dataclasses
import itertools
import json
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor

from components.checkpoint import load
from components.decoding.decoder import Batch, cache_bytes
from components.decoding.model import load_model
from components.decoding.sampler import Draw, draw, own_random
from components.decoding.text import Transcript
from components.errors import InputError
from components.evaluate.metrics import Memory
from components.finetune.base_model import FLEDGLING, resolve
from components.generation import Sampling
from components.verbatim import FILE, read_bloom, words, write_bloom
from serving.engine import Engine
from serving.engine.ask import Ask
from serving.engine.run import Run, Sample
from serving.engine.stream import Stream
from serving.refusals import Refusal

PROMPTS = ["My dream is", "", "We hold these truths to be self-evident, that all", "I like", "The birds sing in the morning and"]


@pytest.fixture(scope="module")
def fledgling():
    return load_model(resolve(FLEDGLING).folder, "cpu")


def run(model, work, **options):
    """`await work(engine)` on an engine of its own, with `ask(prompts, **sampling)` bound to the model."""

    async def main():
        engine = Engine(**options)
        engine.start()
        try:
            return await work(engine)
        finally:
            await engine.close(5)

    return asyncio.run(main())


def ask(*prompts, stop=(), penalty=1.0, logprobs=None, **sampling):
    return Ask(tuple(prompts), Sampling(**{"min_tokens": 0, **sampling}), tuple(stop), penalty, logprobs)


def texts(answers):
    return [[answer.text for answer in several] for several in answers]


# The numbers


def ids_of(model, prompts):
    return [[model.end, *model.encode(prompt)] for prompt in prompts]


def centred(logits):
    return logits - logits.mean(1, keepdim=True)


def test_its_logits_are_those_of_transformers(fledgling):
    """Against transformers in fp32, prefilled together and then step by step: to 1e-2 on average, and nearer than its own bf16."""
    reference = load(resolve(FLEDGLING).folder).model
    half = load(resolve(FLEDGLING).folder).model.to(torch.bfloat16)
    batch, sequences = Batch(fledgling), ids_of(fledgling, PROMPTS)
    hidden = batch.add(sequences, [1] * len(sequences))[[*itertools.accumulate(map(len, sequences), initial=-1)][1:]]
    ours, theirs = [], []
    for _ in range(40):
        with torch.no_grad():
            exact, rough = (
                torch.stack([model(torch.tensor([sequence])).logits[0, -1].float() for sequence in sequences])
                for model in (reference, half)
            )
        found = batch.logits(hidden)[:, : fledgling.shape.vocabulary]
        ours.append((centred(found) - centred(exact)).abs())
        theirs.append((centred(rough) - centred(exact)).abs())
        shift = (hidden @ fledgling.mean)[:, None]
        assert torch.allclose(found + shift, exact, atol=0.3)
        chosen = exact.argmax(1).tolist()
        for sequence, token in zip(sequences, chosen, strict=True):
            sequence.append(token)
        hidden = batch.step(chosen)
    assert torch.cat(ours).mean() < 1e-2
    assert torch.cat(ours).mean() < torch.cat(theirs).mean()
    assert torch.cat(ours).max() < 1.2 * torch.cat(theirs).max()


def test_a_rows_numbers_do_not_depend_on_its_neighbours(fledgling):
    """To the bit: alone, beside others, beside longer ones, after others have left and the cache has shrunk."""
    torch.manual_seed(0)
    script = torch.randint(1, 6000, (60,)).tolist()
    alone, seen = Batch(fledgling), []
    seen.append(alone.add([[fledgling.end, 5, 6]], [1])[-1:])
    seen += [alone.step([token]) for token in script]
    crowd = Batch(fledgling)
    crowd.add([[fledgling.end, *range(100, 250)], [fledgling.end]], [3, 9])
    hidden = crowd.add([[fledgling.end], [fledgling.end, 5, 6], [fledgling.end, 7, 8]], [2, 1, 4])
    row, others = 14, random.Random(1)
    assert torch.equal(hidden[3], seen[0][0])  # the second prompt's last token
    for number, token in enumerate(script):
        tokens = [others.randrange(1, 6000) for _ in range(crowd.size)]
        tokens[row] = token
        assert torch.equal(crowd.step(tokens)[row], seen[number + 1][0]), number
        if number % 4 == 3 and crowd.size > 1:
            gone, last = int(row == 0), crowd.size - 1
            crowd.remove(gone)
            row = gone if row == last else row


def greedy(model, prompt, **options):
    tokens = options.pop("max_tokens", 30)
    question = ask(prompt, top_k=1, max_tokens=tokens, **options)
    return run(model, lambda engine: engine.submit(model, question).answers(), allow_verbatim=True)[0][0]


def test_a_prompts_own_logprobs_are_those_of_transformers(fledgling):
    reference = load(resolve(FLEDGLING).folder).model
    (ids,) = ids_of(fledgling, ["It was the best of times, it was the worst of times. " * 6])  # more than a block of rows
    with torch.inference_mode():
        expected = torch.log_softmax(reference(torch.tensor([ids])).logits[0].float(), 1)
    stream = Stream(1, 1, len(ids), lambda _: None)
    asks = Ask(("",), Sampling(min_tokens=0, max_tokens=1), logprobs=3, prompt_logprobs=True)
    Run(fledgling, "").add([ids], [[Sample.begin(stream, asks, fledgling, 0, 0, ids, allow_verbatim=True)]])
    found = stream.read[0]
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
    return Draw(Sampling(**{"min_tokens": 0, "max_tokens": 5, **sampling}), own_random(seed, 0), end=0)


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


# Requests


def test_the_same_seed_says_the_same_whatever_runs_beside_it(fledgling):
    questions = [
        ask(
            "My dream is",
            "I like",
            n=1 + number % 3,
            seed=number,
            max_tokens=5 + 3 * number,
            top_p=0.95,
            penalty=1 + number % 2 / 5,
        )
        for number in range(12)
    ]

    async def work(engine):
        together = [engine.submit(fledgling, each) for each in questions]
        crowd = await asyncio.gather(*(stream.answers() for stream in together))
        alone = [await engine.submit(fledgling, each).answers() for each in questions]
        return crowd, alone

    crowd, alone = run(fledgling, work, most_running=20)
    assert crowd == alone
    assert len({text for several in texts(crowd[2]) for text in several}) == 6


def test_pieces_make_the_answers(fledgling):
    question = ask("naïve 🐦 日本語", "I like", n=2, seed=4, max_tokens=30, temperature=3.0, logprobs=2)

    async def work(engine):
        whole = await engine.submit(fledgling, question).answers()
        pieces = [piece async for piece in engine.submit(fledgling, question)]
        return whole, pieces

    whole, pieces = run(fledgling, work)
    for prompt, several in enumerate(whole):
        for sample, answer in enumerate(several):
            mine = [piece for piece in pieces if (piece.prompt, piece.sample) == (prompt, sample)]
            assert "".join(piece.text for piece in mine) == answer.text
            assert [piece.finish for piece in mine if piece.finish] == [answer.finish]
            assert all(len(piece.tokens) == 1 for piece in mine[:-1])
            assert all(token.logprob <= token.top[0][1] <= 0 and len(token.top) == 2 for token in answer.tokens)


def test_it_stops_before_a_stop_string_and_shows_no_part_of_it(fledgling):
    free = greedy(fledgling, "My dream is", max_tokens=20).text
    stop = free[len(free) // 2 : len(free) // 2 + 6]
    stopped = greedy(fledgling, "My dream is", max_tokens=20, stop=[stop, "not in there"])
    assert (stopped.text, stopped.finish) == (free[: free.index(stop)], "stop")


@given(
    st.lists(st.text("ab\u00e9\U0001f426 .", max_size=4), max_size=12),
    st.lists(st.text("ab .", min_size=1, max_size=3), max_size=3),
)
@settings(max_examples=200)
def test_a_transcript_is_the_text_before_the_first_stop_however_it_is_cut(parts, stops):
    """Tokens are cut anywhere, within characters too."""
    content = "".join(parts).encode()
    cut = [content[start : start + 3] for start in range(0, len(content), 3)]
    transcript = Transcript(type("Bytes", (), {"bytes_of": staticmethod(lambda token: cut[token])})(), stops)
    said = ""
    for token in range(len(cut)):
        said += transcript.add(token)
        if transcript.stopped:
            break
    said += transcript.end()
    text = content.decode()
    # the first to be complete ends it, and among those the one that begins first
    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert said == text
    else:
        assert text.startswith(said)
        assert not any(stop in said for stop in stops)
        assert any(text[len(said) :].startswith(stop) for stop in stops)


def test_it_writes_as_much_as_the_context_holds_and_no_more(fledgling):
    prompt = "the " * 240
    room = fledgling.context - len(ids_of(fledgling, [prompt])[0])
    answer = run(fledgling, lambda engine: engine.submit(fledgling, ask(prompt, min_tokens=room, max_tokens=160)).answers())[0][0]
    assert (len(answer.tokens), answer.finish) == (room, "length")


@pytest.mark.parametrize("prompt", ["the " * 300, "x" * 10**6])
def test_a_prompt_that_leaves_no_room_is_refused(fledgling, prompt):
    with pytest.raises(Refusal) as refused:
        run(fledgling, lambda engine: engine.submit(fledgling, ask(prompt)).answers())
    assert (refused.value.status, "context of 256" in refused.value.message) == (400, True)


def test_more_samples_than_slots_take_turns(fledgling):
    question = ask("I like", n=50, seed=1, max_tokens=9)
    few = run(fledgling, lambda engine: engine.submit(fledgling, question).answers(), most_running=7)
    many = run(fledgling, lambda engine: engine.submit(fledgling, question).answers(), most_running=64)
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

    assert run(fledgling, work, most_running=16) < 30 * 20  # the last had begun before the first was through


def test_the_caches_bytes_are_bounded_and_what_is_too_large_runs_alone(fledgling):
    one = cache_bytes(fledgling, 1, fledgling.context)
    seen = []

    class Look:
        def step(self, label, batch, seconds):
            seen.append(batch)

        def prefill(self, *_):
            pass

    async def work(engine):
        many = engine.submit(fledgling, ask("I like", n=20, min_tokens=200, max_tokens=240))
        few = engine.submit(fledgling, ask("My dream is", max_tokens=5))
        return await many.answers(), await few.answers()

    [several], [[short]] = run(fledgling, work, cache=4 * one, observer=Look())
    assert (len(several), max(seen)) == (20, 4)
    assert short.tokens
    seen.clear()
    assert len(run(fledgling, work, cache=1, observer=Look())[0][0]) == 20
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
        with pytest.raises(Refusal) as refused:
            while True:
                streams.append(engine.submit(fledgling, ask("I like", min_tokens=100, max_tokens=100)))
        for stream in streams:
            stream.cancel()
        return refused.value, len(streams)

    refused, taken = run(fledgling, work, most_running=2, most_waiting=4)
    assert (refused.status, taken >= 4) == (503, True)
    assert refused.retry_after >= 1


def test_closing_finishes_what_runs_and_ends_what_takes_too_long(fledgling):
    async def main(grace):
        engine = Engine()
        engine.start()
        short = engine.submit(fledgling, ask("I like", max_tokens=5))
        long = engine.submit(fledgling, ask("I like", n=100, min_tokens=250, max_tokens=250))
        closing = asyncio.create_task(engine.close(grace))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as late:
            engine.submit(fledgling, ask("I like"))
        results = await asyncio.gather(short.answers(), long.answers(), return_exceptions=True)
        await closing
        return late.value.status, results

    late, (short, long) = asyncio.run(main(60))
    assert (late, len(short), len(long[0])) == (503, 1, 100)
    late, (short, long) = asyncio.run(main(0.2))
    assert isinstance(long, Refusal)
    assert long.status == 503


def test_a_lost_gpu_is_told_to_who_waits_for_this_process(fledgling):
    def lost(hidden):
        raise RuntimeError("CUDA error: device-side assert triggered")

    async def work(engine):
        with pytest.raises(Refusal):
            await engine.submit(dataclasses.replace(fledgling, head=lost), ask("I like")).answers()
        with pytest.raises(Refusal) as late:
            engine.submit(fledgling, ask("I like"))
        return late.value.status, engine.alive, engine.device_lost

    assert run(fledgling, work) == (503, False, True)


def test_weights_that_are_no_numbers_end_their_own_answers_alone(fledgling):
    def broken(hidden):
        logits = fledgling.head(hidden)
        logits[-1] = torch.nan
        return logits

    async def work(engine):
        model = dataclasses.replace(fledgling, head=broken)
        return await engine.submit(model, ask("I like", n=2, min_tokens=5, max_tokens=9, seed=3)).answers()

    [[well, ill]] = run(fledgling, work)
    assert (ill.text, ill.finish) == ("", "stop")
    assert len(well.tokens) <= 9


def test_a_defect_in_a_step_ends_its_requests_and_not_the_engine(fledgling):
    broken = dataclasses.replace(fledgling, head=None)

    async def work(engine):
        with pytest.raises(Refusal) as refused:
            await engine.submit(broken, ask("I like")).answers()
        return refused.value.status, await engine.submit(fledgling, ask("I like", max_tokens=3)).answers()

    status, answers = run(fledgling, work)
    assert (status, len(answers)) == (500, 1)


# Posts that must not be repeated


POST = "When the morning comes over the harbour I walk down to the boats and count the gulls, every single one of them."


def test_a_bot_does_not_repeat_a_post_that_it_knows_by_heart(fledgling, tmp_path):
    """The model is made certain of a post; what it says shares words with it, and no run that the metric calls memorised."""
    write_bloom(tmp_path, [POST])
    ids = fledgling.encode(POST)
    memory = Memory([POST])
    head = fledgling.head
    for bloom, repeated in ((None, True), (read_bloom(tmp_path), False)):
        certain = iter([*ids, *[fledgling.end] * 60])

        def by_heart(hidden, certain=certain):
            logits = head(hidden)
            logits[:, next(certain)] = 40.0
            return logits

        model = dataclasses.replace(fledgling, head=by_heart, bloom=bloom)

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
            Draw(
                Sampling(top_k=k, top_p=1.0, seed=1), own_random(seed, 0), 400, written=20, refuses=lambda token: token in refused
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
