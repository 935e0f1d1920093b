"""What a request must be before KServe's handlers see it: small, whole, in time, and a JSON object.

KServe 0.21 has no limit on bodies, hands raw bytes to v1 models when the content type names a charset, and answers
malformed bodies differently in v1 and v2. The gate makes them one: what passes is a JSON object of at most 1 MiB.
"""

import asyncio
import json

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.refusals import Refusal

LARGEST_BODY = 1024 * 1024  # bytes; 64 prompts that fill GPT-2's context of 1,024 tokens are about 300 kB
SLOWEST_BODY = 30.0  # seconds for the whole body to arrive
INFERENCE_PATHS = (":predict", "/infer")


class Gate:
    """ASGI middleware that reads a POST's body itself, refuses what is not fit, and hands the rest on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 400, 408, 413 or 415."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        try:
            body = await read_body(scope, receive)
            if scope["path"].endswith(INFERENCE_PATHS):
                check_headers(Headers(scope=scope))
                check_object(body)
                _plain_content_type(scope)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await self.app(scope, _replay(body, receive), send)


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, declared in length or chunked. Raises Refusal (413, 408) and ClientDisconnect."""
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise _too_large()
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise Refusal(408, f"the body took more than {SLOWEST_BODY:.0f} seconds to arrive") from error
    return bytes(body)


def _too_large() -> Refusal:
    return Refusal(413, f"the body is larger than {LARGEST_BODY:,} bytes; send fewer or shorter prompts")


def check_headers(headers: Headers) -> None:
    """Raise Refusal unless the body is announced as plain JSON."""
    if "inference-header-content-length" in headers:
        raise Refusal(400, "the binary tensor extension is not served; send the prompts in the JSON's data")
    if any(name.startswith("ce-") for name in headers):
        raise Refusal(400, "CloudEvents are not served; send plain JSON")
    kind = headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body must be JSON, announced by the header Content-Type: application/json")


def check_object(body: bytes) -> None:
    """Raise Refusal (400) unless `body` is one JSON object in UTF-8, by RFC 8259: no NaN, no Infinity."""
    if not body.strip():
        raise Refusal(400, "the body is empty; send a JSON object")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
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


_JSON_NAMES = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null"}


def _no_constant(name: str) -> None:
    raise Refusal(400, f"{name} is no number in JSON; send a finite one")


def _plain_content_type(scope: Scope) -> None:
    MutableHeaders(scope=scope)["content-type"] = "application/json"  # KServe's v1 compares it as a whole


def _replay(body: bytes, receive: Receive) -> Receive:
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replayed() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        first, message = message, None
        return first

    return replayed
