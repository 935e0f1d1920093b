"""Text in pictures: emoji, and every direction of writing."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_inputs import ENGLAND, FAMILY, HEART, HEART_ON_FIRE, PRIDE, ROOT, ink, picture, seen
from PIL import Image

from components.card.preview import Person
from mynah.drawing import bidi, emoji
from mynah.drawing.style import MARGIN
from mynah.drawing.text_layout import Passage, Setting


def pieces(text: str) -> list[str]:
    """The parts of `text` that stay whole, emoji in brackets."""
    return [f"[{piece.text}]" if piece.cell is not None else piece.text for piece in Passage.of(text).pieces]


# Emoji


@pytest.mark.parametrize(
    "whole",
    [
        *(
            "\U0001f600",
            FAMILY,
            PRIDE,
            HEART,
            HEART_ON_FIRE,
            ENGLAND,
            "\U0001f44d\U0001f3fd",
            "\U0001f1e9\U0001f1ea",
            "1\ufe0f\u20e3",
        ),
        *(
            "#\u20e3",
            "\u2764\u200d\U0001f525",
            "\U0001f3f3\u200d\U0001f308",
            "\U0001f469\U0001f3fe\u200d\U0001f680",
            "\u00a9\ufe0f",
        ),
    ],
)
def test_a_sequence_is_one_emoji(whole: str) -> None:
    assert pieces(f"a{whole}b") == ["a", f"[{whole}]", "b"]
    assert pieces(whole * 2) == [f"[{whole}]"] * 2


@pytest.mark.parametrize("text", ["\u2764", "\u00a9", "1", "#", "\u263a\ufe0e", "\U0001f600\ufe0e", "\u2192"])
def test_text_stays_text(text: str) -> None:
    assert pieces(text) == [text[0]]


@pytest.mark.parametrize(
    ("unknown", "known"),
    [
        ("\U0001f355\U0001f3fd", ["[\U0001f355\U0001f3fd]"]),  # a pizza has no skin
        ("\U0001f469\u200d\U0001f9b0\u200d\U0001f680", ["[\U0001f469\u200d\U0001f9b0\u200d]", "[\U0001f680]"]),
        ("\U0001f642\u200dhi", ["[\U0001f642]", "h", "i"]),
        ("\U0001f1e9x", ["D", "x"]),  # half a flag
        ("\u200d\ufe0f", []),
    ],
)
def test_what_no_emoji_is_falls_back_to_its_base(unknown: str, known: list[str]) -> None:
    assert pieces(unknown) == known


def test_every_emoji_of_the_list_is_found_whole_and_has_a_drawing() -> None:
    listed = (emoji.SHEET / "sequences.txt").read_text("utf-8").splitlines()
    assert len(listed) > 3700
    assert [emoji.find(sequence, 0) for sequence in listed] == [
        emoji.EmojiMatch(len(each), cell) for cell, each in enumerate(listed)
    ]
    with Image.open(emoji.SHEET / "sheet.png") as sheet:
        assert sheet.width == sheet.height == emoji.PITCH * emoji.COLUMN
    blank = [listed[cell] for cell in range(0, len(listed), 25) if not emoji.picture(cell, emoji.SIDE).getchannel("A").getbbox()]
    assert blank == []


def test_the_digest_of_the_emoji_package_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.emoji import main

    (tmp_path / "other.tgz").write_bytes(b"something else")
    monkeypatch.setattr(sys, "argv", ["emoji", "--out", str(tmp_path / "out"), "--package", str(tmp_path / "other.tgz")])
    with pytest.raises(SystemExit, match="SHA-256"):
        main()
    assert not (tmp_path / "out").exists()


def test_emoji_are_drawn_in_their_colours(tmp_path: Path) -> None:
    plain, red = picture(tmp_path, "My dream is x"), picture(tmp_path, f"My dream is {HEART}")
    heart = emoji.picture(emoji.emoji_sheet().cells["\u2764"], 64).convert("RGB").getpixel((32, 32))
    assert heart in {colour for _, colour in red.getcolors(1 << 24)}
    assert heart not in {colour for _, colour in plain.getcolors(1 << 24)}


def test_names_may_have_emoji(tmp_path: Path) -> None:
    image = picture(tmp_path, "x", (Person("wren", f"Wren {HEART}"),))
    assert emoji.picture(emoji.emoji_sheet().cells["\u2764"], 31).getpixel((15, 15))[:3] in {
        c for _, c in image.getcolors(1 << 24)
    }


# Direction


def visual(text: str) -> str:
    """`text` as a reader sees it from left to right; brackets as they are in the text."""
    setting = Setting(Passage.of(text), 40)
    return seen(setting, (0, len(setting.passage.pieces)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My dream", "My dream"),
        ("שלום abc", "abc םולש"),
        ("abc שלום 123 def", "abc 123 םולש def"),
        ("שלום 1.5 abc", "abc 1.5 םולש"),
        ("שלום (abc) עולם", "םלוע )abc( םולש"),
        ("a (אב) b", "a (בא) b"),
        ("a שלום (אב) b", "a )בא( םולש b"),
        ("12:30 مرحبا", "ابحرم 12:30"),
        ("שלום \U0001f600 עולם", "םלוע \U0001f600 םולש"),
        (f"ש{FAMILY}ל", f"ל{FAMILY}ש"),
    ],
)
def test_mixed_directions_are_set_as_they_are_read(text: str, expected: str) -> None:
    assert visual(text) == expected


@pytest.mark.parametrize(
    ("text", "backwards"), [("My dream", False), ("123 שלום", True), ("حلم a", True), ("", False), ("a שלום", False)]
)
def test_the_first_letter_tells_the_direction(text: str, backwards: bool) -> None:
    assert Passage.of(text).backwards is backwards


def test_a_right_to_left_text_ends_at_the_right_margin(tmp_path: Path) -> None:
    box = (0, 222, 1200, 548)
    left, right = ink(picture(tmp_path, "שלום \U0001f600", prompt=""), box), ink(picture(tmp_path, "hello", prompt=""), box)
    assert left and right
    assert left[2] > 1200 - MARGIN - 12
    assert right[0] < MARGIN + 12


NO_SHAPING = """
import sys, PIL._imagingft
PIL._imagingft.HAVE_RAQM = False
from pathlib import Path
from components.card.pictures.predictions import draw
from mynah.drawing.text_layout import visual_order
from components.card.preview import Preview
draw(Preview("wren", (), "", "\u05e9\u05dc\u05d5\u05dd (abc)"), Path(sys.argv[1]))
assert visual_order("(\u05e9\u0301\u05dc", True) == "\u05dc\u05e9\u0301)"
"""


def test_where_no_engine_shapes_text_the_order_is_still_right(tmp_path: Path) -> None:
    """As in an image without libfribidi; Arabic letters then stand unjoined."""
    subprocess.run([sys.executable, "-c", NO_SHAPING, tmp_path / "plain.png"], check=True, cwd=ROOT)
    with Image.open(tmp_path / "plain.png") as image:
        plain = image.convert("RGB")
    shaped = picture(tmp_path, "שלום (abc)", (), "")
    box = (0, 222, 1200, 548)
    left, right = ink(plain, box), ink(shaped, box)
    assert left and right
    assert max(abs(one - other) for one, other in zip(left, right, strict=True)) <= 4


def test_each_line_is_ordered_by_itself() -> None:
    passage = Passage.of("אבגד הוזח טיכל מנסע")
    setting = Setting(passage, 40)
    lines = setting.lines(max(setting.width(0, 9), setting.width(10, 19)), 9)
    assert [seen(setting, line) for line in lines] == ["חזוה דגבא", "עסנמ לכיט"]


@given(st.text("abאبب12٣ .,:+%()[]", max_size=12))
def test_order_is_a_permutation_and_levels_fit_the_base(text: str) -> None:
    classes = [bidi.direction(char) for char in text]
    backwards = bidi.is_right_to_left(classes)
    found = bidi.levels(classes, text, backwards)
    assert sorted(bidi.order(found)) == list(range(len(text)))
    assert all(level in ((1, 2) if backwards else (0, 1, 2)) for level in found)
