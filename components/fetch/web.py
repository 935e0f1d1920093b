"""The session by which tweepy, Mastodon.py and atproto speak: answers of bounded size and time, and no other server than the named one.

What may pass (a limit, a 5xx, a broken connection, an answer that is no JSON) is tried again within a Patience; all requests are
GETs. What a refusal means, each door tells by a function of its own.
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

from components.avatars import MOST_BYTES as MOST_BYTES_OF_A_PICTURE
from components.errors import MynahError, PlatformError
from components.events import say
from components.fetch import shapes
from components.fetch.patience import Patience, Trouble, Waiting, seconds_asked

MOST_BYTES = 16 << 20  # of an answer, unpacked; a hundred posts with all their fields have one million at most
CHUNK = 1 << 16
SECONDS_TO_CONNECT = 10.0
MOST_REDIRECTS = 3
PICTURES = "image/*"

# What a refusal (status, the answer's object) means; None for a 429 that passes.
Refusal = Callable[[int, dict[str, Any]], MynahError | None]


class Web(requests.Session):  # type: ignore[misc] # requests is not followed
    """A session with one server, called `name` in messages; `base` is its address, and may stand in for the one in `stands_for`.

    Every request returns a 2xx answer of JSON, or raises what `refusal` says, or PlatformError with the advice `again`.
    """

    def __init__(self, base: str, name: str, refusal: Refusal, again: str, patience: Patience, stands_for: str = "") -> None:
        super().__init__()
        self.base, self.name, self._again, self._stands_for = base.rstrip("/"), name, again, stands_for
        self.auth = _as_it_is  # else a line of ~/.netrc would replace a door's own token
        self.max_redirects = MOST_REDIRECTS
        adapter = _Adapter(name, refusal, again, patience)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, method: str | bytes, url: str | bytes, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401
        """As requests has it, with errors of ours."""
        address = str(url)
        if self._stands_for and address.startswith(self._stands_for):
            address = self.base + address.removeprefix(self._stands_for)
        try:
            return super().request(method, address, *arguments, **options)
        except requests.RequestException as error:
            raise PlatformError(f"{self.name} cannot be asked: {_reason(error)}", self._again) from error

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where an answer sends on to. Raises PlatformError for another server: nobody named it, and it may be a private one."""
        target: str | None = super().get_redirect_target(resp)
        try:
            whole = urljoin(resp.url, target or "")
        except ValueError as error:
            raise PlatformError(f"{self.name} sends on to {str(target)[:80]!r}, which is no address", self._again) from error
        if _origin(whole) != _origin(resp.url):
            other = _split(whole).hostname or whole
            raise PlatformError(f"{self.name} sends on to another server, {other[:80]!r}", "Name that one, if you trust it.")
        return target

    def picture(self, address: object) -> bytes:
        """The file of a profile picture; empty, with a warning, where it cannot be had: posts do not wait for a picture."""
        if not isinstance(address, str) or not address:
            return b""
        try:
            if _origin(address) != _origin(self.base) and not _is_public(address):
                raise PlatformError("its address is not a public one")
            answer = self.get(address, headers={"Accept": PICTURES}, allow_redirects=False)
            if answer.status_code != 200 or len(answer.content) > MOST_BYTES_OF_A_PICTURE:
                raise PlatformError(f"status {answer.status_code}, {len(answer.content):,} bytes")
        except MynahError as error:
            say(f"a profile picture is left out: {error.problem}", "warning")
            return b""
        return bytes(answer.content)


class _Adapter(HTTPAdapter):  # type: ignore[misc]
    """Sends a request until its answer is whole and good."""

    def __init__(self, name: str, refusal: Refusal, again: str, patience: Patience) -> None:
        super().__init__()
        self._name, self._refusal, self._again, self._patience = name, refusal, again, patience

    def send(self, request: requests.PreparedRequest, *_: object, **options: Any) -> requests.Response:  # noqa: ANN401
        """As requests has it; returns answers of 2xx and 3xx alone, already read."""
        request.headers["User-Agent"] = f"mynah/{version('mynah')}"
        options.update(stream=True, timeout=(SECONDS_TO_CONNECT, self._patience.silence))
        is_picture = request.headers.get("Accept") == PICTURES
        waiting = Waiting(self._patience, self._name, self._again)
        while True:
            try:
                answer = self._read(super().send(request, **options))
                trouble = self._trouble(answer, is_picture)
            except (requests.RequestException, HTTPError, OSError) as error:
                trouble = Trouble(f"broke off ({_reason(error)})")
            if not trouble:
                return answer
            if is_picture:
                raise PlatformError(f"{self._name} {trouble.what}")
            waiting.after(trouble)

    def _read(self, answer: requests.Response) -> requests.Response:
        """`answer` with its whole body. Raises an error of urllib3 when it breaks off, PlatformError when it does not end."""
        raw, body, began = answer.raw, bytearray(), time.monotonic()
        try:
            while piece := raw.read1(CHUNK, decode_content=True):
                body += piece
                if len(body) > MOST_BYTES:
                    raise PlatformError(f"{self._name} gave an answer of more than {MOST_BYTES:,} bytes", self._again)
                if time.monotonic() - began > self._patience.answer:
                    raise TimeoutError(f"no end after {self._patience.answer:.0f} s")
        except BaseException:
            raw.close()
            raise
        raw.release_conn()
        answer.raw = io.BytesIO(body)
        return answer

    def _trouble(self, answer: requests.Response, is_picture: bool) -> Trouble | None:
        """What may pass of an answer's fault. Raises what does not."""
        status = answer.status_code
        if is_picture and status >= 400:
            raise PlatformError(f"{self._name} answered {status}")
        if status == 429 or status >= 500:
            final = self._refusal(status, _object(answer)) if status == 429 else None
            if final:
                raise final
            what = (
                "takes no more requests for now" if status == 429 else f"answered {status} {shapes.words(answer.reason)}".strip()
            )
            return Trouble(what, status == 429, seconds_asked(answer.headers, self._patience.now()))
        if status >= 400:
            raise self._refusal(status, _object(answer)) or PlatformError(f"{self._name} answered {status}", self._again)
        if status < 300 and not is_picture and _json(answer) is None:
            kind = shapes.words(answer.headers.get("content-type", "").partition(";")[0])[:40]
            return Trouble(f"gave an answer that is no JSON ({kind or 'of no kind'}, {len(answer.content):,} bytes)")
        return None


def _json(answer: requests.Response) -> Any:  # noqa: ANN401 - JSON is any of its types
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _object(answer: requests.Response) -> dict[str, Any]:
    found = _json(answer)
    return found if isinstance(found, dict) else {}


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: BaseException) -> str:
    """The innermost cause, in its own words: requests wraps urllib3's errors, which wrap the system's."""
    inner = error
    while True:
        wrapped = [each for each in (getattr(inner, "reason", None), *inner.args) if isinstance(each, BaseException)]
        if not wrapped:
            break
        inner = wrapped[0]
    words = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return shapes.words(words.rpartition("object at 0x")[2].partition(": ")[2] or words)[:160] or type(inner).__name__


def _origin(address: str) -> tuple[str, str, int]:
    parts = _split(address)
    return parts.scheme, parts.hostname or "", _port(parts) or (443 if parts.scheme == "https" else 80)


def _is_public(address: str) -> bool:
    """Whether an address that a server gave leads to the open net: https without a login or port, no private address behind it."""
    parts = _split(address)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or _port(parts) not in (None, 443):
        return False
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, 443, type=socket.SOCK_STREAM)}
        return bool(found) and all(ipaddress.ip_address(each.partition("%")[0]).is_global for each in found)
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
