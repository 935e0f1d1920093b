"""Who may come in: API keys, limits per key and per tenant, and headers of a reasonable size.

Without a key file everybody is the same anonymous caller, who may ask every bot and manage none; the server then belongs on
loopback (see `warn_if_open`).
"""

import ipaddress
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.doors.keys import KeyRing, Keys, Limits, matches
from serving.doors.limits import Denied, Meter, Visit

MOST_HEADERS = 100
LARGEST_HEADERS = 32 * 1024  # bytes of names and values; browsers and proxies send 2 to 8 KiB
# What tells nothing that a key protects: probes (KServe's agent has no key), the page's own files, what the API is.
OPEN = re.compile(
    r"/|/v2/health/(live|ready)|/v1/models/[^/]+|/v2/models/[^/]+(/versions/[^/]+)?/ready|/openapi\.json|/page/(?!bots\.json$)[^/]+"
)
HINT, SIGNATURE = "/v2/repository/hint", b"x-mlflow-signature"  # MLflow's webhooks sign what they send, and have no key
HOW = "send the API key as Authorization: Bearer mynah_…"
log = logging.getLogger("mynah.doors")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `bots` are names, or patterns with `*`; `id` is the key's, and no secret."""

    tenant: str
    bots: tuple[str, ...]
    admin: bool = False
    id: str = ""

    def may(self, name: str) -> bool:
        """Whether this caller may ask the bot (wren, wren:3 or wren@challenger)."""
        return matches(self.bots, name)

    def require(self, name: str) -> None:
        """Raise Denied (403) unless this caller may ask the bot; ask before anything tells whether there is one."""
        if not self.may(name):
            allowed = ", ".join(self.bots) or "none"
            raise Denied(403, f"this key may not ask {name[:80]!r}; the bots that it may ask: {allowed}", "bot")

    def require_admin(self) -> None:
        """Raise Denied (403) unless this caller may load and unload bots."""
        if not self.admin:
            raise Denied(403, "this takes an admin key (`mynah keys add --admin`)", "admin")


ANONYMOUS = Caller("anonymous", ("*",))
STRANGER = Caller("", ())  # somebody without a key where keys are asked for, at what is open to all


class Doors:
    """ASGI middleware, and for gRPC `admit` and `passing`: who a caller is, and whether it is their turn.

    `local` says that the server binds loopback: without keys it then answers only requests for a name of this machine, or any web
    page that its owner looks at could have its own name point here and read the answers (DNS rebinding).
    """

    def __init__(self, app: ASGIApp | None, keys: Keys | None, local: bool = False) -> None:
        self._app = app
        self._local = local and keys is None
        self._keys = keys
        self._meter = Meter()
        self._metered: KeyRing | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on with scope["state"]["caller"], or refuse with 401, 429 or 431."""
        assert self._app is not None, "Doors without an app are for gRPC"
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        assert scope["type"] == "http", "the server speaks no WebSocket"
        state = scope.setdefault("state", {})
        try:
            visit = self._let_in(scope, state)
        except Denied as denied:
            await denied.response_to(scope)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            visit.tokens = state.get("tokens", 0)  # also of an answer whose reader left
            visit.leave()

    def _let_in(self, scope: Scope, state: dict[str, Any]) -> Visit:
        _check_size(scope)
        if self._local:
            _check_host(scope)
        if self._open(scope):
            state["caller"] = self.stranger
            return Visit((), 0.0)  # on nobody's account
        caller = state["caller"] = self.admit(_headers(scope))
        if scope["path"] == "/metrics":
            caller.require_admin()  # they name every tenant's bots
        return self._enter(caller)

    @property
    def stranger(self) -> Caller:
        """Who comes without a key to what is open to all."""
        return ANONYMOUS if self._keys is None else STRANGER

    def _open(self, scope: Scope) -> bool:
        path = scope["path"]
        if scope["method"] == "POST":
            return path == HINT and any(name == SIGNATURE for name, _ in scope["headers"])  # the handler looks at the signature
        return scope["method"] in ("GET", "HEAD") and (
            OPEN.fullmatch(path) is not None or (path == "/metrics" and not self._keys)
        )

    def admit(self, headers: Mapping[str, str]) -> Caller:
        """Who sent `headers` (lower-case names; gRPC: the metadata). Raises Denied (401)."""
        if self._keys is None:
            return ANONYMOUS
        presented = _presented(headers)
        if not presented:
            raise Denied(401, f"this server asks for a key; {HOW}", "key")
        key = self._keys.ring.find(presented)
        if key is None:
            raise Denied(401, f"this key is not known here, or was revoked; {HOW}", "key")
        return Caller(key.tenant, key.bots, key.admin, key.id)

    @contextmanager
    def passing(self, caller: Caller) -> Iterator[Visit]:
        """Let one request of `caller` in while the block runs, which sets `tokens`. Raises Denied (429)."""
        visit = self._enter(caller)
        try:
            yield visit
        finally:
            visit.leave()

    def _enter(self, caller: Caller) -> Visit:
        if self._keys is None:
            return Visit((), 0.0)
        ring = self._keys.ring
        if ring is not self._metered:
            self._metered = ring
            self._meter.keep({_by_key(key.id) for key in ring.keys.values()} | {_by_tenant(name) for name in ring.tenants})
        limited = {_by_tenant(caller.tenant): ring.tenants.get(caller.tenant, Limits())}
        if key := ring.keys.get(caller.id):  # else revoked a moment ago
            limited[_by_key(key.id)] = key.limits
        return self._meter.enter(limited)


def _by_key(identity: str) -> str:
    return f"the key {identity}"


def _by_tenant(name: str) -> str:
    return f"tenant {name}"


def _check_size(scope: Scope) -> None:
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MOST_HEADERS or size > LARGEST_HEADERS:
        told = f"{len(headers):,} headers of {size:,} bytes; the most is {MOST_HEADERS} of {LARGEST_HEADERS:,}"
        raise Denied(431, told, "headers")


def _check_host(scope: Scope) -> None:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if not is_loopback(name):
        raise Denied(403, f"the Host {host[:80]!r} is no name of this machine; ask for 127.0.0.1, or serve with --keys", "host")


def _headers(scope: Scope) -> dict[str, str]:
    """The two headers that can carry a key; one that comes twice is nobody's."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in (b"authorization", b"x-api-key"):
            text = name.decode("ascii")
            found[text] = "" if text in found else value.decode("latin-1")
    return found


def _presented(headers: Mapping[str, str]) -> str:
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def warn_if_open(host: str, keys: Keys | None) -> bool:
    """Say so when the server is open to a network without keys; whether it is."""
    is_open = keys is None and not is_loopback(host)
    if is_open:
        log.warning(
            "%s is open to the network, and anybody may ask; make keys with `mynah keys add`, give them with --keys", host
        )
    return is_open


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or name, is this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
