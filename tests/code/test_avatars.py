"""Profile pictures: from the export to the portraits, and the harm that a stranger's picture can't do."""

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
from picture_inputs import ROOT, square
from PIL import Image, ImageDraw, PngImagePlugin

from components.card.pictures.portraits import SIDE, STEP, portrait, portraits, width
from components.card.preview import Person
from components.fetch.step import fetch
from components.filter.step import FilterSettings, filter_posts
from mynah.data.avatars import MAX_BYTES, MAX_PIXELS, open_avatar, write_avatar
from mynah.drawing.style import colour_of
from tests.code.x_exports import as_folder, as_zip, export, part, tweet


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
    "many pixels": encoded("PNG", (MAX_PIXELS // 4000 + 1, 4001)),
    "many bytes": encoded("PNG") + bytes(MAX_BYTES),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_or_hostile_avatar_becomes_a_mynah(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "avatar-1.png"
    path.write_bytes(DAMAGED[what])
    preview = portrait(Person("wren", "", path))
    assert preview.tobytes() == portrait(Person("wren")).tobytes()
    assert "skipping a profile picture" in capsys.readouterr().err
    assert write_avatar(tmp_path, 2, DAMAGED[what]) == ""
    assert not (tmp_path / "avatar-2.png").exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]), place=st.integers(0, 600), junk=st.binary(max_size=40))
def test_no_bytes_of_an_avatar_raise(form: str, place: int, junk: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    data = encoded(form)
    found = open_avatar(data[:place] + junk + data[place + len(junk) :])
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
    red = open_avatar(file.getvalue())
    assert red
    assert red.getpixel((200, 200)) == (255, 0, 0)
    file = io.BytesIO()
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(file, "PNG")
    clear = open_avatar(file.getvalue())
    assert clear
    assert clear.getpixel((200, 200)) == (255, 255, 255)


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
        with_picture(data=encoded("PNG") + bytes(MAX_BYTES)),
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
    program = "import sys; sys.modules['PIL'] = None\nfrom components.fetch.step import fetch\nfrom pathlib import Path\n"
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
    drawn = open_avatar(wren())
    assert drawn
    with Image.open(tmp_path / "raw" / "avatar-1.png") as image:
        assert image.tobytes() == drawn.tobytes()
    assert len(wren()) < 10_000
