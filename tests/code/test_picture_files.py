"""card.json, the picture of the pipeline, and the licences of what ships."""

import json
from pathlib import Path

import pytest
from picture_inputs import ROOT, WREN, square
from PIL import Image

from components.card.pictures.pipeline import draw_pipeline
from components.card.preview import ChosenSample, Person, Preview, read_preview, write_preview
from components.card.read_inputs import read_inputs
from mynah.core.errors import InputError
from mynah.drawing import emoji
from mynah.drawing.style import BACKGROUND
from tests.code.card_inputs import CardInputFiles, column, source, training, verdict

# card.json


def test_card_json_holds_all_that_the_picture_needs(tmp_path: Path) -> None:
    people = (Person("ann", "Ann", square(tmp_path / "avatar-1.png", "red")), Person("bo"))
    chosen = ChosenSample.first("duo", people, "My dream is", ["", " ", "My dream is a", "My dream is b"], "https://a.example/b")
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
    with pytest.raises(InputError, match="the card has 2"):
        ChosenSample("wren", WREN, "", ("a", "b")).choose(number)
    with pytest.raises(InputError, match="the card has none"):
        ChosenSample("wren", WREN, "", ()).choose(1)


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
    write_preview(tmp_path, ChosenSample("wren", WREN, "", ("a", "b")))
    record = json.loads((tmp_path / "card.json").read_text()) | change
    (tmp_path / "card.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=rf"card\.json .*{key}"):
        read_preview(tmp_path)


# The pipeline


def pipeline(tmp_path: Path, inputs: CardInputFiles) -> Image.Image:
    draw_pipeline(read_inputs("wren", *inputs.write(tmp_path)), tmp_path / "pipeline.png")
    with Image.open(tmp_path / "pipeline.png") as image:
        return image.copy()


def test_the_pipeline_reads_on_light_and_dark(tmp_path: Path) -> None:
    image = pipeline(tmp_path, CardInputFiles())
    assert (image.size, image.mode) == ((1200, 428), "RGBA")
    assert image.getpixel((0, 0))[3] == 0
    assert image.getpixel((600, 10)) == (*BACKGROUND, 255)


def test_the_pipeline_shows_the_runs_own_numbers(tmp_path: Path) -> None:
    from components.card.pictures.pipeline import steps

    inputs = CardInputFiles(sources=[source("a"), source("b")], verdict=verdict(passed=False))
    inputs.funnel["authors"] = [column("a"), column("b", 1300, retweet=5)]
    inputs.training = training(base_model={"name": "/home/somebody/gpt2", "digest": "00", "revision": ""})
    boxes = [f"{box.title}: {box.number} {box.more}".strip() for box in steps(read_inputs("wren", *inputs.write(tmp_path)))]
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
    assert failed.tobytes() != pipeline(tmp_path, CardInputFiles()).tobytes()


def test_the_licences_of_what_ships_lie_beside_it() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in project["license-files"]:
        assert (ROOT / name).is_file()
    assert "mynah/drawing/emoji_images/LICENSE_TWEMOJI" in project["license-files"]
    assert "Attribution 4.0" in " ".join((emoji.SHEET / "LICENSE_TWEMOJI").read_text().split())
