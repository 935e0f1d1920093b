"""What a bot's preview shows, and `card.json` beside it: all that the pictures and the share page need to be made anew."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.avatars import AVATAR
from components.card.escape import clean
from components.errors import InputError
from components.fields import Field
from components.files import write_json

FILE = "card.json"
MOST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom a bot writes like; texts as they came, `avatar` a picture in PNG or None."""

    handle: str
    display_name: str = ""
    avatar: Path | None = None

    @property
    def shown(self) -> str:
        """`Name (@handle)`, or `@handle` for a person without a name; on one line, not escaped."""
        handle, name = "@" + clean(self.handle, 64), clean(self.display_name, 80)
        return f"{name} ({handle})" if name and name != self.handle else handle


@dataclass(frozen=True, slots=True)
class Preview:
    """What predictions.png shows; texts as they came. `sample` includes its prompt."""

    name: str
    authors: tuple[Person, ...]
    prompt: str
    sample: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What `card.json` holds: the samples to choose from, and the number of the chosen one, counted from 1."""

    name: str
    authors: tuple[Person, ...]
    prompt: str
    samples: tuple[str, ...]  # MOST_SAMPLES at most
    chosen: int = 1
    url: str = ""  # where the share page will be; "" where that is not known

    @classmethod
    def first(cls, name: str, authors: Sequence[Person], prompt: str, samples: Sequence[str], url: str = "") -> "Chosen":
        """With the first sample that says something chosen."""
        few = tuple(samples[:MOST_SAMPLES])
        said = next((number for number, sample in enumerate(few, 1) if clean(sample)), 1)
        return cls(name, tuple(authors), prompt, few, said, url)

    def choose(self, number: int) -> "Chosen":
        """The same with another sample. Raises InputError when there is none of that number."""
        if not 1 <= number <= len(self.samples):
            there = f"there are {len(self.samples)}" if self.samples else "there is none"
            raise InputError(
                f"sample {number} was asked for, and {there}", "`mynah card NAME` lists a bot's samples, counted from 1."
            )
        return replace(self, chosen=number)

    @property
    def preview(self) -> Preview:
        """What the picture shows of it; a bot without samples says nothing."""
        sample = self.samples[self.chosen - 1] if self.samples else ""
        return Preview(self.name, self.authors, self.prompt, sample)


def write_preview(folder: Path, chosen: Chosen) -> None:
    """Write `card.json` into a card's folder; avatars are named by file, and must lie beside it."""
    write_json(
        folder / FILE,
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
            "samples": list(chosen.samples[:MOST_SAMPLES]),
            "chosen": chosen.chosen,
            "url": chosen.url,
        },
    )


def read_preview(folder: Path) -> Chosen:
    """Read the `card.json` of a card's folder; an avatar whose file is gone is none.

    Raises InputError naming the file, and the key where the file has another shape."""
    record = Field.read(folder / FILE, "card")
    samples = tuple(sample.text() for sample in record["samples"].list())[:MOST_SAMPLES]
    chosen = record["chosen"].count()
    if not 1 <= chosen <= max(1, len(samples)):
        raise record.wrong(f"has {chosen} at 'chosen', and {len(samples)} samples")
    return Chosen(
        name=record["name"].text(),
        authors=tuple(_person(folder, author) for author in record["authors"].list()),
        prompt=record["prompt"].text(),
        samples=samples,
        chosen=chosen,
        url=record.get("url").text(),
    )


def _person(folder: Path, author: Field) -> Person:
    name = author.get("avatar").text()
    if name and not AVATAR.fullmatch(name):  # a path would read a file of somebody else's choice
        raise author.wrong(f"has {name[:60]!r} at {author.key}.avatar, which is no name of an avatar")
    path = folder / name
    there = bool(name) and path.is_file()
    return Person(author["handle"].text(), author["display_name"].text(), path if there else None)
