"""The HTTP session of tweepy, Mastodon.py and atproto: bounded responses and times, and no server but the named one.

Transient failures (a rate limit, a 5xx, a broken connection, a response that is not JSON) are retried within a RetryPolicy; all
requests are GETs. Each platform's module provides a function that converts its error responses to exceptions.
"""

import io
import ipaddress
import json
import socket
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from components.fetch import untrusted_json
from components.fetch.http.retry import Retries, RetryPolicy, TransientFailure, retry_after
from mynah.core.errors import MynahError, PlatformError
from mynah.core.progress import notify
from mynah.data.avatars import MAX_BYTES as MAX_PICTURE_BYTES

MAX_BYTES = 16 << 20  # of a response, uncompressed; a hundred posts with all their fields take at most 1 MB
CHUNK = 1 << 16
SECONDS_TO_CONNECT = 10.0
MAX_REDIRECTS = 3
PICTURES = "image/*"

# Converts an error response (status, JSON object) to an exception; None for a 429 to retry.
ErrorOfResponse = Callable[[int, dict[str, Any]], MynahError | None]


class BoundedSession(requests.Session):  # type: ignore[misc]  # mypy does not follow requests (pyproject.toml)
    """A session with one server. Every request returns a 2xx response with JSON, or raises.

    Args:
        base: The server's address.
        name: The server's name in messages.
        error_of: Converts an error response to an exception.
        fix: What a person can do about other failures.
        retry_policy: Limits of retries and times.
        stands_for: The address hard-coded in a client library, which `base` replaces.
    """

    def __init__(
        self, base: str, name: str, error_of: ErrorOfResponse, fix: str, retry_policy: RetryPolicy, stands_for: str = ""
    ) -> None:
        super().__init__()
        self.base, self.name, self._fix, self._stands_for = base.rstrip("/"), name, fix, stands_for
        self.auth = _unchanged  # or an entry of ~/.netrc would replace the reader's own token
        self.max_redirects = MAX_REDIRECTS
        adapter = _Adapter(name, error_of, fix, retry_policy)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, method: str | bytes, url: str | bytes, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401 - the base class's signature
        """Send a request like requests.Session. Raises MynahError for every failure."""
        address = str(url)
        if self._stands_for and address.startswith(self._stands_for):
            address = self.base + address.removeprefix(self._stands_for)
        try:
            return super().request(method, address, *arguments, **options)
        except requests.RequestException as error:
            raise PlatformError(f"{self.name} request failed: {_reason(error)}", self._fix) from error

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the target of a redirect. Raises PlatformError for another server, which may be on a private network."""
        target: str | None = super().get_redirect_target(resp)
        try:
            whole = urljoin(resp.url, target or "")
        except ValueError as error:
            raise PlatformError(f"{self.name} redirects to {str(target)[:80]!r}, which is not a URL", self._fix) from error
        if _origin(whole) != _origin(resp.url):
            other = _split(whole).hostname or whole
            raise PlatformError(
                f"{self.name} redirects to another server, {other[:80]!r}", "If you trust that server, name it as the source."
            )
        return target

    def picture(self, address: object) -> bytes:
        """Download a profile picture. Returns no bytes, with a warning, where that fails: posts do not depend on a picture."""
        if not isinstance(address, str) or not address:
            return b""
        try:
            if _origin(address) != _origin(self.base) and not _is_public(address):
                raise PlatformError("its address is not public")
            response = self.get(address, headers={"Accept": PICTURES}, allow_redirects=False)
            if response.status_code != 200 or len(response.content) > MAX_PICTURE_BYTES:
                raise PlatformError(f"status {response.status_code}, {len(response.content):,} bytes")
        except MynahError as error:
            notify(f"skipping a profile picture: {error.problem}", "warning")
            return b""
        return bytes(response.content)


class _Adapter(HTTPAdapter):  # type: ignore[misc]  # as BoundedSession
    """Sends a request, with retries, until its response is complete and valid."""

    def __init__(self, name: str, error_of: ErrorOfResponse, fix: str, retry_policy: RetryPolicy) -> None:
        super().__init__()
        self._name, self._error_of, self._fix, self._retry_policy = name, error_of, fix, retry_policy

    def send(self, request: requests.PreparedRequest, *_: object, **options: Any) -> requests.Response:  # noqa: ANN401 - the base class's signature
        """Send a request like HTTPAdapter; return only 2xx and 3xx responses, already read."""
        request.headers["User-Agent"] = f"mynah/{version('mynah')}"
        options.update(stream=True, timeout=(SECONDS_TO_CONNECT, self._retry_policy.silence))
        is_picture = request.headers.get("Accept") == PICTURES
        retries = Retries(self._retry_policy, self._name, self._fix)
        while True:
            try:
                response = self._read(super().send(request, **options))
                failure = self._failure(response, is_picture)
            except (requests.RequestException, HTTPError, OSError) as error:
                failure = TransientFailure(f"broke off ({_reason(error)})")
            if not failure:
                return response
            if is_picture:
                raise PlatformError(f"{self._name} {failure.what}")
            retries.after(failure)

    def _read(self, response: requests.Response) -> requests.Response:
        """Read the whole body. Raises urllib3's error when the connection breaks, PlatformError when the body is too long."""
        raw, body, start = response.raw, bytearray(), time.monotonic()
        try:
            while chunk := raw.read1(CHUNK, decode_content=True):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise PlatformError(f"{self._name} returned a response of more than {MAX_BYTES:,} bytes", self._fix)
                if time.monotonic() - start > self._retry_policy.answer:
                    raise TimeoutError(f"no end after {self._retry_policy.answer:.0f} s")
        except BaseException:
            raw.close()
            raise
        raw.release_conn()
        response.raw = io.BytesIO(body)
        return response

    def _failure(self, response: requests.Response, is_picture: bool) -> TransientFailure | None:
        """Return the transient failure in a response, or None for a valid one. Raises an exception for a permanent failure."""
        status = response.status_code
        if is_picture and status >= 400:
            raise PlatformError(f"{self._name} answered {status}")
        if status == 429 or status >= 500:
            final = self._error_of(status, _object(response)) if status == 429 else None
            if final:
                raise final
            what = (
                "rate-limits requests"
                if status == 429
                else f"answered {status} {untrusted_json.message_text(response.reason)}".strip()
            )
            return TransientFailure(what, status == 429, retry_after(response.headers, self._retry_policy.now()))
        if status >= 400:
            raise self._error_of(status, _object(response)) or PlatformError(f"{self._name} answered {status}", self._fix)
        if status < 300 and not is_picture and _json(response) is None:
            kind = untrusted_json.message_text(response.headers.get("content-type", "").partition(";")[0])[:40]
            return TransientFailure(
                f"returned a response that is not JSON ({kind or 'no content type'}, {len(response.content):,} bytes)"
            )
        return None


def _json(response: requests.Response) -> Any:  # noqa: ANN401 - JSON is any of its types
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _object(response: requests.Response) -> dict[str, Any]:
    value = _json(response)
    return value if isinstance(value, dict) else {}


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: BaseException) -> str:
    """Return the message of the innermost cause: requests wraps urllib3's errors, which wrap the system's."""
    inner = error
    while True:
        wrapped = [cause for cause in (getattr(inner, "reason", None), *inner.args) if isinstance(cause, BaseException)]
        if not wrapped:
            break
        inner = wrapped[0]
    message = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return (
        untrusted_json.message_text(message.rpartition("object at 0x")[2].partition(": ")[2] or message)[:160]
        or type(inner).__name__
    )


def _origin(address: str) -> tuple[str, str, int]:
    parts = _split(address)
    return parts.scheme, parts.hostname or "", _port(parts) or (443 if parts.scheme == "https" else 80)


def _is_public(address: str) -> bool:
    """Return whether an address from a response is on the public internet: https, no login or port, and no private IP address."""
    parts = _split(address)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or _port(parts) not in (None, 443):
        return False
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, 443, type=socket.SOCK_STREAM)}
        return bool(addresses) and all(ipaddress.ip_address(address.partition("%")[0]).is_global for address in addresses)
    except (OSError, ValueError):
        return False


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return -1
