"""Made-up words and unreadable characters: what counts, what does not, and what the gate makes of constructed bots."""

import random
import time
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluate.gate import judge, read_gate
from components.evaluate.made_up_words import count_made_up, why_left_out, words
from components.evaluate.sample_metrics import measure_texts
from components.evaluate.samples import Samples
from components.evaluate.unreadable import unreadable_share

POSTS = [
    "The harbour was quiet this morning, and the gulls were louder than the boats.",
    "My neighbour bought another bicycle; that makes seven in a house of three people.",
    "Nobody tells you how long it takes to paint a single wooden window frame.",
    "Coffee first, then the news, then perhaps another coffee because of the news.",
    "If the train is late again tomorrow I shall simply live at the station.",
    "Reading by the window while it rains is the whole point of October.",
]
HELD_OUT = ["The gulls came back to the wooden window.", "Another coffee at the station, and seven people reading."]
SENSE = [threshold for threshold in read_gate() if threshold.metric in ("made_up_excess", "unreadable_share")]
LETTERS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzäöüéñçßжзийлд"), min_size=4, max_size=9)


def made_up(text, train=(), held_out=(), prompt="", languages=("en",)):
    return count_made_up([(prompt, text)], train, held_out, languages)


# What a word is


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The Gulls, the BOATS!", ["gulls", "boats"]),
        ("of two and one", []),
        ("see https://example.org/some/path?x=words (http://example.org) or www.example.org or bit.ly/abcdef", []),
        ("@somebody told #everything to name@example.org", ["told"]),
        ("12345 b4now covid19 snake_case_word", []),
        ("fish &amp; chips 😀😀😀😀 ½½½½", ["fish", "chips"]),
        ("that\u2019s what I don't know", ["that's", "what", "know"]),
        ("sooooooo coooool", ["sooo", "coool"]),
        ("cafe\u0301s", ["cafés"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("well-known", ["well", "known"]),
    ],
)
def test_words(text, found):
    assert words(text) == found


@given(st.text(max_size=80))
def test_words_are_the_same_in_any_case_and_any_form(text):
    found = words(text)
    assert found == words(unicodedata.normalize("NFD", text))
    assert all(len(word) >= 4 and not any(map(str.isdigit, word)) for word in found)
    assert words(" ".join(found)) == found


def test_long_texts_take_no_longer_by_the_letter():
    began = time.process_time()
    for piece in ("a.b", "a@", "aaa.", "&amp", "l'", "a/"):
        words(piece * 20_000)
    assert time.process_time() - began < 5


@given(LETTERS, st.integers(3, 30), st.integers(3, 30))
def test_how_long_a_letter_is_drawn_out_says_nothing(word, once, again):
    assert words(word + word[-1] * once) == words(word + word[-1] * again)


@given(st.lists(LETTERS, max_size=6), st.sampled_from(["#{}", "@{}", "https://x.org/{}", "{}1", "{}_a", "{}@x.org"]))
def test_tags_names_addresses_and_numbers_are_no_words(several, form):
    assert words(" ".join(form.format(word) for word in several)) == []


# What is made up


@pytest.mark.parametrize(
    "text", ["harbour colour facebook wouldn't that's James Chicago gonna", "yesssss coooool helllllo", "Soooo good"]
)
def test_words_that_people_use_are_not_made_up(text):
    assert made_up(text).share == 0


def test_made_up_words_by_hand():
    found = made_up("The uterggjween boats pointual and milist gulls")
    assert found.share == 3 / 5
    assert found.samples == ("The uterggjween boats pointual and milist gulls",)


def test_the_authors_own_words_are_not_made_up_and_the_held_out_ones_measure_the_author():
    found = made_up("zwurbel flimmse snarkle", ["zwurbel the boats"], ["flimmse the gulls"])
    assert found.share == 1 / 3
    assert found.author_share == 1 / 2  # flimmse, of flimmse and gulls, stands in no training post
    assert found.excess == pytest.approx(1 / 3 - 1 / 2)
    assert made_up("zwurrrrrbel", ["zwurbel"]).share == 0


def test_a_prompts_words_do_not_count():
    assert made_up("zwurbel boats flimmse", prompt="zwurbel boats").share == 1
    assert made_up("zwurbel boats zwurbel", prompt="zwurbel boats").share == 0


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "Schöne Grüße aus der Straße"), ("fr", "l'homme qu'elles aimaient"), ("hr", "dobro jutro svima")],
)
def test_other_languages(language, text):
    assert made_up(text, languages=[language]).share == 0
    assert made_up("qwrtzu plimbx", languages=[language]).share == 1


@settings(max_examples=50)
@given(st.lists(LETTERS, min_size=1, max_size=8), st.lists(LETTERS, max_size=8), st.lists(LETTERS, min_size=1, max_size=8))
def test_whatever_the_author_wrote_is_not_made_up(train, held_out, written):
    text = " ".join([*train, *held_out])
    assert made_up(text, [" ".join(train)], [" ".join(held_out)]).share == 0
    found, more = made_up(" ".join(written), train), made_up(" ".join(written), train, written[:1])
    assert 0 <= more.share <= found.share <= 1
    assert -1 <= found.excess <= 1


@pytest.mark.parametrize(
    ("languages", "why"),
    [
        (["en"], ""),
        (["en", "hr", "no", "ru"], ""),
        (["th"], "there is no list of words for th"),
        (["en", "zh", "ja"], "there is no list of words for zh and ja"),
        ([], "the language of the posts is not known"),
    ],
)
def test_languages_without_a_list_are_left_out(languages, why):
    assert why_left_out(languages) == why


# Unreadable characters


def test_unreadable_characters_by_hand():
    posts = ["plain letters"]
    assert unreadable_share([("", "plain é 😀 12 «»")], posts, 0) == (0, [])
    assert unreadable_share([("", "ab\ue000\u0378яз"), ("", "fine"), ("", "жbcd")], posts, 0) == (
        5 / 14,
        ["ab\ue000\u0378яз", "жbcd"],
    )
    assert unreadable_share([("", "ab")], posts, 2) == (2 / 4, [])
    assert unreadable_share([("", "")], posts, 0) == (0, [])


def test_a_prompts_script_is_readable():
    assert unreadable_share([("Моя", "Моя мечта"), ("My", "My мечта")], ["Latin"], 0) == (5 / 12, ["My мечта"])
    assert unreadable_share([("\ue000", "\ue000\ue000")], ["Latin \ue000"], 0) == (1, ["\ue000\ue000"])


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.lists(st.text(max_size=30), max_size=5), st.integers(0, 50))
def test_the_share_is_a_share(texts, posts, invalid):
    share, worst = unreadable_share([("", text) for text in texts], posts, invalid)
    assert 0 <= share <= 1
    assert set(worst) <= set(texts)


# The gate's verdict on constructed bots


def verdict(texts, invalid=0, train=POSTS, held_out=HELD_OUT):
    samples = Samples({"": texts}, tokens=100, seconds=1.0, invalid=invalid)
    metrics, offenders = measure_texts(samples, train, held_out, 1, ["en"])
    return {check.metric: check for check in judge(metrics, SENSE, offenders).failures}


def test_a_bot_that_writes_like_its_author_makes_sense():
    assert not verdict([f"{first[:30]} {second[30:]}" for first, second in pairwise(POSTS)])


def test_random_letters_fail_on_made_up_words():
    rng = random.Random(1)
    texts = [" ".join("".join(rng.choices("etaoinshrdlu", k=rng.randint(3, 9))) for _ in range(9)) for _ in range(20)]
    failures = verdict(texts)
    assert set(failures) == {"made_up_excess"}
    assert failures["made_up_excess"].value > 0.8
    assert set(failures["made_up_excess"].samples) <= set(texts)


def test_word_salad_is_words_and_is_the_losses_to_see():
    rng = random.Random(1)
    vocabulary = " ".join(POSTS).split()
    assert not verdict([" ".join(rng.choices(vocabulary, k=12)) for _ in range(20)])


def test_a_bot_of_another_script_fails_on_unreadable_characters():
    failures = verdict([*POSTS, "чужие буквы среди своих", "my own, и чужие буквы"])
    assert failures["unreadable_share"].samples == ("чужие буквы среди своих", "my own, и чужие буквы")


def test_a_bot_of_random_bytes_fails_on_unreadable_characters():
    assert set(verdict(POSTS, invalid=200)) == {"unreadable_share"}
