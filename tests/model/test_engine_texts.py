"""The texts of an engine: a seed means the same whatever runs beside it, stop strings, and the context's limit."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mynah.decoding.detokenizer import Transcript
from mynah.decoding.errors import PromptTooLong
from tests.model.engine_requests import ask, greedy, ids_of, run, texts


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

    crowd, alone = run(fledgling, work, max_running=20)
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
    prompt = ("the " * 240).strip()
    room = fledgling.context - len(ids_of(fledgling, [prompt])[0])
    answer = run(fledgling, lambda engine: engine.submit(fledgling, ask(prompt, min_tokens=room, max_tokens=160)).answers())[0][0]
    assert (len(answer.tokens), answer.finish) == (room, "length")


def test_blanks_at_the_end_of_a_prompt_begin_the_next_word(fledgling):
    """As in posts, where a blank is a part of the token that follows it."""
    plain, blank, blanks = texts(
        [run(fledgling, lambda engine, prompt=prompt: engine.submit(fledgling, ask(prompt, n=4, seed=3, max_tokens=12)).answers())[0]
         for prompt in ("My dream is", "My dream is ", "My dream is  ")]
    )  # fmt: skip
    assert blank == blanks == [text.removeprefix(" ") for text in plain]
    assert blank != plain


@pytest.mark.parametrize("prompt", ["the " * 300, "x" * 10**6])
def test_a_prompt_that_leaves_no_room_is_refused(fledgling, prompt):
    with pytest.raises(PromptTooLong, match="context of 256"):
        run(fledgling, lambda engine: engine.submit(fledgling, ask(prompt)).answers())
