"""Builds the OpenAPI document at /openapi.json from the routes; their handlers parse bodies themselves."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.protocols.kserve_schemas import Problem

REFERENCE = "#/components/schemas/{model}"
GENERATION_ERRORS = (400, 403, 404, 408, 413, 415, 429, 503, 504)  # error statuses of generation requests
AUTH_ERRORS = (401, 431)  # error statuses of all requests, from authentication
STATUS_DESCRIPTIONS = {
    400: "The request is invalid; the message names the cause.",
    401: "The API key is missing or unknown.",
    403: "The API key gives no access to this.",
    404: "There is no such bot or version; the message names the nearest.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The body is not JSON, or is compressed.",
    429: "A limit of the API key is exceeded; Retry-After says when to try again.",
    431: "The headers are too many or too large.",
    503: "The server is full, starting or stopping, or the bot cannot be loaded; Retry-After says when to try again.",
    504: "The answer took longer than X-Request-Timeout or the server's deadline.",
}
TIMEOUT = {
    "name": "X-Request-Timeout",
    "in": "header",
    "description": "Seconds for the whole answer, up to the server's own deadline.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
SESSION = {
    "name": "X-Mynah-Session",
    "in": "header",
    "description": "While traffic is split between champion and challenger, the same one answers all requests of a session.",
    "schema": {"type": "string"},
}
VERSION = {"X-Mynah-Version": {"description": "The version that answered: name:version.", "schema": {"type": "string"}}}
NAME = "[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?"
VERSION_NAME = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
ADDRESS = f"^{NAME}(?:@[\\w-]{{1,255}}|:{VERSION_NAME})?$"
EVENTS = {"text/event-stream": {"itemSchema": {"type": "object", "properties": {"data": {"type": "string"}}}}}  # OpenAPI 3.2
_BODIES: dict[str, type[BaseModel]] = {}


def documented(
    response: type[BaseModel],
    body: type[BaseModel] | None = None,
    errors: Sequence[int] = (),
    post: bool = False,
    problem: type[BaseModel] = Problem,
    streams: bool = False,
) -> dict[str, Any]:
    """Return arguments of `add_api_route` that document a route.

    Args:
        response: the model of a successful response.
        body: the model of the request body; its route is a POST that generates text.
        errors: the error statuses of a route without a body, besides those of all routes.
        post: whether a route without a body is a POST.
        problem: the model of error responses.
        streams: whether the response can be a stream of events.
    """
    success: dict[str, Any] = {"model": response, "description": "The answer."}
    openapi_extra: dict[str, Any] = {}
    if body:
        _BODIES[body.__name__] = body
        reference = {"$ref": REFERENCE.format(model=body.__name__)}
        openapi_extra = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
            "parameters": [TIMEOUT, SESSION],
        }
        success["headers"] = VERSION
        if streams:
            success["content"] = EVENTS
        errors = GENERATION_ERRORS
    responses: dict[int | str, dict[str, Any]] = {200: success}
    for status in sorted({*errors, *AUTH_ERRORS}):
        responses[status] = {"model": problem, "description": STATUS_DESCRIPTIONS[status]}
    methods = ["POST"] if body or post else ["GET"]
    return {"methods": methods, "response_model": None, "responses": responses, "openapi_extra": openapi_extra or None}


def make_document(app: FastAPI) -> dict[str, Any]:
    """Build the document, with the bodies that handlers parse themselves and without FastAPI's own 422."""
    document = get_openapi(
        title="Mynah",
        version=version("mynah"),
        summary="Small language models that write like the people they learned from.",
        description="KServe's v1 and v2 protocols and OpenAI's completions and chat completions, for the bots at addresses such as wren, "
        "wren@challenger and wren:3. OpenAI's routes answer below /v1 as below /openai/v1.",
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, bodies = models_json_schema([(model, "validation") for model in _BODIES.values()], ref_template=REFERENCE)
    schemas.update(bodies["$defs"])
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            _set_address_patterns(operation.get("parameters", []))
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, if the server needs one."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    return document


def _set_address_patterns(parameters: Sequence[dict[str, Any]]) -> None:
    names = [parameter["name"] for parameter in parameters]
    has_version = "model_version" in names  # with a version in the path, the name is plain
    patterns = {
        "model_name": f"^{NAME}$" if has_version else ADDRESS,
        "model_id": ADDRESS,
        "model_version": f"^{VERSION_NAME}$",
    }
    for parameter in parameters:
        if parameter["name"] in patterns:
            parameter["schema"]["pattern"] = patterns[parameter["name"]]
