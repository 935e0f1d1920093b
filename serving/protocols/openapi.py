"""The OpenAPI document at /openapi.json, made from the routes that are served; their handlers read bodies themselves."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.protocols.kserve_schemas import Problem

REFERENCE = "#/components/schemas/{model}"
ASKED = (400, 403, 404, 408, 413, 415, 429, 503, 504)  # how a request for text may be refused
DOOR = (401, 431)  # any request, at the doors
WORDS = {
    400: "Something in the request makes no sense; the message names it.",
    401: "No API key, or one that is not known.",
    403: "The key is not good for this.",
    404: "There is no such bot or version; the message names the nearest.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "More than the key may ask; Retry-After says when to try again.",
    431: "Too many headers, or too long ones.",
    503: "Not now: the server is full, starts or stops, or the bot cannot be loaded. Retry-After says when to try again.",
    504: "The answer took longer than X-Request-Timeout or the server's deadline.",
}
TIMEOUT = {
    "name": "X-Request-Timeout",
    "in": "header",
    "description": "Seconds for the whole answer; the server's own deadline is the most.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
SESSION = {
    "name": "X-Mynah-Session",
    "in": "header",
    "description": "Where traffic is split between a champion and its challenger, requests of one session get the same of them.",
    "schema": {"type": "string"},
}
VERSION = {"X-Mynah-Version": {"description": "Which version answered: name:version.", "schema": {"type": "string"}}}
NAME = "[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?"
VERSION_NAME = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
ADDRESS = f"^{NAME}(?:@[A-Za-z0-9_-]{{1,100}}|:{VERSION_NAME})?$"
EVENTS = {"text/event-stream": {"itemSchema": {"type": "object", "properties": {"data": {"type": "string"}}}}}  # OpenAPI 3.2
_BODIES: dict[str, type[BaseModel]] = {}


def documented(
    answer: type[BaseModel],
    body: type[BaseModel] | None = None,
    refused: Sequence[int] = (),
    post: bool = False,
    problem: type[BaseModel] = Problem,
    streams: bool = False,
) -> dict[str, Any]:
    """Arguments of `add_api_route` for a route that answers `answer`; one that takes a `body` is a POST for text."""
    success: dict[str, Any] = {"model": answer, "description": "The answer."}
    extra: dict[str, Any] = {}
    if body:
        _BODIES[body.__name__] = body
        reference = {"$ref": REFERENCE.format(model=body.__name__)}
        extra = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
            "parameters": [TIMEOUT, SESSION],
        }
        success["headers"] = VERSION
        if streams:
            success["content"] = EVENTS
        refused = ASKED
    responses: dict[int | str, dict[str, Any]] = {200: success}
    for status in sorted({*refused, *DOOR}):
        responses[status] = {"model": problem, "description": WORDS[status]}
    methods = ["POST"] if body or post else ["GET"]
    return {"methods": methods, "response_model": None, "responses": responses, "openapi_extra": extra or None}


def make_document(app: FastAPI) -> dict[str, Any]:
    """The document, made once. Bodies that handlers read themselves are added, and FastAPI's own 422 is taken out."""
    found = get_openapi(
        title="Mynah",
        version=version("mynah"),
        summary="Small language models that write like the people they learned from.",
        description="KServe's v1 and v2 protocols and OpenAI's completions, for the bots at addresses such as wren, "
        "wren@challenger and wren:3.",
        routes=app.routes,
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    _, bodies = models_json_schema([(model, "validation") for model in _BODIES.values()], ref_template=REFERENCE)
    schemas.update(bodies["$defs"])
    for path in found["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            _say_what_addresses_are(operation.get("parameters", []))
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    found["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where the server asks for one."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    found["security"] = [{}, {"bearer": []}, {"header": []}]
    return found


def _say_what_addresses_are(parameters: Sequence[dict[str, Any]]) -> None:
    names = [parameter["name"] for parameter in parameters]
    plain = "model_version" in names  # beside a version stands a plain name
    patterns = {
        "model_name": f"^{NAME}$" if plain else ADDRESS,
        "model_id": ADDRESS,
        "model_version": f"^{VERSION_NAME}$",
    }
    for parameter in parameters:
        if parameter["name"] in patterns:
            parameter["schema"]["pattern"] = patterns[parameter["name"]]
