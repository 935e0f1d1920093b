"""funnel.json: the numbers of posts downloaded, dropped by reason, and kept, per author."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mynah.core.files import write_json
from mynah.core.json_reader import JsonField

FUNNEL_FILE, FUNNEL_PICTURE = "funnel.json", "funnel.png"  # in a folder that `mynah filter` wrote

CLASSIC = {"retweet": "Retweets", "short": "Short tweets"}  # huggingtweets' rows, always shown

LABELS = {
    **CLASSIC,
    "copy": "Copies of one post",
    "manual-quote": "Quotes of others by hand",
    "automated": "Written by a program",
    "language": "In another language",
    "duplicate": "Duplicates",
    "near-duplicate": "Near duplicates",
    "merged": "Joined to their thread",
}
LANGUAGE = re.compile("[a-z]{2,3}")  # a code of ISO 639


@dataclass(frozen=True, slots=True)
class AuthorFunnel:
    """One author's column. `downloaded` is the sum of `dropped` and `kept`.

    Attributes:
        author: Their handle.
        dropped: Posts dropped, by reason.
        kept: Posts kept.
        kept_characters: Characters of the kept texts.
        mended: Kept texts that a rule changed, by rule.
        language: The language of most of the first kept posts, a code of ISO 639; "" where it is not known.
    """

    author: str
    dropped: Mapping[str, int]
    kept: int
    kept_characters: int = 0
    mended: Mapping[str, int] = field(default_factory=dict)
    language: str = ""

    @property
    def downloaded(self) -> int:
        """Posts downloaded."""
        return self.kept + sum(self.dropped.values())

    def to_record(self) -> dict[str, Any]:
        """Return the column as a JSON object."""
        return {
            "author": self.author,
            "dropped": dict(self.dropped),
            "kept": self.kept,
            "kept_characters": self.kept_characters,
            "mended": dict(sorted(self.mended.items())),
            "language": self.language,
            "downloaded": self.downloaded,
        }


@dataclass(frozen=True, slots=True)
class Funnel:
    """The whole funnel, with the split that followed it.

    Attributes:
        rules: The rules of the filter, as a person writes them.
        authors: A column per author.
        train: Kept posts to train on.
        held_out: Kept posts that are held out.
        seed: The seed of the split.
    """

    rules: str
    authors: Sequence[AuthorFunnel]
    train: int
    held_out: int
    seed: int

    @property
    def kept_characters(self) -> int:
        """Characters of all kept texts."""
        return sum(author.kept_characters for author in self.authors)

    @property
    def languages(self) -> tuple[str, ...]:
        """The authors' known languages, each once."""
        return tuple(dict.fromkeys(author.language for author in self.authors if author.language))

    def counts(self) -> dict[str, float]:
        """Return the funnel over all authors as metrics: downloaded, a dropped_REASON each, kept, characters, train and held_out."""
        dropped = sum((Counter(author.dropped) for author in self.authors), Counter[str]())
        return {
            "downloaded": sum(author.downloaded for author in self.authors),
            **{f"dropped_{reason}": count for reason, count in dropped.items()},
            "kept": sum(author.kept for author in self.authors),
            "kept_characters": self.kept_characters,
            "train_posts": self.train,
            "held_out_posts": self.held_out,
        }

    def rows(self) -> list[tuple[str, list[int]]]:
        """Return the funnel as labelled rows with a number per author: downloaded, each reason, kept."""
        present = {reason for author in self.authors for reason in author.dropped}
        reasons = [reason for reason in LABELS if reason in present or reason in CLASSIC] + sorted(present - set(LABELS))
        dropped = [
            (LABELS.get(reason, reason.capitalize()), [author.dropped.get(reason, 0) for author in self.authors])
            for reason in reasons
        ]
        return [
            ("Tweets downloaded", [author.downloaded for author in self.authors]),
            *dropped,
            ("Tweets kept", [author.kept for author in self.authors]),
        ]

    def to_record(self) -> dict[str, Any]:
        """Return the content of funnel.json."""
        return {
            "rules": self.rules,
            "authors": [author.to_record() for author in self.authors],
            "train": self.train,
            "held_out": self.held_out,
            "seed": self.seed,
        }

    def write(self, data: Path) -> None:
        """Write funnel.json into the folder `data`. Raises PlatformError when the disk refuses."""
        write_json(data / FUNNEL_FILE, self.to_record())

    @classmethod
    def read(cls, data: Path) -> "Funnel":
        """Read funnel.json of a folder that `mynah filter` wrote, also of an earlier version.

        Raises:
            InputError: The file is missing, has another shape, names no author, or a column does not add up.
        """
        funnel = JsonField.read(data / FUNNEL_FILE, "filter")
        authors = tuple(_author(author) for author in funnel["authors"].list())
        if not authors:
            raise funnel.wrong("has nobody at 'authors'")
        return cls(
            rules=funnel["rules"].text(),
            authors=authors,
            train=funnel["train"].count(),
            held_out=funnel["held_out"].count(),
            seed=funnel["seed"].count(),
        )


def _author(column: JsonField) -> AuthorFunnel:
    author = AuthorFunnel(
        author=column["author"].text(),
        dropped=_counts(column["dropped"]),
        kept=column["kept"].count(),
        kept_characters=0 if column.get("kept_characters").value is None else column["kept_characters"].count(),
        mended={} if column.get("mended").value is None else _counts(column["mended"]),
        language=_language(column.get("language").value),
    )
    downloaded, dropped = column["downloaded"].count(), sum(author.dropped.values())
    if downloaded != author.downloaded:
        raise column.wrong(f"doesn't add up at {column.key!r}: {downloaded} downloaded, {dropped} dropped, {author.kept} kept")
    return author


def _counts(counts: JsonField) -> dict[str, int]:
    return {reason: count.count() for reason, count in counts.pairs()}


def _language(value: object) -> str:
    """Return a language's code; "" for anything else, which must not get into the card's YAML."""
    return value if isinstance(value, str) and LANGUAGE.fullmatch(value) else ""
