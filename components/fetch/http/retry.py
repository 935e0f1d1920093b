"""Retry transient failures of a platform's server, within limits of time and number."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mynah.core.errors import PlatformError
from mynah.core.progress import notify

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; each wait is twice the one before
MAX_STALE_PAGES = 5  # consecutive pages with nothing new: a server may filter out all posts of a page, but not for ever
MAX_POSTS = 1_000_000  # per account; a hundred a day for 27 years
MIN_UNIX_TIME = 1e8  # a larger number of seconds in a header is a Unix time (after 1973), a smaller one a duration


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Time limits in seconds, the number of attempts, and the clock, which tests replace."""

    limit: float = 1200.0  # total wait of one request for rate limits; X's windows last 900
    tries: int = 5  # attempts per request
    silence: float = 30.0  # between two chunks of a response
    answer: float = 120.0  # for a whole response
    wait: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class TransientFailure:
    """A failure that may go away by itself."""

    what: str  # "answered 503 Service Unavailable"
    is_limit: bool = False  # a rate limit
    seconds: float = 0.0  # requested by the server; 0 for none


class PageReader:
    """Filters out the items of an account's pages that were seen before, and stops endless pagination.

    Args:
        name: The server, for messages.
        author: The account, for messages.
        fix: What a person can do about endless pages.
    """

    def __init__(self, name: str, author: str, fix: str) -> None:
        self._what, self._fix = f"{name}'s pages of {author}", fix
        self._seen: set[str] = set()
        self._stale = 0

    def fresh(self, items: list[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> list[dict[str, Any]]:
        """Return the items whose `key` is new. Raises PlatformError after too many stale pages or too many items."""
        new = {key(item): item for item in reversed(items)}
        fresh = [item for identity, item in reversed(new.items()) if identity not in self._seen]
        self._stale = 0 if fresh else self._stale + 1
        self._seen.update(new)
        if self._stale >= MAX_STALE_PAGES:
            raise PlatformError(f"{self._what} have no end: {MAX_STALE_PAGES} in a row hold nothing new", self._fix)
        if len(self._seen) > MAX_POSTS:
            raise PlatformError(f"{self._what} hold more than {MAX_POSTS:,} posts", "Read only the newest ones with --limit.")
        return fresh


class Retries:
    """The attempts of one request.

    Args:
        retry_policy: The limits.
        name: The server, for messages.
        fix: What a person can do once the attempts are used up.
    """

    def __init__(self, retry_policy: RetryPolicy, name: str, fix: str) -> None:
        self._retry_policy, self._name, self._fix = retry_policy, name, fix
        self._failed, self._waited, self._next = 0, 0.0, FIRST_WAIT

    def after(self, failure: TransientFailure) -> None:
        """Wait before the next attempt. Raises PlatformError when there is none left."""
        self._failed += 1
        seconds = max(failure.seconds, self._next)
        self._next = min(2 * self._next, LONGEST_WAIT)
        if not failure.is_limit and self._failed >= self._retry_policy.tries:
            raise PlatformError(f"{self._name} {failure.what}, {self._failed} times in a row", self._fix)
        if self._waited + seconds > self._retry_policy.limit:
            raise PlatformError(f"{self._name} {failure.what}for {_length(seconds)} more", self._fix)
        self._waited += seconds
        notify(f"{self._name} {failure.what}; retrying in {_length(seconds)}")
        self._retry_policy.wait(seconds)


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return how many seconds a server requests to wait; 0 where it requests nothing, or sends an invalid value.

    Retry-After holds seconds or a date (RFC 9110, 10.2.3); a rate limit's reset is a Unix time at X and Bluesky, ISO 8601 at Mastodon.
    """
    for name in ("x-rate-limit-reset", "x-ratelimit-reset", "ratelimit-reset", "retry-after"):
        moment = _moment(headers.get(name, "").strip(), now)
        if moment is not None:
            return max(0.0, moment - now) + 1  # servers count whole seconds
    return 0.0


def _moment(text: str, now: float) -> float | None:
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return float(text) if float(text) > MIN_UNIX_TIME else now + float(text)
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
