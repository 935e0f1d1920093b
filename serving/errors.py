"""Error responses in the format of each protocol; they contain no traceback, no path and no prompt.

KServe's protocols: `{"error": "..."}`. OpenAI's, under /openai/ and on its own paths of /v1: `{"error": {"message", "type", "param", "code"}}`.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import Scope

RETRY_AFTER = 5  # seconds, when an error names no other; a default answer of GPT-2 takes one to three on two cores
OPENAI = "/openai/"
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
V1, V1_MODELS = (
    "/v1/",
    "/v1/models",
)  # /v1 is KServe's for models and predictions, and a second base address for the rest of OpenAI's
OPENAI_SDK = b"x-stainless-lang"  # a header of every request of OpenAI's own libraries: their generator, Stainless, adds it


def speaks_openai(scope: Scope) -> bool:
    """Whether a request is of OpenAI's API. The paths below /v1/models are KServe's too; there OpenAI's own libraries are recognised."""
    path: str = scope.get("path", "")
    if not path.startswith(V1):
        return path.startswith(OPENAI)
    if path != V1_MODELS and not path.startswith(f"{V1_MODELS}/"):
        return True
    return not path.endswith(":predict") and any(name == OPENAI_SDK for name, _ in scope.get("headers", ()))


class ApiError(Exception):
    """An error response.

    Args:
        status: the HTTP status.
        message: the cause, and what the client can do about it.
        retry_after: seconds after which to try again, or None.
        param: the invalid field of an OpenAI request, or None.
        code: OpenAI's code of the error; None for that of the status.
    """

    def __init__(
        self, status: int, message: str, retry_after: int | None = None, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.param = param
        self.code = code

    def body(self, openai: bool = False) -> dict[str, Any]:
        """Return the body in KServe's format, or in OpenAI's."""
        if not openai:
            return {"error": self.message}
        kind = OPENAI_TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        code = self.code or OPENAI_CODES.get(self.status)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": code}}

    def response_to(self, scope: Scope) -> JSONResponse:
        """Return the response in the format of the request's protocol, with Retry-After (seconds) when trying again helps."""
        headers = {}
        if self.status in (429, 503):
            headers["Retry-After"] = str(self.retry_after or RETRY_AFTER)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(speaks_openai(scope)), self.status, headers)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint for a misspelt word: the most similar known word, or the known words when none is similar.

    Args:
        word: the misspelt word.
        known: the known words.
    """
    words = sorted(known)
    if not words:
        return "there are none"
    matches = difflib.get_close_matches(word[:100].lower(), words, n=1)
    if matches:
        return f"did you mean {matches[0]!r}?"
    return f"known: {', '.join(words[:10])}{' …' if len(words) > 10 else ''}"


def describe_invalid(errors: Sequence[Any]) -> str:
    """Return the first of pydantic's errors in one line that names the field but not its value."""
    if not errors:
        return "the body is not a request"
    path, message = [str(part) for part in errors[0]["loc"]], str(errors[0]["msg"])
    if path[:1] == ["parameters"] and len(path) > 1:
        return f"parameters.{path[1][:80]} must be a number or a string"
    return f"{'.'.join(path)[:120]}: {message[:200].lower()}"
