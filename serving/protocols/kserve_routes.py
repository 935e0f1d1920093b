"""KServe's v1 and v2 (Open Inference Protocol) over HTTP, each route a line or two around KServe's DataPlane.

KServe's own routes answer NotImplementedError for versions, describe no body of v1, and register load and unload for anyone.
"""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, ValidationError

from serving.protocols import kserve_schemas
from serving.protocols.kserve_import import InvalidInput, v2_datamodels
from serving.protocols.kserve_models import BotDataPlane
from serving.protocols.openapi import documented
from serving.protocols.webhook import is_signed
from serving.refusals import Refusal, describe_invalid
from serving.service import CALL, Call, allow_admin

SESSION_HEADER = "x-mynah-session"  # requests of one session get one of two versions, where traffic is split
PARAMETER = float | int | bool | str | list[str]  # v2 says no lists; `stop` is one all the same


class InferBody(v2_datamodels.InferenceRequest):  # type: ignore[misc]  # kserve is untyped
    """KServe's v2 body, whose parameters may hold `stop` as a list."""

    model_config = ConfigDict(strict=True)

    parameters: dict[str, PARAMETER] | None = None


def call_of(request: Request, protocol: str) -> Call:
    """The Call of an HTTP request, for the handler and for everything that KServe calls from it."""
    call = Call(protocol, request.scope.setdefault("state", {}), request.headers.get(SESSION_HEADER, "")[:200])
    call.state["protocol"] = protocol
    CALL.set(call)
    return call


def create_v1(plane: BotDataPlane) -> APIRouter:
    """v1's routes: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol."""
    router = APIRouter(prefix="/v1", tags=["KServe v1"], default_response_class=JSONResponse)

    async def predict(model_name: str, request: Request) -> Response:
        call_of(request, "v1")
        answer, headers = await plane.infer(model_name, request.state.body)
        return _json(answer, headers)

    async def models(request: Request) -> Response:
        return _json({"models": plane.service.names(call_of(request, "v1").caller)})

    async def ready(model_name: str, request: Request) -> Response:
        call_of(request, "v1")
        return _json(await _ready(plane, model_name))

    router.add_api_route(
        "/models/{model_name}:predict", predict, **documented(kserve_schemas.PredictResponse, kserve_schemas.PredictRequest)
    )
    router.add_api_route("/models", models, **documented(v2_datamodels.ListModelsResponse))
    router.add_api_route("/models/{model_name}", ready, **documented(kserve_schemas.ReadyV1, refused=(404, 503)))
    return router


def create_v2(plane: BotDataPlane) -> APIRouter:
    """v2's routes: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol."""
    router = APIRouter(prefix="/v2", tags=["KServe v2"], default_response_class=JSONResponse)

    async def infer(model_name: str, request: Request) -> Response:
        return await _infer(plane, model_name, request)

    async def infer_version(model_name: str, model_version: str, request: Request) -> Response:
        return await _infer(plane, f"{model_name}:{model_version}", request)

    async def metadata(model_name: str, request: Request) -> Response:
        call_of(request, "v2")
        return _json(await plane.model_metadata(model_name))

    async def version_metadata(model_name: str, model_version: str, request: Request) -> Response:
        call_of(request, "v2")
        return _json({**await plane.model_metadata(f"{model_name}:{model_version}"), "name": model_name})

    async def ready(model_name: str, request: Request) -> Response:
        call_of(request, "v2")
        return _json(await _ready(plane, model_name))

    async def version_ready(model_name: str, model_version: str, request: Request) -> Response:
        call_of(request, "v2")
        return _json({**await _ready(plane, f"{model_name}:{model_version}"), "name": model_name})

    async def models(request: Request) -> Response:
        return _json({"models": plane.service.names(call_of(request, "v2").caller)})

    one, version = "/models/{model_name}", "/models/{model_name}/versions/{model_version}"
    asked = documented(kserve_schemas.InferResponseBody, kserve_schemas.InferRequestBody)
    told = documented(v2_datamodels.ModelMetadataResponse, refused=(403, 404))
    readiness = documented(v2_datamodels.ModelReadyResponse, refused=(404, 503))
    router.add_api_route(f"{one}/infer", infer, **asked)
    router.add_api_route(f"{version}/infer", infer_version, **asked)
    router.add_api_route("/models", models, **documented(v2_datamodels.ListModelsResponse))
    router.add_api_route(one, metadata, **told)
    router.add_api_route(version, version_metadata, **told)
    router.add_api_route(f"{one}/ready", ready, **readiness)
    router.add_api_route(f"{version}/ready", version_ready, **readiness)
    _add_server(router, plane)
    _add_control(router, plane)
    return router


def _add_server(router: APIRouter, plane: BotDataPlane) -> None:
    async def server() -> Response:
        return _json(plane.metadata())

    async def live() -> Response:
        if not plane.service.alive:
            raise Refusal(503, "the GPU has failed; a new process mends it")
        return _json({"live": True})

    async def ready() -> Response:
        if not await plane.ready():
            raise Refusal(503, "the server does not answer requests now; it starts or stops")
        return _json({"ready": True})

    router.add_api_route("", server, **documented(v2_datamodels.ServerMetadataResponse))
    router.add_api_route("/health/live", live, **documented(v2_datamodels.ServerLiveResponse, refused=(503,)))
    router.add_api_route("/health/ready", ready, **documented(v2_datamodels.ServerReadyResponse, refused=(503,)))


def _add_control(router: APIRouter, plane: BotDataPlane) -> None:
    repository = plane.service.repository

    async def load(model_name: str, request: Request) -> Response:
        allow_admin(call_of(request, "v2").state)
        await repository.load(model_name)
        return _json({"name": model_name, "load": True})

    async def unload(model_name: str, request: Request) -> Response:
        allow_admin(call_of(request, "v2").state)
        await repository.unload(model_name)
        return _json({"name": model_name, "unload": True})

    async def hint(request: Request) -> Response:
        call = call_of(request, "v2")
        if not is_signed(request.headers, request.state.raw, plane.webhook_secret):
            allow_admin(call.state)
        repository.hint()
        return _json({"hint": True})

    refused = (400, 403, 404, 413, 503)
    router.add_api_route(
        "/repository/models/{model_name}/load", load, **documented(kserve_schemas.Loaded, refused=refused, post=True)
    )
    router.add_api_route(
        "/repository/models/{model_name}/unload", unload, **documented(kserve_schemas.Unloaded, refused=refused, post=True)
    )
    router.add_api_route("/repository/hint", hint, **documented(kserve_schemas.Hinted, refused=(403, 413), post=True))


async def _infer(plane: BotDataPlane, address: str, request: Request) -> Response:
    call_of(request, "v2")
    try:
        body = InferBody.model_validate(request.state.body)
        asked, _ = plane.decode(body, {}, protocol_version="v2", model_name=address)
    except ValidationError as error:
        raise Refusal(400, describe_invalid(error.errors(include_url=False, include_input=False))) from error
    except InvalidInput as error:
        raise Refusal(400, str(error)[:300]) from error
    answer, headers = await plane.infer(address, asked)
    return _json(answer.to_rest()[0], headers)


async def _ready(plane: BotDataPlane, address: str) -> dict[str, Any]:
    if not await plane.model_ready(address):
        raise Refusal(503, f"{address[:80]} is not in memory; it is loaded when it is asked")
    return {"name": address, "ready": True}


def _json(body: Any, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401 - whatever JSON takes
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, headers=headers, media_type="application/json")
