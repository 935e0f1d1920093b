"""The server application: builds, starts and stops the server's parts in order."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from mynah.decoding.kernels import chosen, describe, record
from serving.auth.key_file import Keys
from serving.auth.middleware import AuthMiddleware, is_loopback, warn_if_open
from serving.config import Settings
from serving.engine.engine import Engine
from serving.models.repository import Repository
from serving.observability.logs import Log
from serving.observability.metrics import Metrics
from serving.observability.middleware import ObservabilityMiddleware
from serving.observability.traces import traces_from_environment
from serving.playground import create_page
from serving.protocols.app import create_app
from serving.protocols.http_limits import BoundedProtocol
from serving.protocols.kserve_models import BotDataPlane
from serving.service import Service
from serving.sockets import address_errors

if TYPE_CHECKING:
    from grpc import aio  # type: ignore[import-untyped] # has no types

    from serving.models.sources import ModelSource

MAX_NAMES_SHOWN = 5  # bots named in the startup line


class ServerApp:
    """Engine, repository, HTTP application, authentication and observability of one server. Call `start` on its event loop."""

    protocol = BoundedProtocol
    app: ASGIApp

    def __init__(self, source: "ModelSource", settings: Settings) -> None:
        """Raise InputError for an invalid key file or invalid trace settings."""
        self._settings = settings
        self._keys = Keys(settings.keys_file) if settings.keys_file else None
        self._traces = traces_from_environment()
        self._log = Log(prompts=settings.log_prompts)
        self.metrics = Metrics(lambda name: self.repository.knows(name))
        self.engine = Engine(
            max_waiting=settings.most_waiting,
            observer=self.metrics,
            cache=settings.cache,
            allow_verbatim=settings.allow_verbatim,
        )
        self.repository = Repository(
            source, settings.memory, settings.poll, settings.split, settings.shadow, observer=self.metrics
        )
        self.metrics.register_gauges(
            waiting=lambda: self.engine.waiting,
            running=lambda: self.engine.running,
            bots_loaded=lambda: self.repository.loaded,
            memory_use=self.repository.memory_use,
        )
        self._kernels = chosen()
        self.metrics.set_kernels(record(self._kernels))
        self.service = Service(self.engine, self.repository)
        self._stop_metrics: Callable[[], None] = lambda: None
        self._grpc: aio.Server | None = None
        self._grpc_port = 0

    async def start(self) -> None:
        """Load the bots that are preloaded, and build the application meanwhile. Raises InputError and PlatformError."""
        loading = asyncio.create_task(self.repository.start())
        try:
            app = await asyncio.to_thread(self._create_app)
        finally:
            await loading
        try:
            await self._open(app)
        except BaseException:
            await self.close()
            raise

    async def _open(self, app: ASGIApp) -> None:
        logging.getLogger("mynah").info("kernels: %s", describe(self._kernels))
        self.engine.start()
        auth = AuthMiddleware(app, self._keys, local=is_loopback(self._settings.host))
        observability = ObservabilityMiddleware(auth, self.metrics, self._log, self._traces)
        self.app = observability
        warn_if_open(self._settings.host, self._keys)
        if self._settings.metrics_port is not None:
            with address_errors(self._settings.host, self._settings.metrics_port, "--metrics-port"):
                self._stop_metrics = self.metrics.listen(self._settings.host, self._settings.metrics_port)
        if self._settings.grpc_port is not None:
            await self._start_grpc(auth, observability, self._settings.grpc_port)

    def _create_app(self) -> ASGIApp:
        return create_app(self.service, self._settings, self.metrics, create_page(self.repository))

    async def _start_grpc(self, auth: AuthMiddleware, observability: ObservabilityMiddleware, port: int) -> None:
        from serving.protocols.grpc import Servicer, start_grpc

        servicer = Servicer(BotDataPlane(self.service), auth, observability, self._settings.deadline)
        self._grpc, self._grpc_port = await start_grpc(servicer, self._settings.host, port, self._settings.max_body)

    async def close(self) -> None:
        """Stop everything; requests that still run are cancelled."""
        self._stop_metrics()
        if self._grpc:
            await self._grpc.stop(grace=1)
        await self.service.close()
        await self.repository.close()
        if self._traces:
            await asyncio.to_thread(self._traces.close)
        self._log.close()

    def describe_bots(self) -> str:
        """Return the bots for the startup line: up to MAX_NAMES_SHOWN with their versions, or their number."""
        names = self.repository.names()
        if not names or len(names) > MAX_NAMES_SHOWN:
            return f"{len(names):,} bots"
        bots = (self.repository.describe(name) for name in names)
        return ", ".join(f"{bot.name} (version {bot.champion})" if bot.champion else bot.name for bot in bots)

    def describe_grpc(self) -> str:
        """Return gRPC's port for the startup line, or ""."""
        return f" and gRPC on port {self._grpc_port}" if self._grpc else ""
