"""Licences of base models: what each asks of whoever shares a model made from one, and which one a folder is under."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mynah.core.json_reader import JsonField
from mynah.registry.card_files import BASE_LICENSE_FILE, BASE_NOTICE_FILE, README_FILE

UNKNOWN = "unknown"  # the licence of a base model that names none
TEXTS = Path(__file__).parent / "license_texts"
LICENSE_ID = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}", re.ASCII)
FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
MAX_BYTES = 1 << 20  # of a foreign README.md, training.json or licence text that is read
LICENSE_NAMES, NOTICE_NAMES = (
    (BASE_LICENSE_FILE, "LICENSE", "LICENSE.txt", "LICENSE.md"),
    (BASE_NOTICE_FILE, "NOTICE", "NOTICE.txt"),
)


@dataclass(frozen=True, slots=True)
class License:
    """What a licence asks of whoever shares a derivative of what it covers.

    Attributes:
        id: The Hugging Face hub's id.
        name: For people.
        url: Where it can be read.
        terms: What it asks, in a sentence.
        derivatives: Whether derivatives may be shared at all.
        passes_on: Whether a derivative is under the same licence.
        name_begins: What a derivative's name begins with; "": anything.
        display: Words to show wherever a derivative is offered; "": none.
        notice: The text that NOTICE.txt beside the weights must hold; "": none.
        needs_text: Whether a copy of the licence must be beside the weights.
        text: The file in license_texts/ with that copy; "" where Mynah has none.
    """

    id: str
    name: str
    url: str
    terms: str
    derivatives: bool = True
    passes_on: bool = False
    name_begins: str = ""
    display: str = ""
    notice: str = ""
    needs_text: bool = False
    text: str = ""

    @classmethod
    def from_yaml(cls, license_id: str, values: JsonField) -> "License":
        """Read an entry of base_models.yaml. Raises InputError naming the key that is missing or of the wrong type."""
        flags = {name: flag.flag() for name, flag in values.pairs() if isinstance(flag.value, bool)}
        return cls(
            license_id, values["name"].text(), values["url"].text(), values["terms"].text(),
            derivatives=flags.get("derivatives", True), passes_on=flags.get("passes_on", False), needs_text=flags.get("needs_text", False),
            name_begins=values.get("name_begins").text(), display=values.get("display").text(), notice=values.get("notice").text(),
            text=values.get("text").text(),
        )  # fmt: skip

    @property
    def copy(self) -> bytes | None:
        """The licence's text; None where Mynah has none."""
        return (TEXTS / self.text).read_bytes() if self.text else None

    def allows_name(self, name: str) -> bool:
        """Whether a derivative may have this name; case and punctuation do not count, which names of repositories restrict."""
        return _letters(name).startswith(_letters(self.name_begins))


def license_of(folder: Path) -> str:
    """The licence id of the model in a folder: of its base model where Mynah made it, else of its README.md; UNKNOWN without one.

    Files of foreign models: what cannot be read says nothing.
    """
    return _of_training(folder) or _of_readme(folder) or UNKNOWN


def license_files(folder: Path) -> Mapping[str, Path]:
    """The licence's text and the notices beside a model's weights, by the names under which a derivative keeps them.

    They are published with it, so a link of a foreign folder leads to no file elsewhere; in the hub's cache files are links to its blobs.
    """
    inside = folder.resolve()
    inside = inside.parents[1] if inside.parent.name == "snapshots" else inside
    found = {}
    for kept_as, names in ((BASE_LICENSE_FILE, LICENSE_NAMES), (BASE_NOTICE_FILE, NOTICE_NAMES)):
        paths = [path for name in names if (path := (folder / name).resolve()).is_relative_to(inside) and path.is_file()]
        if paths and paths[0].stat().st_size <= MAX_BYTES:
            found[kept_as] = paths[0]
    return found


def license_id(text: object) -> str:
    """`text` as a licence id, in lower case; "" for what is none."""
    found = text.strip().lower().replace(" ", "-") if isinstance(text, str) else ""
    return found if LICENSE_ID.fullmatch(found) else ""


def _of_readme(folder: Path) -> str:
    """`license` of the front matter; with `other`, `license_name` (https://huggingface.co/docs/hub/model-cards#specifying-a-license)."""
    matter = FRONT_MATTER.match(_start(folder / README_FILE))
    if not matter:
        return ""
    try:
        values = yaml.safe_load(matter[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return ""
    if not isinstance(values, dict):
        return ""
    given = values.get("base_model_license") or values.get("license")  # the first on cards of Mynah's
    given = given[0] if isinstance(given, list) and len(given) == 1 else given
    named = license_id(given)
    return (license_id(values.get("license_name")) or named) if named == "other" else named


def _of_training(folder: Path) -> str:
    """`base_model.license` of the training.json that `mynah finetune` writes; mynah.training, which stands above, reads the rest."""
    try:
        values: Any = json.loads(_start(folder / "training.json"))
        return license_id(values["base_model"]["license"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _start(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
