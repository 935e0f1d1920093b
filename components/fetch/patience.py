"""How long a door waits for a server: what may pass is tried again, and everything ends."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from components.errors import PlatformError
from components.events import say

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; each wait is twice the one before
MOST_STALE = 5  # pages in a row with nothing new: a server may leave all posts of one out, but not for ever
MOST_POSTS = 1_000_000  # of an account; a hundred a day for 27 years
AN_EPOCH = 1e8  # a larger number of seconds in a header is a point in time (after 1973), a smaller one a length


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, and how to spend them; tests bring their own clock."""

    limit: float = 1200.0  # that one request waits for a server's limit to pass; X's windows last 900
    tries: int = 5  # of a request that fails
    silence: float = 30.0  # between two pieces of an answer
    answer: float = 120.0  # for a whole answer
    wait: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure that may pass."""

    what: str  # "answered 503 Service Unavailable"
    is_limit: bool = False  # too many requests, and not too weak a server
    seconds: float = 0.0  # that the server asks to wait, where it says


class Pages:
    """The items of an account's pages that were not there before. Ends pages without end: with nothing new, or without number."""

    def __init__(self, name: str, author: str, again: str) -> None:
        self._what, self._again = f"{name}'s pages of {author}", again
        self._seen: set[str] = set()
        self._stale = 0

    def fresh(self, items: list[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> list[dict[str, Any]]:
        """Those of `items` whose `key` is new. Raises PlatformError for the last page that one may bear."""
        new = {key(item): item for item in reversed(items)}
        found = [item for each, item in reversed(new.items()) if each not in self._seen]
        self._stale = 0 if found else self._stale + 1
        self._seen.update(new)
        if self._stale >= MOST_STALE:
            raise PlatformError(f"{self._what} have no end: {MOST_STALE} in a row hold nothing new", self._again)
        if len(self._seen) > MOST_POSTS:
            raise PlatformError(f"{self._what} hold more than {MOST_POSTS:,} posts", "Ask for the newest alone, by --limit.")
        return found


class Waiting:
    """The tries of one request to the server `name`; `again` tells a person what to do when they are used up."""

    def __init__(self, patience: Patience, name: str, again: str) -> None:
        self._patience, self._name, self._again = patience, name, again
        self._failed, self._waited, self._next = 0, 0.0, FIRST_WAIT

    def after(self, trouble: Trouble) -> None:
        """Wait before the next try. Raises PlatformError when it will not be made."""
        self._failed += 1
        seconds = max(trouble.seconds, self._next)
        self._next = min(2 * self._next, LONGEST_WAIT)
        if not trouble.is_limit and self._failed >= self._patience.tries:
            raise PlatformError(f"{self._name} {trouble.what}, {self._failed} times in a row", self._again)
        if self._waited + seconds > self._patience.limit:
            raise PlatformError(f"{self._name} {trouble.what}, and goes on for {_length(seconds)}", self._again)
        self._waited += seconds
        say(f"{self._name} {trouble.what}; trying again in {_length(seconds)}")
        self._patience.wait(seconds)


def seconds_asked(headers: Mapping[str, str], now: float) -> float:
    """How long a server asks to wait; 0 where it does not say, or says nonsense.

    Retry-After has seconds or a date (RFC 9110, 10.2.3); the reset of a limit is a Unix time at X and Bluesky, ISO 8601 at Mastodon.
    """
    for name in ("x-rate-limit-reset", "x-ratelimit-reset", "ratelimit-reset", "retry-after"):
        moment = _moment(headers.get(name, "").strip(), now)
        if moment is not None:
            return max(0.0, moment - now) + 1  # they count whole seconds
    return 0.0


def _moment(text: str, now: float) -> float | None:
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return float(text) if float(text) > AN_EPOCH else now + float(text)
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = read(text)
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
