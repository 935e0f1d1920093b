"""How much a caller has asked lately: token buckets and counts per key and per tenant.

Everything here happens on the event loop, and so needs no locks.
"""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import Scope

from serving.doors.keys import Limits
from serving.refusals import Refusal

NEWEST = 0.2  # weight of the newest request in the average of how long requests take


class Denied(Refusal):
    """A refusal at the door; `reason` is a word for the metrics: key, bot, admin, headers, requests, tokens, concurrent."""

    def __init__(self, status: int, message: str, reason: str, retry_after: int | None = None) -> None:
        super().__init__(status, message, retry_after)
        self.reason = reason

    def response_to(self, scope: Scope) -> JSONResponse:
        """The refusal in the shape of its protocol; its reason stays in the scope for the metrics and the log."""
        scope.setdefault("state", {})["rejected"] = self.reason
        return super().response_to(scope)


class Bucket:
    """A token bucket: `per_minute` a minute, and as many at once after a pause. May go below nothing: what is owed is waited for."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._level = float(per_minute)
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until there is one; 0 when there is."""
        self._level = min(self._per_minute, self._level + (now - self._at) * self._per_minute / 60)
        self._at = now
        missing = 1 - self._level
        return missing * 60 / self._per_minute if missing > 1e-9 else 0.0  # what rounding eats must not cost another second

    def take(self, amount: int) -> None:
        """Take `amount`, also what isn't there."""
        self._level -= amount


@dataclass(slots=True)
class Account:
    """What one key, or all keys of one tenant, have asked."""

    limits: Limits
    requests: Bucket | None
    tokens: Bucket | None
    running: int = 0
    seconds: float = 1.0  # how long its requests take, roughly

    @classmethod
    def open(cls, limits: Limits, now: float) -> "Account":
        """An account with full buckets."""
        requests, tokens = (
            Bucket(rate, now) if rate else None for rate in (limits.requests_per_minute, limits.tokens_per_minute)
        )
        return cls(limits, requests, tokens)

    def check(self, whose: str, now: float) -> None:
        """Raise Denied (429) with the seconds after which a request would pass."""
        limits = self.limits
        if limits.concurrent and self.running >= limits.concurrent:
            wait = self.seconds / limits.concurrent
            raise _too_much(f"{limits.concurrent} requests of {whose} are running, and that is the most", "concurrent", wait)
        if self.requests and (wait := self.requests.wait(now)):
            raise _too_much(f"{whose} may send {limits.requests_per_minute:,} requests a minute", "requests", wait)
        if self.tokens and (wait := self.tokens.wait(now)):
            raise _too_much(f"{whose} may have {limits.tokens_per_minute:,} tokens a minute", "tokens", wait)


def _too_much(message: str, reason: str, wait: float) -> Denied:
    seconds = max(1, math.ceil(wait))
    return Denied(429, f"{message}; try again in {seconds} s", reason, seconds)


@dataclass(slots=True)
class Visit:
    """A request that was let in. `tokens` is what it generated, for whoever counts them; `leave` settles the accounts."""

    accounts: tuple[Account, ...]
    began: float
    tokens: int = 0
    _left: bool = field(default=False, repr=False)

    def leave(self) -> None:
        """Charge the tokens and make room for the next request; once is enough, twice does no harm."""
        if self._left:
            return
        self._left = True
        took = time.monotonic() - self.began
        for account in self.accounts:
            account.running -= 1
            account.seconds += NEWEST * (took - account.seconds)
            if account.tokens:
                account.tokens.take(max(0, self.tokens))


class Meter:
    """The accounts. There are never more than the key file has keys and tenants: what is unknown never gets one."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def enter(self, limited: Mapping[str, Limits]) -> Visit:
        """Let a request in that counts for every account of `limited`, or raise Denied (429) and count it for none."""
        now = time.monotonic()
        accounts = {whose: self._account(whose, limits, now) for whose, limits in limited.items() if limits != Limits()}
        for whose, account in accounts.items():
            account.check(whose, now)
        for account in accounts.values():
            account.running += 1
            if account.requests:
                account.requests.take(1)
        return Visit(tuple(accounts.values()), now)

    def keep(self, known: Collection[str]) -> None:
        """Forget the accounts of those who are not `known` any more."""
        for whose in [whose for whose in self._accounts if whose not in known]:
            del self._accounts[whose]

    def _account(self, whose: str, limits: Limits, now: float) -> Account:
        account = self._accounts.get(whose)
        if account is None:
            account = self._accounts[whose] = Account.open(limits, now)
        elif account.limits != limits:  # the file changed; who is running stays counted
            fresh = Account.open(limits, now)
            account.limits, account.requests, account.tokens = limits, fresh.requests, fresh.tokens
        return account
