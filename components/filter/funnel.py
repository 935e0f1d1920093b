"""The funnel: of the posts downloaded, how many were dropped for which reason, and how many kept, per author."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

CLASSIC = {"retweet": "Retweets", "short": "Short tweets"}  # huggingtweets' rows; further reasons follow them
LABELS = {
    **CLASSIC,
    "manual-quote": "Quotes of others by hand",
    "automated": "Written by a program",
    "language": "In another language",
    "duplicate": "Duplicates",
    "near-duplicate": "Near duplicates",
    "merged": "Joined to their thread",
}


@dataclass(slots=True)
class AuthorFunnel:
    """One author's column. `downloaded` is always the sum of `dropped` and `kept`. `mended`: kept texts that a rule changed.

    `language` is the one that most of the first kept posts are in, as a code of ISO 639; "" where none tells.
    """

    author: str
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    kept_characters: int = 0
    mended: Counter[str] = field(default_factory=Counter)
    language: str = ""

    @property
    def downloaded(self) -> int:
        """Posts that came in."""
        return self.kept + sum(self.dropped.values())


@dataclass(frozen=True, slots=True)
class Funnel:
    """The whole funnel, with the split that followed it."""

    rules: str
    authors: Sequence[AuthorFunnel]
    train: int
    held_out: int
    seed: int

    @property
    def kept_characters(self) -> int:
        """Characters of all kept texts."""
        return sum(author.kept_characters for author in self.authors)

    def counts(self) -> dict[str, float]:
        """The funnel over all authors as metrics: downloaded, a dropped_REASON each, kept, characters, train and held_out."""
        dropped = sum((author.dropped for author in self.authors), Counter[str]())
        return {
            "downloaded": sum(author.downloaded for author in self.authors),
            **{f"dropped_{reason}": count for reason, count in dropped.items()},
            "kept": sum(author.kept for author in self.authors),
            "kept_characters": self.kept_characters,
            "train_posts": self.train,
            "held_out_posts": self.held_out,
        }

    def to_record(self) -> dict[str, Any]:
        """The funnel as funnel.json holds it."""
        return asdict(self) | {
            "authors": [
                asdict(author)
                | {
                    "downloaded": author.downloaded,
                    "dropped": dict(author.dropped),
                    "mended": dict(sorted(author.mended.items())),
                }
                for author in self.authors
            ]
        }


def rows(funnel: dict[str, Any]) -> list[tuple[str, list[int]]]:
    """The funnel.json as labelled rows with a number per author: downloaded, each reason, kept."""
    authors = funnel["authors"]
    there = {reason for author in authors for reason in author["dropped"]}
    reasons = [reason for reason in LABELS if reason in there or reason in CLASSIC] + sorted(there - set(LABELS))
    dropped = [
        (LABELS.get(reason, reason.capitalize()), [author["dropped"].get(reason, 0) for author in authors]) for reason in reasons
    ]
    return [
        ("Tweets downloaded", [author["downloaded"] for author in authors]),
        *dropped,
        ("Tweets kept", [author["kept"] for author in authors]),
    ]
