"""The layout of predictions.png: text stays in its box, any text can be drawn, and the same gives the same bytes."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_inputs import ENGLAND, FAMILY, HEART, PRIDE, WREN, ink, picture
from PIL import Image

from components.card.pictures.predictions import TEXT_SIZES, draw
from components.card.preview import Person, Preview
from mynah.core.errors import PlatformError
from mynah.drawing.style import MARGIN
from mynah.drawing.text_layout import Passage, fit, single_line

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit


@pytest.mark.parametrize(
    "text",
    [
        *("My dream is to fly.", "word " * 300, "x" * 900, "\u0627" * 600, "漢字" * 300, "e\u0301" * 400, "🙂" * 300),
        *(FAMILY * 200, "a" + "\u0301" * 500, "a\u200d" * 500, f"My {PRIDE} " * 100, "שלום " * 200, "\ufdfd" * 50),
    ],
)
def test_text_stays_in_its_box(text: str) -> None:
    setting, lines = fit(Passage.of(text, 11, 1200), TEXT_SIZES, 1000, 326)
    assert all(setting.width(start, end) <= 1000 for start, end in lines)
    assert len(lines) * setting.size <= 326
    drawn = "".join(piece.text for start, end in lines for piece in setting.passage.pieces[start:end])
    assert (
        single_line(text).replace(" ", "").startswith(drawn.replace(" ", "").removesuffix("…"))
        or "\u0301" in text
        or "\u200d" in text
    )
    assert setting.size == 60 or len(lines) > 1


def test_short_text_is_large_and_text_too_long_ends_in_an_ellipsis() -> None:
    assert fit(Passage.of("My dream is to fly."), TEXT_SIZES, 1000, 326)[0].size == 60
    cut, lines = fit(Passage.of("word " * 240), TEXT_SIZES, 1000, 326)
    assert cut.passage.text.endswith("d…")
    assert lines[-1][1] == len(cut.passage.pieces)


def test_no_line_begins_with_a_space_or_a_full_stop_after_an_emoji() -> None:
    text = f"{'🙂' * 9}. " * 20
    setting, lines = fit(Passage.of(text), TEXT_SIZES, 1000, 326)
    assert len(lines) > 2
    assert not {setting.passage.pieces[start].text for start, _ in lines} & {" ", "."}


@pytest.mark.parametrize("sample", ["word " * 300, f"{FAMILY}{HEART}" * 200, "x" * 2000, "ש" * 2000, "W" * 2000, "𒐫﷽" * 300])
def test_nothing_is_drawn_outside_the_margins(tmp_path: Path, sample: str) -> None:
    long = (Person("w" * 64, "W" * 80), *(Person(f"author_{number}" * 5, "Author " * 9) for number in range(9)))
    image = picture(tmp_path, sample, long)
    assert image.size == (1200, 630)
    for box in ((0, 13, MARGIN - 8, 630), (1200 - MARGIN + 8, 13, 1200, 630), (0, 548, 1200, 564), (0, 190, 1200, 214)):
        assert ink(image, box) is None, box


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("My dream is \u202eover\u202c \u2066ridden\u2069 \x00x\u200b", "My dream is over ridden x"),
        ("My dream is\n# a\ttitle", "My dream is # a title"),
        (f"My dream is {ENGLAND[0]}{ENGLAND[1:4]} hidden", f"My dream is {ENGLAND[0]} hidden"),
    ],
)
def test_what_would_hide_or_turn_text_is_left_out(tmp_path: Path, hostile: str, harmless: str) -> None:
    assert picture(tmp_path, hostile).tobytes() == picture(tmp_path, harmless).tobytes()


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=60),
    st.text(st.sampled_from(f"aא1 .({FAMILY}{ENGLAND}{PRIDE}\u0301\ud800"), max_size=60),
    st.text(max_size=30),
)
def test_any_text_can_be_drawn(tmp_path: Path, text: str, woven: str, name: str) -> None:
    image = picture(tmp_path, text + woven, (Person(name, woven), Person("b", text)), text[:5])
    assert image.size == (1200, 630)


def test_a_sample_that_says_nothing_gives_a_picture_too(tmp_path: Path) -> None:
    assert ink(picture(tmp_path, " \n\u200b"), (0, 222, 1200, 548))
    assert picture(tmp_path, "", ()).size == (1200, 630)


def test_the_same_preview_gives_the_same_bytes(tmp_path: Path) -> None:
    preview = Preview("wren", WREN, "My dream is", f"My dream is {FAMILY} שלום")
    draw(preview, tmp_path / "a.png")
    draw(preview, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert (image.size, image.mode, image.format) == ((1200, 630), "RGB", "PNG")


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="cannot be written"):
        draw(Preview("wren", WREN, "", "x"), tmp_path / ("long" * 100))
