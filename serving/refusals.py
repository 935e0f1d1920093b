"""What the server says when it says no: one shape, `{"error": "..."}`, and never a traceback, a path or a prompt."""

import difflib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.kserve_import import InvalidInput, ModelNotFound, ModelNotReady

RETRY_AFTER = 5  # seconds; a default answer of GPT-2 takes one to three on two cores


class Refusal(Exception):  # noqa: N818 - most are the caller's doing, not an error of the server
    """A request that gets no answer: the HTTP status, and what its sender can do about it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def response(self) -> JSONResponse:
        """The refusal as JSON, with Retry-After (seconds) where trying again helps."""
        headers = {"Retry-After": str(RETRY_AFTER)} if self.status == 503 else None
        return JSONResponse({"error": self.message}, self.status, headers)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt `word`: the known word nearest to it, or all of them when none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word[:100].lower(), words, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(words[:10])}{' …' if len(words) > 10 else ''}"


def register_refusals(app: FastAPI, bot_names: Sequence[str]) -> None:
    """Answer every exception in our own words; KServe's handlers would send the text of any exception to the caller.

    Whatever isn't named here is a 500 without details, and uvicorn logs its traceback.
    """

    def unknown_bot(request: Request, _: object) -> JSONResponse:
        name = str(request.path_params.get("model_name", ""))
        return Refusal(404, f"there is no bot named {name[:80]!r} here; {nearest(name, bot_names)}").response()

    answers: dict[type[Exception], Callable[[Request, Any], JSONResponse]] = {
        Refusal: lambda _, refusal: refusal.response(),
        ModelNotFound: unknown_bot,
        ModelNotReady: lambda _, __: Refusal(503, "this bot is not ready yet; try again").response(),
        InvalidInput: lambda _, error: Refusal(400, str(error)[:300]).response(),
        RequestValidationError: lambda _, error: Refusal(400, describe_invalid(error.errors())).response(),
        HTTPException: lambda _, error: _no_route(error),
        Exception: lambda _, __: Refusal(500, "internal error").response(),
    }
    for kind, answer in answers.items():
        app.add_exception_handler(kind, _on_the_loop(answer))


def _on_the_loop(answer: Callable[[Request, Any], JSONResponse]) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(request: Request, error: Exception) -> JSONResponse:  # Starlette runs plain functions in a thread
        return answer(request, error)

    return handle


def _no_route(error: HTTPException) -> JSONResponse:
    said = {404: "there is nothing at this path; GET /v2/models lists the bots", 405: "this path does not take this method"}
    return JSONResponse({"error": said.get(error.status_code, str(error.detail))}, error.status_code, error.headers)


def describe_invalid(errors: Sequence[Any]) -> str:
    """The first of pydantic's complaints about a v2 request, in one line that names the field and never its value."""
    # KServe declares the body as InferenceRequest | bytes, and pydantic complains about both; nobody meant the bytes.
    paths = [([str(part) for part in error["loc"][2:]], error["msg"]) for error in errors if error["loc"][1:2] != ("bytes",)]
    if not paths:
        return "the body is not a v2 inference request"
    path, message = paths[0]
    if path[:1] == ["parameters"] and len(path) > 1:
        return f"parameters.{path[1][:80]} must be a number"
    return f"{'.'.join(path)[:120]}: {message[:200].lower()}"
