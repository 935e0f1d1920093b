"""The HTTP application: KServe's v1 and v2, OpenAI's completions and chat completions, and the playground, on FastAPI.

KServe's own ModelServer binds every interface, lets anybody load and unload models, has no limit on bodies and sends the text of
exceptions to clients; this application implements the protocols without it.
"""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from serving.protocols.errors import register_error_handlers
from serving.protocols.kserve_models import BotDataPlane
from serving.protocols.kserve_routes import create_v1, create_v2
from serving.protocols.openai import create_openai
from serving.protocols.openai_models import ModelCards
from serving.protocols.openapi import make_document
from serving.protocols.request_body import RequestBodyMiddleware
from serving.service import Service

if TYPE_CHECKING:
    from serving.config import Settings
    from serving.observability.metrics import Metrics


def create_app(
    service: Service,
    settings: "Settings",
    metrics: "Metrics | None" = None,
    playground: APIRouter | None = None,
) -> FastAPI:
    """Create the application without authentication and observability, which `serving.app` adds as middleware.

    Args:
        service: engine and repository.
        settings: the server's settings.
        metrics: answers /metrics where given.
        playground: the routes of the playground; without them `/` only answers that the server is alive.
    """
    # FastAPI's /docs would load scripts from another host. Its redirects name the scheme and the host that this server sees
    # (`serving.protocols.errors` has the slashes at the ends of paths).
    app = FastAPI(title="Mynah", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    data_plane = BotDataPlane(service, settings.webhook_secret)
    cards = ModelCards(service)
    routers = (
        create_openai(service, cards),
        create_v2(data_plane),
        create_v1(data_plane, cards),
        playground or _create_liveness(),
    )
    for router in routers:
        app.include_router(router)
    if metrics:
        app.add_route("/metrics", metrics.route)
    document: dict[str, Any] = make_document(app)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    app.add_route("/openapi.json", openapi)
    register_error_handlers(app)
    app.add_middleware(RequestBodyMiddleware, max_body=settings.max_body, deadline=settings.deadline)
    return app


def _create_liveness() -> APIRouter:
    """Create the route where v1 clients check that the server is alive; the playground answers it too."""
    router = APIRouter(include_in_schema=False)

    async def alive() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    router.add_api_route("/", alive)
    return router
