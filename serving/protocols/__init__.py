"""The HTTP application: KServe's v1 and v2, OpenAI's completions and the playground over our own FastAPI.

KServe's stock ModelServer binds every interface, registers load and unload for anyone, has no limit on bodies and sends
the text of exceptions to callers; its DataPlane is used here without those.
"""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from serving.protocols.gate import Gate
from serving.protocols.kserve_models import BotDataPlane
from serving.protocols.kserve_routes import create_v1, create_v2
from serving.protocols.openai import create_openai
from serving.protocols.openapi import make_document
from serving.refusals import register_refusals
from serving.service import Service

if TYPE_CHECKING:
    from serving.settings import Settings
    from serving.signals.metrics import Metrics


def create_app(
    service: Service,
    settings: "Settings",
    metrics: "Metrics | None" = None,
    page: APIRouter | None = None,
) -> FastAPI:
    """The application behind the doors; whoever serves it wraps it in them (see `serving.server`)."""
    # The pages of /docs would load scripts from a foreign host.
    app = FastAPI(title="Mynah", docs_url=None, redoc_url=None, openapi_url=None)
    plane = BotDataPlane(service, settings.webhook_secret)
    for router in (create_openai(service), create_v2(plane), create_v1(plane), page or _alive()):
        app.include_router(router)
    if metrics:
        app.add_route("/metrics", metrics.route)
    document: dict[str, Any] = make_document(app)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    app.add_route("/openapi.json", openapi)
    register_refusals(app)
    app.add_middleware(Gate, largest_body=settings.max_body, deadline=settings.deadline)
    return app


def _alive() -> APIRouter:
    """Where v1 clients ask whether the server lives; the playground answers it too."""
    router = APIRouter(include_in_schema=False)

    async def alive() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    router.add_api_route("/", alive)
    return router
