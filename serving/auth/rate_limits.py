"""Rate limits: token buckets and counts of concurrent requests, per key and per tenant.

Everything here runs on the event loop and needs no locks.
"""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import Scope

from serving.auth.api_keys import Limits
from serving.errors import ApiError

NEWEST_WEIGHT = 0.2  # weight of the newest request in the moving average of request durations


class AccessDenied(ApiError):  # noqa: N818 - named by condition, as serving.engine.errors
    """A request rejected by the middleware; `reason` labels the metric: key, bot, admin, host, headers, requests, tokens, concurrent."""

    def __init__(self, status: int, message: str, reason: str, retry_after: int | None = None) -> None:
        super().__init__(status, message, retry_after, param="model" if reason == "bot" else None)
        self.reason = reason

    def response_to(self, scope: Scope) -> JSONResponse:
        """Return the error response of the request's protocol, and store the reason in the scope for the metrics and the log."""
        scope.setdefault("state", {})["rejected"] = self.reason
        return super().response_to(scope)


class Bucket:
    """A token bucket that refills `per_minute` per minute and holds as many. It can go negative; the debt refills first.

    https://en.wikipedia.org/wiki/Token_bucket
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._level = float(per_minute)
        self._updated = now

    def wait_seconds(self, now: float) -> float:
        """Return the seconds until one unit is available; 0 when one is."""
        self._level = min(self._per_minute, self._level + (now - self._updated) * self._per_minute / 60)
        self._updated = now
        missing = 1 - self._level
        return missing * 60 / self._per_minute if missing > 1e-9 else 0.0  # a rounding error must not cost another second

    def take(self, amount: int) -> None:
        """Take `amount`, even when the bucket holds less."""
        self._level -= amount


@dataclass(slots=True)
class Account:
    """The usage of one key, or of all keys of one tenant together."""

    limits: Limits
    requests: Bucket | None
    tokens: Bucket | None
    running: int = 0
    seconds: float = 1.0  # moving average of its requests' durations

    @classmethod
    def open(cls, limits: Limits, now: float) -> "Account":
        """Return an account with full buckets."""
        requests, tokens = (
            Bucket(rate, now) if rate else None for rate in (limits.requests_per_minute, limits.tokens_per_minute)
        )
        return cls(limits, requests, tokens)

    def check(self, owner: str, now: float) -> None:
        """Check all limits.

        Args:
            owner: the key or the tenant, for the message.
            now: time.monotonic(), in seconds.

        Raises:
            AccessDenied: (429) a limit is reached; with the seconds after which a request would be admitted.
        """
        limits = self.limits
        if limits.concurrent and self.running >= limits.concurrent:
            wait_seconds = self.seconds / limits.concurrent
            raise _limit_exceeded(f"{owner} is limited to {limits.concurrent:,} concurrent requests", "concurrent", wait_seconds)
        if self.requests and (wait_seconds := self.requests.wait_seconds(now)):
            raise _limit_exceeded(
                f"{owner} is limited to {limits.requests_per_minute:,} requests per minute", "requests", wait_seconds
            )
        if self.tokens and (wait_seconds := self.tokens.wait_seconds(now)):
            raise _limit_exceeded(f"{owner} is limited to {limits.tokens_per_minute:,} tokens per minute", "tokens", wait_seconds)


def _limit_exceeded(message: str, reason: str, wait_seconds: float) -> AccessDenied:
    seconds = max(1, math.ceil(wait_seconds))
    return AccessDenied(429, f"{message}; try again in {seconds} s", reason, seconds)


@dataclass(slots=True)
class Admission:
    """An admitted request. The handler sets `tokens` to the number generated; `release` charges the accounts."""

    accounts: tuple[Account, ...]
    started: float
    tokens: int = 0
    _released: bool = field(default=False, repr=False)

    def release(self) -> None:
        """Charge the tokens and end the request; calling it again has no effect."""
        if self._released:
            return
        self._released = True
        duration = time.monotonic() - self.started
        for account in self.accounts:
            account.running -= 1
            account.seconds += NEWEST_WEIGHT * (duration - account.seconds)
            if account.tokens:
                account.tokens.take(max(0, self.tokens))


class RateLimiter:
    """The accounts of keys and tenants. Only keys and tenants of the key file get one, so their number is bounded."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def admit(self, limits_by_owner: Mapping[str, Limits]) -> Admission:
        """Admit a request and count it for every account.

        Args:
            limits_by_owner: the limits of each account, by its owner: a key or a tenant.

        Returns:
            The admission; release it when the request ends.

        Raises:
            AccessDenied: (429) one of the limits is reached; the request counts for no account then.
        """
        now = time.monotonic()
        accounts = {owner: self._account(owner, limits, now) for owner, limits in limits_by_owner.items() if limits != Limits()}
        for owner, account in accounts.items():
            account.check(owner, now)
        for account in accounts.values():
            account.running += 1
            if account.requests:
                account.requests.take(1)
        return Admission(tuple(accounts.values()), now)

    def retain(self, owners: Collection[str]) -> None:
        """Drop all accounts but those of `owners`."""
        for owner in [owner for owner in self._accounts if owner not in owners]:
            del self._accounts[owner]

    def _account(self, owner: str, limits: Limits, now: float) -> Account:
        account = self._accounts.get(owner)
        if account is None:
            account = self._accounts[owner] = Account.open(limits, now)
        elif account.limits != limits:  # the file changed; running requests stay counted
            fresh = Account.open(limits, now)
            account.limits, account.requests, account.tokens = limits, fresh.requests, fresh.tokens
        return account
