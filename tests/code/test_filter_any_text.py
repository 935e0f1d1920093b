"""What holds for any text: cleaning it twice changes nothing more, and crafted texts take no time."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.filter.rule_selection import ON
from components.filter.rules import DefaultRules, Dropped, rule_for
from components.filter.text_cleaning import STEPS, clean
from mynah.data.posts import Entity, Post
from tests.code.filter_inputs import ANY_TEXT, post

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit


@given(ANY_TEXT)
@settings(max_examples=300)
def test_cleaning_any_text_is_done_once_and_makes_nothing_longer(text):
    cleaned, _ = clean(text, set(ON))
    assert len(cleaned) <= len(text)
    assert clean(cleaned, set(ON)) == (cleaned, set())
    assert cleaned == " ".join(cleaned.split())
    assert "<|endoftext|>" not in cleaned
    assert not re.search(r"https?:\S", cleaned, re.IGNORECASE)
    cleaned.encode()  # no half of a surrogate pair, which no file can hold


@pytest.mark.parametrize("rule", [name for name, _ in STEPS])
@given(text=ANY_TEXT)
@settings(max_examples=40)
def test_each_rule_alone_is_done_once_and_makes_nothing_longer(rule, text):
    cleaned, _ = clean(text, {rule})
    assert len(cleaned) <= len(text)
    assert clean(cleaned, {rule}) == (cleaned, set())


@given(
    ANY_TEXT,
    st.lists(st.tuples(st.integers(-2, 40), st.integers(-2, 40), st.sampled_from(["url", "mention", "media", "hashtag"]))),
)
def test_any_post_is_judged(text, spans):
    posts = Post("1", "ann", text, entities=tuple(Entity(*span) for span in spans))
    for rules in ("default", "default,-short,-controls,+language"):
        judged = rule_for(rules, {"ann": "en"})(posts)
        assert isinstance(judged, Dropped) or judged.text
        assert isinstance(judged, Dropped) or len(judged.text) <= len(text)


@pytest.mark.parametrize(
    "text",
    ["&amp;" * 100_000 + "lt;", "&" * 200_000, "@a" * 100_000, "RT " * 100_000 + "@", "&&#97;mp;" * 30_000, "I'm at " + "w/ " * 60_000,
     "I ousted " + " as the mayor of " * 20_000, "98.202.88.97 " * 30_000, "http:)" * 50_000, "http:(" * 50_000, "( " * 100_000,
     " " * 200_000 + "http", "\u2066@" * 100_000],
)  # fmt: skip
@pytest.mark.timeout(20)  # what takes the square of a text's length would take minutes
def test_crafted_texts_take_no_time_to_speak_of(text):
    cleaned, _ = clean(text, set(ON))
    assert clean(cleaned, set(ON))[0] == cleaned
    DefaultRules()(post(text))
