"""The HTTP application: KServe's v1 and v2 (Open Inference Protocol) over our own FastAPI.

KServe's stock ModelServer binds every interface, registers load and unload for anyone, has no limit on bodies and sends
the text of exceptions to callers; its DataPlane and its routes are used here without those.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI

from components.errors import InputError
from serving.gate import Gate
from serving.kserve_import import DataPlane, ModelRepository, register_v1_endpoints, register_v2_endpoints
from serving.models import BotModel, ServedBot
from serving.refusals import Refusal, register_refusals
from serving.turns import Turns

# An allow-list, so that a route which a later KServe adds is not served unread. Left out on purpose: repository load and
# unload (anyone could call them), :explain (there is no explainer) and versions (KServe answers NotImplementedError).
SERVED_ROUTES = {
    "/v1/models",
    "/v1/models/{model_name}",
    "/v1/models/{model_name}:predict",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models",
    "/v2/models/{model_name}",
    "/v2/models/{model_name}/ready",
    "/v2/models/{model_name}/infer",
}


def create_app(bots: Sequence[ServedBot]) -> FastAPI:
    """Load every bot, then return the application that serves them; an app that exists is ready.

    Raises InputError when there is no bot, two share a name, or a checkpoint is not whole.
    """
    names = [bot.name for bot in bots]
    if not names:
        raise InputError("there is no bot to serve", "Name one that was registered, or a folder with a checkpoint.")
    if len(set(names)) < len(names):
        raise InputError(f"two bots share a name: {', '.join(sorted(names))}", "Name each bot once.")
    repository = ModelRepository()
    turns = Turns()
    for bot in bots:
        repository.update(BotModel(bot, turns))
    data_plane = BotDataPlane(repository)
    # The pages of /docs would load scripts from a foreign host.
    app = FastAPI(title="mynah", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/", data_plane.live, methods=["GET"])  # where v1 clients ask whether the server lives
    app.add_api_route("/v2/models/{model_name}/versions/{rest:path}", _no_versions, methods=["GET", "POST"])
    register_v1_endpoints(_Selected(app), data_plane, None)
    register_v2_endpoints(_Selected(app), data_plane, None)
    register_refusals(app, names)
    app.add_middleware(Gate)
    return app


class BotDataPlane(DataPlane):  # type: ignore[misc]  # kserve is untyped, so its DataPlane is Any
    """KServe's DataPlane with metadata that tells the truth about this server."""

    def metadata(self) -> dict[str, Any]:
        """Server metadata: name, version, and no extension (KServe's claims repository control)."""
        return {"name": "mynah", "version": version("mynah"), "extensions": []}

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """Model metadata with the served version. Raises ModelNotFound."""
        found: dict[str, Any] = await super().model_metadata(model_name)
        return {**found, "versions": [self.get_model_from_registry(model_name).version], "platform": "mynah_gpt2"}

    def encode(self, model_name: str, response: Any, headers: Any, req_attributes: Any) -> Any:  # noqa: ANN401 - KServe's, untyped
        """The answer and its headers; v1's as bytes, for KServe would send a dict by a class that FastAPI has deprecated."""
        if isinstance(response, dict):
            return json.dumps(response, ensure_ascii=False).encode(), {"content-type": "application/json"}
        return super().encode(model_name, response, headers, req_attributes)


class _Selected:
    """Stands in for the app while KServe registers its routers, and lets only SERVED_ROUTES through."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def include_router(self, router: APIRouter) -> None:
        router.routes[:] = [route for route in router.routes if getattr(route, "path", None) in SERVED_ROUTES]
        self._app.include_router(router)


async def _no_versions(model_name: str) -> None:
    raise Refusal(404, f"one version of a bot is served at a time; leave versions/ out: /v2/models/{model_name[:80]}")
