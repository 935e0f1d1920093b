"""Traffic splitting: the challenger answers a share of a bot's requests, or gets copies of a share of them."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from mynah.registry.versions import CHALLENGER, CHAMPION, PREVIOUS


@dataclass(frozen=True, slots=True)
class Traffic:
    """The shares of requests, 0 to 1, that the challenger answers (`split`) and of which it gets a copy (`shadow`)."""

    split: float = 0.0
    shadow: float = 0.0

    def goes_to_challenger(self, name: str, key: str) -> bool:
        """Whether the challenger answers a request.

        Args:
            name: the bot's name.
            key: requests of a bot with the same key get the same result; "" is random.
        """
        return self.split > 0 and (_position(name, key) if key else random.random()) < self.split

    def is_copied(self) -> bool:
        """Whether the challenger gets a copy of a request."""
        return self.shadow > 0 and random.random() < self.shadow


def challenger(aliases: Mapping[str, str]) -> str:
    """Return the challenger's version, or "" when it is the current or the previous champion.

    Promotion and rollback do not move the alias, so it may point to a version that is no longer a candidate.
    """
    version = aliases.get(CHALLENGER, "")
    return "" if version in (aliases.get(CHAMPION), aliases.get(PREVIOUS)) else version


def _position(name: str, key: str) -> float:
    """Return a uniformly distributed hash, 0 to 1, that differs by bot, so that a user does not get every bot's challenger."""
    return int.from_bytes(hashlib.blake2b(f"{name}\0{key}".encode(), digest_size=8).digest()) / 2**64
