"""What the server says when it says no, in the shape of the protocol that was spoken, and never a traceback, a path or a prompt.

KServe's protocols: `{"error": "..."}`. OpenAI's, under /openai/: `{"error": {"message", "type", "param", "code"}}`.
"""

import difflib
import http
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

RETRY_AFTER = 5  # seconds, where nobody knows better; a default answer of GPT-2 takes one to three on two cores
OPENAI = "/openai/"
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class Refusal(Exception):  # noqa: N818 - most are the caller's doing, not an error of the server
    """A request that gets no answer: the HTTP status, what its sender can do about it, and when to try again (seconds)."""

    def __init__(self, status: int, message: str, retry_after: int | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.param = param  # which field of an OpenAI request is meant

    def body(self, path: str = "") -> dict[str, Any]:
        """The refusal as the protocol at `path` writes it."""
        if not path.startswith(OPENAI):
            return {"error": self.message}
        kind = OPENAI_TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        code = OPENAI_CODES.get(self.status)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": code}}

    def response(self, path: str = "") -> JSONResponse:
        """The refusal as JSON, with Retry-After (seconds) where trying again helps."""
        headers = {}
        if self.status in (429, 503):
            headers["Retry-After"] = str(self.retry_after or RETRY_AFTER)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(path), self.status, headers)

    def response_to(self, scope: Scope) -> JSONResponse:
        """The refusal as the protocol of the request in `scope` writes it."""
        return self.response(scope.get("path", ""))


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt `word`: the known word nearest to it, or all of them when none is near."""
    words = sorted(known)
    if not words:
        return "there are none"
    near = difflib.get_close_matches(word[:100].lower(), words, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(words[:10])}{' …' if len(words) > 10 else ''}"


def unknown_bot(name: str, known: Iterable[str]) -> Refusal:
    """The refusal of a bot that is not here, with the name nearest to it."""
    return Refusal(404, f"there is no bot named {name[:80]!r} here; {nearest(name, known)}", param="model")


def register_refusals(app: FastAPI) -> None:
    """Answer every exception in our own words; KServe's handlers would send the text of any exception to the caller.

    Whatever isn't named here is a 500 without details, and uvicorn logs its traceback.
    """
    app.add_exception_handler(Refusal, _on_the_loop(lambda refusal: refusal))
    app.add_exception_handler(HTTPException, _on_the_loop(_no_route))
    app.add_exception_handler(Exception, _on_the_loop(lambda _: Refusal(500, "internal error")))


def _on_the_loop(answer: Callable[[Any], Refusal]) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(request: Request, error: Exception) -> JSONResponse:  # Starlette runs plain functions in a thread
        response = answer(error).response_to(request.scope)
        response.headers.update(getattr(error, "headers", None) or {})  # Allow, of a 405
        return response

    return handle


def _no_route(error: HTTPException) -> Refusal:
    said = {404: "there is nothing at this path; GET /v2/models lists the bots", 405: "this path does not take this method"}
    # Starlette's own words may quote the request; the status's name never does.
    return Refusal(error.status_code, said.get(error.status_code) or http.HTTPStatus(error.status_code).phrase.lower())


def describe_invalid(errors: Sequence[Any]) -> str:
    """The first of pydantic's complaints about a body, in one line that names the field and never its value."""
    if not errors:
        return "the body is not a request"
    path, message = [str(part) for part in errors[0]["loc"]], str(errors[0]["msg"])
    if path[:1] == ["parameters"] and len(path) > 1:
        return f"parameters.{path[1][:80]} must be a number or a string"
    return f"{'.'.join(path)[:120]}: {message[:200].lower()}"
