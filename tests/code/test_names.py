"""Names of bots and authors: which are good, what is suggested, and that they are safe in paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mynah.core.errors import InputError
from mynah.core.names import BOT_NAME, author_name, bot_name, suggested_name


@pytest.mark.parametrize("name", ["wren", "a", "a1", "my-bot-2", "x" * 40, "x" + "9" * 39])
def test_good_bot_names(name):
    assert bot_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a b", "../etc", "a/b", "x" * 41, "é", "a\n", "wren.", "%2e", "1", "7up"]
)
def test_bad_bot_names(name):
    with pytest.raises(InputError, match="can't be a bot's name"):
        bot_name(name)


@given(st.text(max_size=80))
def test_what_is_suggested_is_valid(text):
    assert BOT_NAME.fullmatch(suggested_name(text))


@given(st.text(max_size=200))
def test_author_names_are_safe_in_paths(text):
    name = author_name(text)
    assert name
    assert len(name) <= 64
    assert not set(name) & set("/\\\0\n<>|\"' ")
    assert not name.startswith(".")


@pytest.mark.parametrize("text", ["7up", "2", "é", "", "--", "Ann Smith", "9" * 80, "ﬁnch"])
def test_a_suggestion_keeps_what_it_can(text):
    name = suggested_name(text)
    assert bot_name(name) == name == suggested_name(name)
    assert name == {"7up": "bot-7up", "Ann Smith": "ann-smith", "": "my-bot", "--": "my-bot", "é": "e", "ﬁnch": "finch"}.get(
        text, name
    )
