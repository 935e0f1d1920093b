"""Maps errors of the engine and the model cache to statuses and retry times, for REST, OpenAI and gRPC."""

import http
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from mynah.decoding.errors import InvalidParameter, PromptTooLong
from serving.engine.errors import (
    AliasNotFound,
    EngineStopped,
    GenerationFailed,
    InvalidAddress,
    LoadFailed,
    ModelNotFound,
    ModelTooLarge,
    NoRoom,
    QueueFull,
    RegistryUnavailable,
    ServingError,
    VersionNotFound,
)
from serving.errors import ApiError

SECONDS_TO_RESTART = 5  # until another replica or the next process answers
SECONDS_UNTIL_ROOM = 2  # the typical duration of an answer

# The most specific class of an error applies.
TABLE: Mapping[type[Exception], Callable[[Any], ApiError]] = {
    InvalidParameter: lambda error: ApiError(400, error.problem),
    PromptTooLong: lambda error: ApiError(
        400, f"{error.problem}. {error.fix}" if error.fix else error.problem, code="context_length_exceeded"
    ),
    InvalidAddress: lambda error: ApiError(400, error.message, param="model"),
    ModelNotFound: lambda error: ApiError(404, error.message, param="model"),
    AliasNotFound: lambda error: ApiError(404, error.message, param="model"),
    VersionNotFound: lambda error: ApiError(404, error.message, param="model"),
    GenerationFailed: lambda error: ApiError(500, error.message),
    EngineStopped: lambda error: ApiError(503, error.message, retry_after=SECONDS_TO_RESTART),
    QueueFull: lambda error: ApiError(503, error.message, retry_after=error.wait),
    RegistryUnavailable: lambda error: ApiError(503, error.message, retry_after=SECONDS_TO_RESTART),
    NoRoom: lambda error: ApiError(503, error.message, retry_after=SECONDS_UNTIL_ROOM),
    ModelTooLarge: lambda error: ApiError(503, error.message),
    LoadFailed: lambda error: ApiError(503, error.message, retry_after=error.wait),
}
MAPPED = (ApiError, ServingError, InvalidParameter, PromptTooLong)


def to_api_error(error: Exception) -> ApiError:
    """Map an error of the engine or the model cache to an ApiError.

    Args:
        error: Any exception; an ApiError is returned unchanged.

    Returns:
        The mapped error. Exceptions that are not MAPPED are bugs and become 500 without details.
    """
    if isinstance(error, ApiError):
        return error
    convert = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), None)
    return convert(error) if convert else ApiError(500, "internal error")


def register_error_handlers(app: FastAPI) -> None:
    """Register handlers for all exceptions; KServe's would send the text of any exception to the client.

    Exceptions that are not in the table become 500 without details, and uvicorn logs their tracebacks.
    """
    for kind in (*MAPPED, Exception):
        app.add_exception_handler(kind, _async_handler(to_api_error))
    app.add_exception_handler(HTTPException, _no_route)


def _async_handler(convert: Callable[[Any], ApiError]) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(
        request: Request, error: Exception
    ) -> JSONResponse:  # a coroutine, since Starlette runs plain functions in a thread
        response = convert(error).response_to(request.scope)
        response.headers.update(getattr(error, "headers", None) or {})  # such as Allow for 405
        if response.headers.get("allow") == "GET":
            response.headers["allow"] = "GET, HEAD"  # `serving.protocols.request_body` turns the one into the other
        return response

    return handle


async def _no_route(request: Request, error: Exception) -> Response:
    location = _without_slash(request)
    if location:
        return Response(status_code=307, headers={"Location": location})
    return await _async_handler(_describe_status)(request, error)


def _describe_status(error: HTTPException) -> ApiError:
    messages = {
        404: "there is nothing at this path; GET /v2/models lists the bots, and OpenAI's API is at /openai/v1 and /v1",
        405: "this path does not take this method",
    }
    # Starlette's message may quote the request; the name of the status does not.
    message = messages.get(error.status_code) or http.HTTPStatus(error.status_code).phrase.lower()
    return ApiError(error.status_code, message, code="unknown_url" if error.status_code == 404 else None)


def _without_slash(request: Request) -> str:
    """Return the relative address of the route that a path with a slash at its end means, or "".

    Starlette would redirect to an absolute address, with a scheme, a host and a prefix that are a proxy's and not this server's.
    """
    path = request.scope["path"].removesuffix("/")
    if path == request.scope["path"] or not path or path.endswith("/"):
        return ""
    scope = {**request.scope, "path": path}
    if all(route.matches(scope)[0] is Match.NONE for route in request.app.router.routes):
        return ""
    query = request.scope["query_string"].decode("latin-1")
    return f"../{quote(path.rpartition('/')[2])}" + (f"?{query}" if query else "")
