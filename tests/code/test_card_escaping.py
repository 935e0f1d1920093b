"""Nothing an author wrote is more than words in the card."""

import re
from pathlib import Path

import pytest
from card_text import FAST, HOSTILE, PIECES, shape, tokens, words, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mynah.data.markdown import clean, code, markdown
from tests.code.card_inputs import CardInputFiles, column, samples, source, training, verdict

# Escaping


def check_is_only_words(text: str) -> None:
    """Where a card may put it, `text` adds no token, no HTML, and nothing that a site makes a link, a mention or a formula of."""
    escaped = markdown(text)
    for before, after in (
        ("", ""),
        ("x ", " x"),
        ("- ", ""),
        ("1. ", ""),
        ("“", "”"),
        ("[", "](x)"),
        ("| h |\n| :-- |\n| ", " |"),
    ):
        assert shape(before + (escaped or "x") + after) == shape(f"{before}x{after}")
    if clean(text):
        assert words(escaped) == clean(text)
    assert not re.search(r"[<>]|&(?!#\d+;)", escaped)
    seen = "".join(token.content for token in tokens(escaped) if token.type == "text")
    assert not re.search(r"://|www\.\w|[@#]\w|\$\$|\\[(\[]|\w\.[^\W\d]|:[\w+-]+:", seen)


@pytest.mark.parametrize("piece", PIECES)
def test_escaped_markup_is_only_words(piece: str) -> None:
    for text in (piece, f"{piece}x", f"x{piece}", f"x {piece} y", piece * 2):
        check_is_only_words(text)


@FAST
@given(HOSTILE)
def test_escaped_text_is_only_words(text: str) -> None:
    check_is_only_words(text)


@FAST
@given(HOSTILE)
def test_code_is_one_code_span(text: str) -> None:
    assert shape(f"- a: {code(text)} b") == shape("- a: `x` b")
    if clean(text):
        assert words(f"a {code(text)}") == f"a {clean(text)}"


@pytest.mark.parametrize(
    "place", [*range(0x20), 0x7F, 0x85, 0x61C, 0x200B, 0x202A, 0x202E, 0x2028, 0x2066, 0x2069, 0xFEFF, 0xD800, 0xE0041]
)
def test_unseen_characters_are_left_out(place: int) -> None:
    cleaned = clean(f"a{chr(place)}b")
    assert cleaned in ("ab", "a b")
    assert chr(place) not in cleaned or place == 0x20


@FAST
@given(HOSTILE, st.integers(1, 40))
def test_clean_text_is_clean_short_enough_and_writable(text: str, limit: int) -> None:
    assert clean(clean(text)) == clean(text)
    assert len(clean(text, limit)) <= limit
    clean(text).encode("utf-8")


def test_ordinary_text_stays_readable_in_the_source() -> None:
    assert markdown("It's 3.5 o'clock, isn't it? (Yes - I think so!)") == "It's 3.5 o'clock, isn't it? (Yes - I think so!)"
    assert markdown("0.0005") == "0.0005"
    joined = "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627 \U0001f469\u200d\U0001f467"
    assert clean(joined) == joined  # Persian and emoji need their joiners


# The card


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, min_size=9, max_size=9))
def test_a_hostile_author_changes_words_only(tmp_path: Path, texts: list[str]) -> None:
    inputs, plain = hostile(texts), hostile(["x"] * 9)
    theirs, ordinary = written(tmp_path / "a", inputs), written(tmp_path / "b", plain)
    assert shape(theirs) == shape(ordinary)
    assert theirs.split("\n---\n")[0] == ordinary.split("\n---\n")[0]


def hostile(texts: list[str]) -> CardInputFiles:
    name, bio, sample, handle, origin, basis, reason, base, offender = (text if clean(text) else "x" for text in texts)
    author = f"a{handle}"
    failed = verdict(passed=False)
    failed["checks"][0] |= {"reason": reason, "samples": [offender] * 2}
    failed["checks"].append(failed["checks"][0] | {"metric": f"m{offender}"})
    return CardInputFiles(
        sources=[
            source(author, display_name=f"b{name}", bio=bio, source=origin, basis=basis, kind=origin, first=basis, last=basis)
        ],
        funnel={"rules": "default", "authors": [column(author)], "train": 1, "held_out": 1, "seed": 1},
        training=training(base_model={"name": f"/{base}", "digest": base}, recipe={"preset": reason}),
        verdict=failed,
        samples=samples(*[sample] * 5),
    )
