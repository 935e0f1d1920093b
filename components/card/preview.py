"""The preview of a bot, and card.json: all that is needed to create its picture and share page again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import write_json
from mynah.core.json_reader import JsonField
from mynah.data.avatars import AVATAR
from mynah.data.markdown import clean
from mynah.registry.card_files import PREVIEW_FILE

MAX_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Person:
    """An author whom a bot writes like; texts are unescaped, `avatar` is a PNG picture or None."""

    handle: str
    display_name: str = ""
    avatar: Path | None = None

    @property
    def shown(self) -> str:
        """`Name (@handle)`, or `@handle` without a name; on one line, unescaped."""
        handle, name = "@" + clean(self.handle, 64), clean(self.display_name, 80)
        return f"{name} ({handle})" if name and name != self.handle else handle


@dataclass(frozen=True, slots=True)
class Preview:
    """The content of predictions.png; texts are unescaped, and `sample` includes its prompt."""

    name: str
    authors: tuple[Person, ...]
    prompt: str
    sample: str


@dataclass(frozen=True, slots=True)
class ChosenSample:
    """The content of card.json: the samples to choose from, and the number of the chosen one, counted from 1."""

    name: str
    authors: tuple[Person, ...]
    prompt: str
    samples: tuple[str, ...]  # MAX_SAMPLES at most
    chosen: int = 1
    url: str = ""  # the future address of the share page; "" when unknown

    @classmethod
    def first(cls, name: str, authors: Sequence[Person], prompt: str, samples: Sequence[str], url: str = "") -> "ChosenSample":
        """Create it with the first sample that is not empty as the chosen one.

        Args:
            name: The bot's name.
            authors: The authors whom it writes like.
            prompt: The prompt of the samples.
            samples: The samples; only the first MAX_SAMPLES are used.
            url: The future address of the share page; "" when unknown.

        Returns:
            The content of card.json.
        """
        first_samples = tuple(samples[:MAX_SAMPLES])
        first_nonempty = next((number for number, sample in enumerate(first_samples, 1) if clean(sample)), 1)
        return cls(name, tuple(authors), prompt, first_samples, first_nonempty, url)

    def choose(self, number: int) -> "ChosenSample":
        """Return it with another chosen sample. Raises InputError when the number is out of range."""
        if not 1 <= number <= len(self.samples):
            available = f"the card has {len(self.samples)}" if self.samples else "the card has none"
            raise InputError(
                f"there is no sample {number}: {available}", "`mynah card NAME` lists a bot's samples, counted from 1."
            )
        return replace(self, chosen=number)

    @property
    def preview(self) -> Preview:
        """The content of the picture; empty without samples."""
        sample = self.samples[self.chosen - 1] if self.samples else ""
        return Preview(self.name, self.authors, self.prompt, sample)


def write_preview(folder: Path, chosen: ChosenSample) -> None:
    """Write card.json into a card's folder; avatars are named by file and must be in the same folder."""
    write_json(
        folder / PREVIEW_FILE,
        {
            "name": chosen.name,
            "authors": [
                {
                    "handle": person.handle,
                    "display_name": person.display_name,
                    "avatar": person.avatar.name if person.avatar else "",
                }
                for person in chosen.authors
            ],
            "prompt": chosen.prompt,
            "samples": list(chosen.samples[:MAX_SAMPLES]),
            "chosen": chosen.chosen,
            "url": chosen.url,
        },
    )


def read_preview(folder: Path) -> ChosenSample:
    """Read the card.json of a card's folder; an avatar whose file is missing becomes None.

    Raises InputError naming the file and the invalid key.
    """
    record = JsonField.read(folder / PREVIEW_FILE, "card")
    samples = tuple(sample.text() for sample in record["samples"].list())[:MAX_SAMPLES]
    chosen = record["chosen"].count()
    if not 1 <= chosen <= max(1, len(samples)):
        raise record.wrong(f"has {chosen} at 'chosen', and {len(samples)} samples")
    return ChosenSample(
        name=record["name"].text(),
        authors=tuple(_person(folder, author) for author in record["authors"].list()),
        prompt=record["prompt"].text(),
        samples=samples,
        chosen=chosen,
        url=record.get("url").text(),
    )


def _person(folder: Path, author: JsonField) -> Person:
    name = author.get("avatar").text()
    if name and not AVATAR.fullmatch(name):  # a path could name any file
        raise author.wrong(f"has {name[:60]!r} at {author.key}.avatar, which is not the name of an avatar")
    path = folder / name
    exists = bool(name) and path.is_file()
    return Person(author["handle"].text(), author["display_name"].text(), path if exists else None)
