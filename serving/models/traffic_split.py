"""Which requests for a bot its challenger gets beside the champion: a share of them to answer, or a share of them as copies."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from components.registry import CHALLENGER, CHAMPION, PREVIOUS


@dataclass(frozen=True, slots=True)
class Traffic:
    """`split`: the share, 0 to 1, that the challenger answers; `shadow`: the share of the others that it gets a copy of."""

    split: float = 0.0
    shadow: float = 0.0

    def goes_to_challenger(self, name: str, key: str) -> bool:
        """Whether the challenger answers a request; for one bot and one `key` always the same, at random without a key."""
        return self.split > 0 and (_place(name, key) if key else random.random()) < self.split

    def is_copied(self) -> bool:
        """Whether the challenger gets a copy of a request."""
        return self.shadow > 0 and random.random() < self.shadow


def challenger(aliases: Mapping[str, str]) -> str:
    """The version that may be tried on readers, or "": no champion of now, and none that was replaced or rolled back.

    Promotion leaves the alias on what it promoted, and a rollback does too.
    """
    version = aliases.get(CHALLENGER, "")
    return "" if version in (aliases.get(CHAMPION), aliases.get(PREVIOUS)) else version


def _place(name: str, key: str) -> float:
    """Where a key stands from 0 to 1: evenly spread, and for each bot elsewhere, so that nobody tries every challenger."""
    return int.from_bytes(hashlib.blake2b(f"{name}\0{key}".encode(), digest_size=8).digest()) / 2**64
