"""Reads and validates request bodies before the handlers: small, complete, in time, and a JSON object.

KServe 0.21 has no limit on bodies, passes raw bytes to v1 models when the content type names a charset, and answers malformed
bodies differently in v1 and v2. This middleware unifies them: handlers get a JSON object of at most 1 MiB, decoded once, in
`request.state.body`. It reads the bodies of POST only, so that it never delays a health check.
"""

import asyncio
import json
import re
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import ApiError
from serving.protocols.deadline import DeadlineMiddleware, seconds_for

BODY_SECONDS = 30.0  # seconds for the whole body to arrive
SURROGATE = re.compile(r"\\u[dD]")  # a surrogate escape in JSON; only then is the text checked for unpaired ones
BODY_PATHS = (":predict", "/infer", "/completions")  # path suffixes whose body is parsed; others are kept raw


class RequestBodyMiddleware:
    """ASGI middleware that reads the body of a POST, rejects invalid ones, and runs the rest under a deadline."""

    def __init__(self, app: ASGIApp, max_body: int, deadline: float) -> None:
        self.app = app
        self._max_bytes = max_body
        self._deadline = deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, a HEAD as the GET whose headers it asks for; or answer 400, 408, 413 or 415."""
        if scope["type"] != "http" or scope["method"] != "POST":
            # FastAPI's routes of GET refuse HEAD. uvicorn, which has the scope of the HEAD, sends no body (RFC 9110 9.3.2).
            is_head = scope["type"] == "http" and scope["method"] == "HEAD"
            await self.app({**scope, "method": "GET"} if is_head else scope, receive, send)
            return
        try:
            body = await read_body(scope, receive, self._max_bytes)
            if scope["path"].endswith(BODY_PATHS):
                check_headers(Headers(scope=scope))
                scope.setdefault("state", {})["body"] = json_object(body)
            else:
                scope.setdefault("state", {})["raw"] = body
            seconds = seconds_for(scope, self._deadline)
        except ApiError as error:
            await error.response_to(scope)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await DeadlineMiddleware(self.app, seconds)(scope, receive, send)


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Read the whole body, with a declared length or chunked.

    Args:
        scope: the ASGI scope.
        receive: the ASGI receive callable.
        max_bytes: the largest body that is accepted.

    Raises:
        ApiError: 413 for a larger body, 408 for one that arrives too slowly, 503 when the server stops.
        ClientDisconnect: the client disconnected.
    """
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise ApiError(408, f"the body took more than {BODY_SECONDS:.0f} seconds to arrive") from error
    except asyncio.CancelledError as error:  # by uvicorn, at the end of the grace period
        raise ApiError(503, "the server is stopping; try again later") from error
    return bytes(body)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(413, f"the body is larger than {max_bytes:,} bytes; send fewer or shorter prompts")


def check_headers(headers: Headers) -> None:
    """Raise ApiError unless the headers announce plain JSON, uncompressed: a small body could expand to a large one."""
    if "inference-header-content-length" in headers:
        raise ApiError(400, "the binary tensor extension is not supported; send the prompts in the JSON's data")
    if any(name.startswith("ce-") for name in headers):
        raise ApiError(400, "CloudEvents are not supported; send plain JSON")
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        raise ApiError(415, f"the body has the Content-Encoding {coding[:40]!r}; send it without compression")
    kind = headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "the body must be JSON, announced by the header Content-Type: application/json")


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a body as one JSON object in UTF-8, by RFC 8259: no NaN, no Infinity, no unpaired surrogates. Raises ApiError (400)."""
    if not body.strip():
        raise ApiError(400, "the body is empty; send a JSON object")
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ApiError(400, "the body is not Unicode text: it holds half a surrogate pair") from error
    except UnicodeDecodeError as error:
        raise ApiError(400, f"the body is not valid UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise ApiError(400, "the body is nested too deeply") from error
    except ValueError as error:  # Python parses no integers of more than 4,300 digits
        raise ApiError(400, "the body holds a number with too many digits") from error
    if not isinstance(value, dict):
        raise ApiError(400, f"the body must be a JSON object, and is {_JSON_NAMES[type(value)]}")
    return value


_JSON_NAMES = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null"}


def _no_constant(name: str) -> None:
    raise ApiError(400, f"{name} is not a number in JSON; send a finite one")
