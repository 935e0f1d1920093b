"""Authentication by API key, rate limits per key and per tenant, and a limit on the size of headers.

Without a key file all clients are one anonymous caller, who can query every bot and manage none; the server should then bind
loopback only (see `warn_if_open`).
"""

import ipaddress
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.auth.api_keys import KeyRing, Limits, matches
from serving.auth.key_file import Keys
from serving.auth.rate_limits import AccessDenied, Admission, RateLimiter
from serving.errors import speaks_openai
from serving.paths import PROBES

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024  # bytes of names and values; browsers and proxies send 2 to 8 KiB
# Paths that reveal nothing a key protects: probes, the playground's files, the OpenAPI document.
OPEN_PATHS = re.compile(rf"/|{PROBES}|/openapi\.json|/page/(?!bots\.json$)[^/]+")
HINT_PATH, SIGNATURE = "/v2/repository/hint", b"x-mlflow-signature"  # MLflow's webhooks have no key and sign their requests
KEY_INSTRUCTIONS = "send the API key as Authorization: Bearer mynah_…"
log = logging.getLogger("mynah.auth")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client. `bots` are names, or patterns with `*`; `id` is the key's id, which is no secret."""

    tenant: str
    bots: tuple[str, ...]
    admin: bool = False
    id: str = ""

    def can_access(self, name: str) -> bool:
        """Whether this caller can query the bot at an address (wren, wren:3 or wren@challenger)."""
        return matches(self.bots, name)

    def require(self, name: str) -> None:
        """Raise AccessDenied (403) unless this caller can query the bot. Call it before anything reveals whether the bot exists."""
        if not self.can_access(name):
            allowed = ", ".join(self.bots) or "none"
            raise AccessDenied(403, f"this key has no access to {name[:80]!r}; it has access to: {allowed}", "bot")

    def require_admin(self) -> None:
        """Raise AccessDenied (403) unless this caller can load and unload bots."""
        if not self.admin:
            raise AccessDenied(403, "this needs an admin key (`mynah keys add --admin`)", "admin")


ANONYMOUS = Caller("anonymous", ("*",))
UNAUTHENTICATED = Caller("", ())  # a client without a key, on the paths that need none


def caller_of(state: Mapping[str, Any]) -> Caller | None:
    """Return the caller that AuthMiddleware stored in a request's state; None without authentication."""
    caller: Caller | None = state.get("caller")
    return caller


class AuthMiddleware:
    """ASGI middleware that authenticates callers and limits their requests. gRPC calls `authenticate` and `limit` itself.

    Args:
        app: the wrapped application; None when used for gRPC only.
        keys: the API keys; None accepts everybody.
        local: whether the server binds loopback. Without keys it then answers only requests for a name of this machine: otherwise a
            web page could point its own host name here and read the answers (DNS rebinding,
            https://en.wikipedia.org/wiki/DNS_rebinding).
    """

    def __init__(self, app: ASGIApp | None, keys: Keys | None, local: bool = False) -> None:
        self._app = app
        self._local = local and keys is None
        self._keys = keys
        self._limiter = RateLimiter()
        self._limited_ring: KeyRing | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with scope["state"]["caller"], or answer 401, 403, 429 or 431."""
        assert self._app is not None, "an AuthMiddleware without an app is for gRPC"
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        assert scope["type"] == "http", "WebSocket is not supported"
        state = scope.setdefault("state", {})
        try:
            admission = self._admit(scope, state)
        except AccessDenied as denied:
            await denied.response_to(scope)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            admission.tokens = state.get("tokens", 0)  # also after the client disconnected
            admission.release()

    def _admit(self, scope: Scope, state: dict[str, Any]) -> Admission:
        _check_size(scope)
        if self._local:
            _check_host(scope)
        if self._is_open(scope):
            state["caller"] = self.unauthenticated_caller
            return Admission((), 0.0)  # counts for no account
        caller = state["caller"] = self.authenticate(_headers(scope))
        if scope["path"] == "/metrics":
            caller.require_admin()  # metrics name every tenant's bots
        return self._admit_caller(caller)

    @property
    def unauthenticated_caller(self) -> Caller:
        """The caller of requests without a key, on paths that need none."""
        return ANONYMOUS if self._keys is None else UNAUTHENTICATED

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        if scope["method"] == "POST":
            return path == HINT_PATH and any(
                name == SIGNATURE for name, _ in scope["headers"]
            )  # the handler verifies the signature
        if scope["method"] not in ("GET", "HEAD"):
            return False
        is_probe = OPEN_PATHS.fullmatch(path) is not None and not speaks_openai(scope)  # OpenAI's look-up of a model has a key
        return is_probe or (path == "/metrics" and not self._keys)

    def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """Return the caller of a request by its headers (lower-case names) or gRPC metadata. Raises AccessDenied (401)."""
        if self._keys is None:
            return ANONYMOUS
        presented = _presented(headers)
        if not presented:
            raise AccessDenied(401, f"this server needs an API key; {KEY_INSTRUCTIONS}", "key")
        key = self._keys.ring.find(presented)
        if key is None:
            raise AccessDenied(401, f"this API key is unknown or was revoked; {KEY_INSTRUCTIONS}", "key")
        return Caller(key.tenant, key.bots, key.admin, key.id)

    @contextmanager
    def limit(self, caller: Caller) -> Iterator[Admission]:
        """Admit one request of `caller` while the block runs; the block sets `tokens`. Raises AccessDenied (429)."""
        admission = self._admit_caller(caller)
        try:
            yield admission
        finally:
            admission.release()

    def _admit_caller(self, caller: Caller) -> Admission:
        if self._keys is None:
            return Admission((), 0.0)
        ring = self._keys.ring
        if ring is not self._limited_ring:
            self._limited_ring = ring
            self._limiter.retain({_by_key(key.id) for key in ring.keys.values()} | {_by_tenant(name) for name in ring.tenants})
        limits_by_owner = {_by_tenant(caller.tenant): ring.tenants.get(caller.tenant, Limits())}
        if key := ring.keys.get(caller.id):  # None if the key was revoked a moment ago
            limits_by_owner[_by_key(key.id)] = key.limits
        return self._limiter.admit(limits_by_owner)


def _by_key(identity: str) -> str:
    return f"the key {identity}"


def _by_tenant(name: str) -> str:
    return f"tenant {name}"


def _check_size(scope: Scope) -> None:
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        message = f"{len(headers):,} headers of {size:,} bytes; at most {MAX_HEADERS} of {MAX_HEADER_BYTES:,} are allowed"
        raise AccessDenied(431, message, "headers")


def _check_host(scope: Scope) -> None:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if not host and scope["http_version"] == "1.0":  # it has no Host; browsers, of which rebinding makes use, always send one
        return
    name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if not is_loopback(name):
        raise AccessDenied(
            403, f"the Host {host[:80]!r} is not a name of this machine; use 127.0.0.1, or serve with --keys", "host"
        )


def _headers(scope: Scope) -> dict[str, str]:
    """Return the two headers that can carry a key; one that occurs twice counts as empty."""
    credentials: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in (b"authorization", b"x-api-key"):
            header_name = name.decode("ascii")
            credentials[header_name] = "" if header_name in credentials else value.decode("latin-1")
    return credentials


def _presented(headers: Mapping[str, str]) -> str:
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def warn_if_open(host: str, keys: Keys | None) -> bool:
    """Log a warning when the server accepts requests from the network without keys; return whether it does."""
    is_open = keys is None and not is_loopback(host)
    if is_open:
        log.warning(
            "%s accepts requests from the network without API keys; create keys with `mynah keys add` and pass --keys", host
        )
    return is_open


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
