"""Behaviour of a trained bot, in the manner of Ribeiro et al. 2020 ("Beyond Accuracy: Behavioral Testing of NLP Models with CheckList").

Minimum functionality: what any bot must do. Invariance: what must not change it. Directional: what must change it, and which way.
"""

import json

import pytest

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.data.datasets import read_texts
from mynah.data.verbatim_filter import words
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING_FOLDER
from mynah.models.sampling import NO_TEXT, Sampling
from mynah.models.scoring import score
from mynah.training.recipe import build

PROMPT = "My dream is"
# What the bundled author would never write.
OTHERS = (
    "The quarterly report shows that revenue grew by 12% in the third quarter.",
    "Please restart the server and clear the browser cache before you try again.",
    "Add two eggs, 200 g of flour and a pinch of salt, then bake for 30 minutes at 180 degrees.",
    "Breaking: the match ended 2-1 after extra time, and the coach has resigned.",
)


@pytest.fixture(scope="module")
def writer(sound):
    from mynah.decoding.model import load_model

    return load_model(sound)


def write(writer, prompt, n=40):
    from mynah.decoding.generate import generate

    return generate(writer, [prompt], Sampling(n=n, max_tokens=40, seed=7)).texts[0]


def known_words(answers, prompt, author):
    """Share of the answers' own words that stand in the author's posts."""
    vocabulary = {word for text in read_texts(author, "train") for word in words(text)}
    said = [word for answer in answers for word in words(answer[len(prompt.strip()) :])]
    return sum(word in vocabulary for word in said) / len(said)


def loss(folder, texts):
    return score(checkpoint.load(folder), texts).loss


# Minimum functionality


@pytest.mark.parametrize("prompt", ["", PROMPT, "I", "é", "🙂", "#", "my my my my", "http://", "?"])
def test_every_answer_goes_on_from_its_prompt_and_is_text(writer, prompt):
    answers = write(writer, prompt, n=10)
    assert len(answers) == 10
    for answer in answers:
        assert answer.startswith(prompt)
        assert len(answer) > len(prompt)
        assert not NO_TEXT.search(answer)
        assert "<|endoftext|>" not in answer


def test_answers_are_different_and_mostly_of_words(writer, author):
    answers = write(writer, PROMPT)
    assert len(set(answers)) == len(answers)
    assert known_words(answers, PROMPT, author) > 0.6


# Invariance


@pytest.mark.parametrize("prompt", ["my dream is", "My Dream is", "My dream is ", "My dream is  "])
def test_case_and_a_trailing_blank_do_not_turn_words_into_noise(writer, author, prompt):
    plain = known_words(write(writer, PROMPT), PROMPT, author)
    assert known_words(write(writer, prompt), prompt, author) == pytest.approx(plain, abs=0.12)


def test_case_hardly_changes_how_well_the_author_is_predicted(sound, author):
    held_out = read_texts(author, "held_out")
    lowered = [text[0].lower() + text[1:] for text in held_out]
    assert loss(sound, lowered) == pytest.approx(loss(sound, held_out), rel=0.1)


# Directional


def test_training_on_an_author_helps_with_that_author_and_not_with_others(sound, author):
    held_out = read_texts(author, "held_out")
    gain = loss(FLEDGLING_FOLDER, held_out) - loss(sound, held_out)
    assert gain > 0.1
    assert loss(FLEDGLING_FOLDER, OTHERS) - loss(sound, OTHERS) < gain / 2


def test_more_training_lowers_the_held_out_loss_until_it_overfits(author, tmp_path):
    lines = (author / "train.jsonl").read_text().splitlines(keepends=True)[:60]
    few = tmp_path / "data"
    few.mkdir()
    (few / "train.jsonl").write_text("".join(lines))
    (few / "held_out.jsonl").write_text((author / "held_out.jsonl").read_text())
    record = finetune(few, tmp_path / "model", FinetuneSettings("fledgling", build("default", {"epochs": 8, "patience": 0})))
    held_out = [epoch.held_out_loss for epoch in record.history]
    trained = [epoch.train_loss for epoch in record.history[1:]]
    assert held_out[1] < held_out[0]
    assert trained == sorted(trained, reverse=True)
    best = held_out.index(min(held_out))
    assert 0 < best < 8, json.dumps(held_out)
    assert held_out[-1] > min(held_out) + 0.05
