"""What a request must be before a handler sees it: small, whole, in time, and a JSON object.

KServe 0.21 has no limit on bodies, hands raw bytes to v1 models when the content type names a charset, and answers
malformed bodies differently in v1 and v2. The gate makes them one: what passes is a JSON object of at most 1 MiB, decoded
once, in `request.state.body`. It touches POST only, so that nothing stands between a health check and its answer.
"""

import asyncio
import json
import re
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.protocols.watch import Watch, seconds_for
from serving.refusals import Refusal

SLOWEST_BODY = 30.0  # seconds for the whole body to arrive
SURROGATE = re.compile(r"\\u[dD]")  # how JSON spells half of a pair; whether the other half follows is looked at only then
ASKING = (":predict", "/infer", "/completions")  # how paths end whose body is a request; no other's is looked at


class Gate:
    """ASGI middleware that reads a POST's body itself, refuses what is not fit, and watches over the rest while it runs."""

    def __init__(self, app: ASGIApp, largest_body: int, deadline: float) -> None:
        self.app = app
        self._largest = largest_body
        self._deadline = deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 400, 408, 413 or 415."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        try:
            body = await read_body(scope, receive, self._largest)
            if scope["path"].endswith(ASKING):
                check_headers(Headers(scope=scope))
                scope.setdefault("state", {})["body"] = json_object(body)
            else:
                scope.setdefault("state", {})["raw"] = body
            seconds = seconds_for(scope, self._deadline)
        except Refusal as refusal:
            await refusal.response_to(scope)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await Watch(self.app, seconds)(scope, receive, send)


async def read_body(scope: Scope, receive: Receive, largest: int) -> bytes:
    """The whole body, declared in length or chunked. Raises Refusal (413, 408, or 503 as the server stops) and ClientDisconnect."""
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > largest:
        raise _too_large(largest)
    body = bytearray()
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > largest:
                    raise _too_large(largest)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise Refusal(408, f"the body took more than {SLOWEST_BODY:.0f} seconds to arrive") from error
    except asyncio.CancelledError as error:  # by uvicorn, when the grace is over
        raise Refusal(503, "the server is stopping; try again later") from error
    return bytes(body)


def _too_large(largest: int) -> Refusal:
    return Refusal(413, f"the body is larger than {largest:,} bytes; send fewer or shorter prompts")


def check_headers(headers: Headers) -> None:
    """Raise Refusal unless the body is announced as plain JSON."""
    if "inference-header-content-length" in headers:
        raise Refusal(400, "the binary tensor extension is not served; send the prompts in the JSON's data")
    if any(name.startswith("ce-") for name in headers):
        raise Refusal(400, "CloudEvents are not served; send plain JSON")
    kind = headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body must be JSON, announced by the header Content-Type: application/json")


def json_object(body: bytes) -> dict[str, Any]:
    """The one JSON object in UTF-8 that `body` is, by RFC 8259: no NaN, no Infinity, whole characters only. Raises Refusal (400)."""
    if not body.strip():
        raise Refusal(400, "the body is empty; send a JSON object")
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refusal(400, "the body is not Unicode text: it holds half a surrogate pair") from error
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not valid UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise Refusal(400, f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply") from error
    except ValueError as error:  # Python refuses to read integers of more than 4,300 digits
        raise Refusal(400, "the body holds a number with too many digits") from error
    if not isinstance(value, dict):
        raise Refusal(400, f"the body must be a JSON object, and is {_JSON_NAMES[type(value)]}")
    return value


_JSON_NAMES = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null"}


def _no_constant(name: str) -> None:
    raise Refusal(400, f"{name} is no number in JSON; send a finite one")
