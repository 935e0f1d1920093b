"""Decoding without a server: what the engine says, for many prompts at once."""

import asyncio
import re

import pytest

from components.decoding import generate
from components.decoding.model import load_model
from components.errors import InputError
from components.finetune.base_model import FLEDGLING, resolve
from components.generation import Sampling
from serving.engine import Engine
from serving.engine.ask import Ask

PROMPTS = ["My dream is", "", "I like", "My dream is"]


@pytest.fixture(scope="module")
def fledgling():
    return load_model(resolve(FLEDGLING).folder, "cpu")


def test_it_writes_what_the_server_says(fledgling):
    """More sequences than run side by side, of all lengths, some that end by themselves and some that are cut."""
    sampling = Sampling(n=25, min_tokens=0, max_tokens=20, seed=5)

    async def served():
        engine = Engine()
        engine.start()
        try:
            return await engine.submit(fledgling, Ask(tuple(PROMPTS), sampling)).answers()
        finally:
            await engine.close(5)

    answers = asyncio.run(served())
    expected = [[f"{prompt}{each.text}".strip() for each in several] for prompt, several in zip(PROMPTS, answers, strict=True)]
    written = generate(fledgling, PROMPTS, sampling)
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
    with pytest.raises(InputError, match="leaves no room"):
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
