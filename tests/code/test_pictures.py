"""The pictures: emoji, every direction of writing, wrapping, portraits, and the harm that a stranger's profile picture can't do."""

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, PngImagePlugin

from components.avatars import MOST_BYTES, MOST_PIXELS, opened, write_avatar
from components.card.pictures import TEXT_SIZES, bidi, draw, emoji
from components.card.pictures.passage import Passage, Setting, fit, shown
from components.card.pictures.pipeline import draw_pipeline
from components.card.pictures.portraits import SIDE, STEP, portrait, portraits, width
from components.card.pictures.style import BACKGROUND, MARGIN, colour_of
from components.card.preview import Chosen, Person, Preview, read_preview, write_preview
from components.card.reading import read_facts
from components.errors import InputError, PlatformError
from components.fetch import fetch
from components.filter import FilterSettings, filter_posts
from tests.code.card_inputs import CardInputs, column, source, training, verdict
from tests.code.x_exports import as_folder, as_zip, export, part, tweet

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
PRIDE, HEART, HEART_ON_FIRE = "\U0001f3f3\ufe0f\u200d\U0001f308", "\u2764\ufe0f", "\u2764\ufe0f\u200d\U0001f525"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
WREN = (Person("wren_groundling", "Wren Groundling"),)
ROOT = Path(__file__).parents[2]


def pieces(text: str) -> list[str]:
    """The parts of `text` that stay whole, emoji in brackets."""
    return [f"[{piece.text}]" if piece.cell is not None else piece.text for piece in Passage.of(text).pieces]


def picture(tmp_path: Path, sample: str, authors: tuple[Person, ...] = WREN, prompt: str = "My dream is") -> Image.Image:
    draw(Preview("wren", authors, prompt, sample), tmp_path / "predictions.png")
    with Image.open(tmp_path / "predictions.png") as image:
        return image.convert("RGB")


def ink(image: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, int, int, int] | None:
    """What of `box` is not background."""
    part_of_it = image.crop(box)
    return ImageChops.difference(part_of_it, Image.new("RGB", part_of_it.size, BACKGROUND)).getbbox()


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
    assert [emoji.find(sequence, 0) for sequence in listed] == [emoji.Found(len(each), cell) for cell, each in enumerate(listed)]
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
    heart = emoji.picture(emoji.known().cells["\u2764"], 64).convert("RGB").getpixel((32, 32))
    assert heart in {colour for _, colour in red.getcolors(1 << 24)}
    assert heart not in {colour for _, colour in plain.getcolors(1 << 24)}


def test_names_may_have_emoji(tmp_path: Path) -> None:
    image = picture(tmp_path, "x", (Person("wren", f"Wren {HEART}"),))
    assert emoji.picture(emoji.known().cells["\u2764"], 31).getpixel((15, 15))[:3] in {c for _, c in image.getcolors(1 << 24)}


# Direction


def visual(text: str) -> str:
    """`text` as a reader sees it from left to right; brackets as they are in the text."""
    setting = Setting(Passage.of(text), 40)
    return seen(setting, (0, len(setting.passage.pieces)))


def seen(setting: Setting, line: tuple[int, int]) -> str:
    runs = setting.runs(*line)
    return "".join(run.text[::-1] if run.backwards and run.cell is None else run.text for run in runs)


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
from components.card.pictures import draw
from components.card.pictures.passage import visual
from components.card.preview import Preview
draw(Preview("wren", (), "", "\u05e9\u05dc\u05d5\u05dd (abc)"), Path(sys.argv[1]))
assert visual("(\u05e9\u0301\u05dc", True) == "\u05dc\u05e9\u0301)"
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


# Wrapping


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
        shown(text).replace(" ", "").startswith(drawn.replace(" ", "").removesuffix("…")) or "\u0301" in text or "\u200d" in text
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


# Portraits


def square(path: Path, colour: str) -> Path:
    Image.new("RGB", (400, 400), colour).save(path)
    return path


def test_portraits_stand_side_by_side_and_more_than_three_are_counted(tmp_path: Path) -> None:
    colours = ("#102030", "#405060", "#708090", "#a0b0c0")
    people = [Person(f"p{n}", "", square(tmp_path / f"avatar-{n}.png", colour)) for n, colour in enumerate(colours, 1)]
    for count in (1, 2, 3):
        row = portraits(people[:count])
        assert row.size == (width(people[:count]), SIDE) == (SIDE + (count - 1) * STEP, SIDE)
        seen = {f"#{bytes(colour[:3]).hex()}" for _, colour in row.getcolors(1 << 20)}
        assert seen.issuperset(colours[:count])
        assert not seen & set(colours[count:])
    assert portraits(people).width == SIDE + 3 * STEP
    assert colours[3] not in {f"#{bytes(colour[:3]).hex()}" for _, colour in portraits(people).getcolors(1 << 20)}
    assert portraits([*people, people[0]]).tobytes() != portraits(people).tobytes(), "+2 is not +1"


def test_who_has_no_picture_gets_a_mynah_of_their_own_colour() -> None:
    assert colour_of("wren") == colour_of("wren") != colour_of("bo")
    assert portrait(Person("wren")).tobytes() != portrait(Person("bo")).tobytes()
    assert colour_of("wren") in {colour for _, colour in portrait(Person("wren")).getcolors(1 << 20)}


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 white pixels in a few kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(5_001 * 1000))) + chunk(b"IEND", b"")


def encoded(form: str, size: tuple[int, int] = (300, 200), **more: object) -> bytes:
    image = Image.new("RGB", size, "teal")
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 2, size[1] // 2), fill="orange")
    file = io.BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
DAMAGED = {
    "bomb": bomb(),
    "svg": SVG,
    "text": b"no picture",
    "cut jpeg": encoded("JPEG")[:400],
    "cut png": encoded("PNG")[:60],
    "cut webp": encoded("WEBP")[:40],
    "cut gif": encoded("GIF")[:30],
    "tiff": encoded("TIFF"),
    "bmp": encoded("BMP"),
    "many pixels": encoded("PNG", (MOST_PIXELS // 4000 + 1, 4001)),
    "many bytes": encoded("PNG") + bytes(MOST_BYTES),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_or_hostile_avatar_becomes_a_mynah(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "avatar-1.png"
    path.write_bytes(DAMAGED[what])
    preview = portrait(Person("wren", "", path))
    assert preview.tobytes() == portrait(Person("wren")).tobytes()
    assert "a profile picture is left out" in capsys.readouterr().err
    assert write_avatar(tmp_path, 2, DAMAGED[what]) == ""
    assert not (tmp_path / "avatar-2.png").exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]), place=st.integers(0, 600), junk=st.binary(max_size=40))
def test_no_bytes_of_an_avatar_raise(form: str, place: int, junk: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    data = encoded(form)
    found = opened(data[:place] + junk + data[place + len(junk) :])
    assert found is None or (found.size, found.mode) == ((400, 400), "RGB")
    capsys.readouterr()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
def test_an_avatar_is_made_anew_as_a_square_without_metadata(tmp_path: Path, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 3, "taken at home"  # upside down; a description
    more: dict[str, object] = {"exif": exif} if form in ("JPEG", "WEBP") else {}
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", "taken at home")
        more = {"pnginfo": info}
    assert write_avatar(tmp_path, 7, encoded(form, **more)) == "avatar-7.png"
    assert b"home" not in (tmp_path / "avatar-7.png").read_bytes()
    with Image.open(tmp_path / "avatar-7.png") as image:
        assert (image.size, image.mode, image.format, dict(image.getexif()), image.info) == ((400, 400), "RGB", "PNG", {}, {})
        orange = image.getpixel((350, 350) if "exif" in more else (50, 50))
        assert orange[0] > 200 > orange[2]


def test_of_a_moving_picture_the_first_frame_is_taken_and_what_is_clear_is_white() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    red = opened(file.getvalue())
    assert red
    assert red.getpixel((200, 200)) == (255, 0, 0)
    file = io.BytesIO()
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(file, "PNG")
    clear = opened(file.getvalue())
    assert clear
    assert clear.getpixel((200, 200)) == (255, 255, 255)


# Avatars in fetch and filter

LONG = "A post that is long enough to be kept, and says something about number"
POSTS = [tweet(number, " ".join(f"{word}{number}" for word in LONG.split())) for number in range(1, 120)]


def with_picture(
    name: str = "5-aBc.jpg", url: object = "https://pbs.twimg.com/profile_images/9/aBc.jpg", data: bytes = b""
) -> dict:
    profile = {"profile": {"description": {"bio": "Small bird."}, "avatarMediaUrl": url}}
    return export(*POSTS) | {
        "data/profile.js": part([profile], 0, "profile"),
        f"data/profile_media/{name}": data or encoded("JPEG"),
    }


@pytest.mark.parametrize("shape", [as_zip, as_folder])
@pytest.mark.parametrize("top", ["", "twitter-2024/"])
def test_the_profile_picture_goes_from_the_export_to_the_data(tmp_path: Path, shape: object, top: str) -> None:
    made = shape(tmp_path / "export.zip", with_picture() | {"data/profile_media/5-header.jpg": b"other"}, top)  # type: ignore[operator]
    [provenance] = fetch([str(made)], tmp_path / "raw")
    assert provenance.avatar == "avatar-1.png"
    assert json.loads((tmp_path / "raw" / "sources.json").read_text())[0]["avatar"] == "avatar-1.png"
    own = (tmp_path / "raw" / "avatar-1.png").read_bytes()
    [again] = fetch([str(tmp_path / "raw")], tmp_path / "again")
    assert again.avatar == "avatar-1.png"
    filter_posts(tmp_path / "again", tmp_path / "data", FilterSettings())
    assert (tmp_path / "data" / "avatar-1.png").read_bytes() == own
    assert sorted(path.name for path in (tmp_path / "data").glob("avatar*")) == ["avatar-1.png"]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("5-aBc.jpg", "https://pbs.twimg.com/profile_images/9/aBc_400x400.jpg"),
        ("5-aBc_normal.png", "https://pbs.twimg.com/profile_images/9/aBc.jpg"),
        ("5-aBc", "https://pbs.twimg.com/profile_images/9/aBc"),
        ("1366000000000000001-a-B_c.jpeg", "https://pbs.twimg.com/profile_images/9/a-B_c.jpeg"),
    ],
)
def test_a_picture_is_found_by_the_name_in_its_address(tmp_path: Path, name: str, url: str) -> None:
    assert fetch([str(as_zip(tmp_path / "export.zip", with_picture(name, url)))], tmp_path / "raw")[0].avatar == "avatar-1.png"


@pytest.mark.parametrize(
    "files",
    [
        export(*POSTS),
        with_picture(url="https://pbs.twimg.com/profile_images/9/other.jpg"),
        with_picture(url=""),
        with_picture(url=None),
        with_picture(url={"a": ["aBc.jpg"]}),
        with_picture(url="../../../etc/passwd"),
        with_picture(data=bomb()),
        with_picture(data=SVG),
        with_picture(data=encoded("PNG") + bytes(MOST_BYTES)),
    ],
)
def test_posts_do_not_wait_for_a_picture(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    [provenance] = fetch([str(as_zip(tmp_path / "export.zip", files))], tmp_path / "raw")
    assert (provenance.avatar, provenance.posts) == ("", len(POSTS))
    assert list((tmp_path / "raw").glob("*.png")) == []


def test_a_damaged_member_costs_the_picture_alone(tmp_path: Path) -> None:
    made = as_zip(tmp_path / "export.zip", with_picture())
    with zipfile.ZipFile(made) as packed:
        info = packed.getinfo("data/profile_media/5-aBc.jpg")
    data = bytearray(made.read_bytes())
    data[info.header_offset + 120 : info.header_offset + 160] = bytes(40)
    made.write_bytes(data)
    assert fetch([str(made)], tmp_path / "raw")[0].avatar == ""


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    made = as_folder(tmp_path / "export", with_picture())
    (tmp_path / "secret.jpg").write_bytes(encoded("JPEG"))
    (made / "data" / "profile_media" / "5-aBc.jpg").unlink()
    (made / "data" / "profile_media" / "5-aBc.jpg").symlink_to(tmp_path / "secret.jpg")
    assert fetch([str(made)], tmp_path / "raw")[0].avatar == ""


def test_without_pillow_there_are_posts_and_no_picture(tmp_path: Path) -> None:
    program = "import sys; sys.modules['PIL'] = None\nfrom components.fetch import fetch\nfrom pathlib import Path\n"
    program += "print(repr(fetch(['sample'], Path(sys.argv[1]))[0].avatar))"
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "raw"], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.returncode) == ("''", 0), done.stderr


def test_each_source_keeps_its_own_picture(tmp_path: Path) -> None:
    one = as_zip(tmp_path / "one.zip", export(*POSTS))
    two = as_zip(tmp_path / "two.zip", with_picture())
    found = fetch([str(one), str(two)], tmp_path / "raw")
    assert [each.avatar for each in found] == ["", "avatar-2.png"]
    found = fetch([str(tmp_path / "raw")], tmp_path / "again")
    assert [each.avatar for each in found] == ["", "avatar-2.png"]


@pytest.mark.parametrize("avatar", ["../secret.png", "/etc/passwd", "avatar-1.png/../../secret.png", 7, None, "avatar-2.png"])
def test_a_raw_folder_that_names_another_file_gives_none_of_it(tmp_path: Path, avatar: object) -> None:
    fetch([str(as_zip(tmp_path / "export.zip", with_picture()))], tmp_path / "raw")
    (tmp_path / "secret.png").write_bytes(encoded("PNG"))
    sources = json.loads((tmp_path / "raw" / "sources.json").read_text())
    sources[0]["avatar"] = avatar
    (tmp_path / "raw" / "sources.json").write_text(json.dumps(sources))
    assert fetch([str(tmp_path / "raw")], tmp_path / "again")[0].avatar == ""
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    for folder in ("again", "data"):
        assert list((tmp_path / folder).glob("avatar*")) == []


def test_the_sample_has_a_picture(tmp_path: Path) -> None:
    from scripts.wren import picture as wren

    assert fetch(["sample"], tmp_path / "raw")[0].avatar == "avatar-1.png"
    drawn = opened(wren())
    assert drawn
    with Image.open(tmp_path / "raw" / "avatar-1.png") as image:
        assert image.tobytes() == drawn.tobytes()
    assert len(wren()) < 10_000


# card.json


def test_card_json_holds_all_that_the_picture_needs(tmp_path: Path) -> None:
    people = (Person("ann", "Ann", square(tmp_path / "avatar-1.png", "red")), Person("bo"))
    chosen = Chosen.first("duo", people, "My dream is", ["", " ", "My dream is a", "My dream is b"], "https://a.example/b")
    write_preview(tmp_path, chosen)
    found = read_preview(tmp_path)
    assert found == chosen
    assert found.preview.sample == "My dream is a"
    assert found.choose(4).preview == Preview("duo", people, "My dream is", "My dream is b")
    record = json.loads((tmp_path / "card.json").read_text())
    assert list(record) == ["name", "authors", "prompt", "samples", "chosen", "url"]
    assert record["authors"][0] == {"handle": "ann", "display_name": "Ann", "avatar": "avatar-1.png"}
    (tmp_path / "avatar-1.png").unlink()
    assert read_preview(tmp_path).authors[0].avatar is None


@pytest.mark.parametrize("number", [0, -1, 3, 10**9])
def test_a_sample_that_is_not_there_cannot_be_chosen(number: int) -> None:
    with pytest.raises(InputError, match="there are 2"):
        Chosen("wren", WREN, "", ("a", "b")).choose(number)
    with pytest.raises(InputError, match="there is none"):
        Chosen("wren", WREN, "", ()).choose(1)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"authors": [{"handle": "a", "display_name": "", "avatar": "../../etc/passwd"}]}, "avatar"),
        ({"authors": [{"handle": 3, "display_name": ""}]}, "handle"),
        ({"samples": "abc"}, "samples"),
        ({"chosen": 3}, "chosen"),
        ({"chosen": "1"}, "chosen"),
        ({"name": None, "authors": {}}, "authors"),
    ],
)
def test_a_card_json_of_another_shape_is_named(tmp_path: Path, change: dict[str, object], key: str) -> None:
    write_preview(tmp_path, Chosen("wren", WREN, "", ("a", "b")))
    record = json.loads((tmp_path / "card.json").read_text()) | change
    (tmp_path / "card.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=rf"card\.json .*{key}"):
        read_preview(tmp_path)


# The pipeline


def pipeline(tmp_path: Path, inputs: CardInputs) -> Image.Image:
    draw_pipeline(read_facts("wren", *inputs.write(tmp_path)), tmp_path / "pipeline.png")
    with Image.open(tmp_path / "pipeline.png") as image:
        return image.copy()


def test_the_pipeline_reads_on_light_and_dark(tmp_path: Path) -> None:
    image = pipeline(tmp_path, CardInputs())
    assert (image.size, image.mode) == ((1200, 428), "RGBA")
    assert image.getpixel((0, 0))[3] == 0
    assert image.getpixel((600, 10)) == (*BACKGROUND, 255)


def test_the_pipeline_shows_the_runs_own_numbers(tmp_path: Path) -> None:
    from components.card.pictures.pipeline import steps

    inputs = CardInputs(sources=[source("a"), source("b")], verdict=verdict(passed=False))
    inputs.funnel["authors"] = [column("a"), column("b", 1300, retweet=5)]
    inputs.training = training(base_model={"name": "/home/somebody/gpt2", "digest": "00", "revision": ""})
    boxes = [f"{box.title}: {box.number} {box.more}".strip() for box in steps(read_facts("wren", *inputs.write(tmp_path)))]
    assert boxes == [
        "Fetch: 3,000 posts of 2 authors",
        "Filter: 2,745 kept of 3,000 posts",
        "Fine-tune: 5.20 → 4.01 held-out loss, gpt2",
        "Evaluate: did not pass checks failed: 1 of 1",
        "Card: README.md and pictures",
        "Register: a new version in MLflow",
        "Promote: refused by the gate",
        "Serve: not served",
    ]
    failed = pipeline(tmp_path, inputs)
    assert failed.tobytes() == pipeline(tmp_path, inputs).tobytes()
    assert failed.tobytes() != pipeline(tmp_path, CardInputs()).tobytes()


def test_the_licences_of_what_ships_lie_beside_it() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in project["license-files"]:
        assert (ROOT / name).is_file()
    assert "components/card/emoji/LICENSE_TWEMOJI" in project["license-files"]
    assert "Attribution 4.0" in " ".join((emoji.SHEET / "LICENSE_TWEMOJI").read_text().split())
