"""KServe's v1 and v2 (Open Inference Protocol) over HTTP: thin routes around the data plane."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from serving.errors import ApiError, describe_invalid, speaks_openai
from serving.protocols import kserve_schemas
from serving.protocols.kserve_models import BotDataPlane
from serving.protocols.openai_models import ModelCards
from serving.protocols.openapi import documented
from serving.protocols.webhook import is_signed
from serving.service import REQUEST_CONTEXT, RequestContext, require_admin

SESSION_HEADER = "x-mynah-session"  # requests of one session are answered by the same version while traffic is split


def request_context(request: Request, protocol: str) -> RequestContext:
    """Create the context of an HTTP request and set REQUEST_CONTEXT for its handler.

    Args:
        request: the request.
        protocol: v1, v2 or openai.
    """
    context = RequestContext(protocol, request.scope.setdefault("state", {}), request.headers.get(SESSION_HEADER, "")[:200])
    context.state["protocol"] = protocol
    REQUEST_CONTEXT.set(context)
    return context


def create_v1(data_plane: BotDataPlane, cards: ModelCards) -> APIRouter:
    """Create the routes of v1: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.

    OpenAI's clients ask the same paths for models when /v1 is their base address: the list is both, and the look-up of one is answered
    to OpenAI's own libraries as OpenAI does, and to all others by KServe's readiness.

    Args:
        data_plane: what answers.
        cards: OpenAI's cards of the bots.
    """
    router = APIRouter(prefix="/v1", tags=["KServe v1"], default_response_class=JSONResponse)

    async def predict(model_name: str, request: Request) -> Response:
        request_context(request, "v1")
        answer, headers = await data_plane.predict(model_name, request.state.body)
        return _json(answer, headers)

    async def models(request: Request) -> Response:
        caller = request_context(request, "v1").caller
        return _json({"models": data_plane.service.names(caller), **cards.list(caller)})

    async def ready(model_name: str, request: Request) -> Response:
        caller = request_context(request, "v1").caller
        if speaks_openai(request.scope):
            return _json(await cards.get(model_name, caller))
        return _json(await _ready(data_plane, model_name))

    router.add_api_route(
        "/models/{model_name}:predict", predict, **documented(kserve_schemas.PredictResponse, kserve_schemas.PredictRequest)
    )
    router.add_api_route("/models", models, **documented(kserve_schemas.ListModelsV1))
    router.add_api_route("/models/{model_name}", ready, **documented(kserve_schemas.ReadyV1, errors=(404, 503)))
    return router


def create_v2(data_plane: BotDataPlane) -> APIRouter:
    """Create the routes of v2: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol."""
    router = APIRouter(prefix="/v2", tags=["KServe v2"], default_response_class=JSONResponse)

    async def infer(model_name: str, request: Request) -> Response:
        return await _infer(data_plane, model_name, request)

    async def infer_version(model_name: str, model_version: str, request: Request) -> Response:
        return await _infer(data_plane, f"{model_name}:{model_version}", request)

    async def metadata(model_name: str, request: Request) -> Response:
        request_context(request, "v2")
        return _json(await data_plane.model_metadata(model_name))

    async def version_metadata(model_name: str, model_version: str, request: Request) -> Response:
        request_context(request, "v2")
        return _json({**await data_plane.model_metadata(f"{model_name}:{model_version}"), "name": model_name})

    async def ready(model_name: str, request: Request) -> Response:
        request_context(request, "v2")
        return _json(await _ready(data_plane, model_name))

    async def version_ready(model_name: str, model_version: str, request: Request) -> Response:
        request_context(request, "v2")
        return _json({**await _ready(data_plane, f"{model_name}:{model_version}"), "name": model_name})

    async def models(request: Request) -> Response:
        return _json({"models": data_plane.service.names(request_context(request, "v2").caller)})

    model, model_version_path = "/models/{model_name}", "/models/{model_name}/versions/{model_version}"
    infer_docs = documented(kserve_schemas.InferResponseBody, kserve_schemas.InferRequestBody)
    metadata_docs = documented(kserve_schemas.ModelMetadataResponse, errors=(403, 404))
    ready_docs = documented(kserve_schemas.ModelReadyResponse, errors=(404, 503))
    router.add_api_route(f"{model}/infer", infer, **infer_docs)
    router.add_api_route(f"{model_version_path}/infer", infer_version, **infer_docs)
    router.add_api_route("/models", models, **documented(kserve_schemas.ListModelsResponse))
    router.add_api_route(model, metadata, **metadata_docs)
    router.add_api_route(model_version_path, version_metadata, **metadata_docs)
    router.add_api_route(f"{model}/ready", ready, **ready_docs)
    router.add_api_route(f"{model_version_path}/ready", version_ready, **ready_docs)
    _add_server(router, data_plane)
    _add_control(router, data_plane)
    return router


def _add_server(router: APIRouter, data_plane: BotDataPlane) -> None:
    async def server() -> Response:
        return _json(data_plane.metadata())

    async def live() -> Response:
        if not data_plane.service.alive:
            raise ApiError(503, "the GPU has failed; restart the server")
        return _json({"live": True})

    async def ready() -> Response:
        if not await data_plane.ready():
            raise ApiError(503, "the server is starting or stopping")
        return _json({"ready": True})

    router.add_api_route("", server, **documented(kserve_schemas.ServerMetadataResponse))
    router.add_api_route("/health/live", live, **documented(kserve_schemas.ServerLiveResponse, errors=(503,)))
    router.add_api_route("/health/ready", ready, **documented(kserve_schemas.ServerReadyResponse, errors=(503,)))


def _add_control(router: APIRouter, data_plane: BotDataPlane) -> None:
    repository = data_plane.service.repository

    async def load(model_name: str, request: Request) -> Response:
        require_admin(request_context(request, "v2").state)
        await repository.load(model_name)
        return _json({"name": model_name, "load": True})

    async def unload(model_name: str, request: Request) -> Response:
        require_admin(request_context(request, "v2").state)
        await repository.unload(model_name)
        return _json({"name": model_name, "unload": True})

    async def poll_now(request: Request) -> Response:
        context = request_context(request, "v2")
        if not is_signed(request.headers, request.state.raw, data_plane.webhook_secret):
            require_admin(context.state)
        repository.poll_now()
        return _json({"hint": True})

    errors = (400, 403, 404, 413, 503)
    router.add_api_route(
        "/repository/models/{model_name}/load", load, **documented(kserve_schemas.Loaded, errors=errors, post=True)
    )
    router.add_api_route(
        "/repository/models/{model_name}/unload", unload, **documented(kserve_schemas.Unloaded, errors=errors, post=True)
    )
    router.add_api_route("/repository/hint", poll_now, **documented(kserve_schemas.Hinted, errors=(403, 413), post=True))


async def _infer(data_plane: BotDataPlane, address: str, request: Request) -> Response:
    request_context(request, "v2")
    try:
        body = kserve_schemas.InferBody.model_validate(request.state.body)
    except ValidationError as error:
        raise ApiError(400, describe_invalid(error.errors(include_url=False, include_input=False))) from error
    answer, headers = await data_plane.infer(address, body.request())
    return _json(answer.to_json(), headers)


async def _ready(data_plane: BotDataPlane, address: str) -> dict[str, Any]:
    if not await data_plane.model_ready(address):
        raise ApiError(503, f"{address[:80]} is not in memory; the first request loads it")
    return {"name": address, "ready": True}


def _json(body: Any, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401 - any JSON value
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, headers=headers, media_type="application/json")
