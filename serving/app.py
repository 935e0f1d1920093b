"""A server's parts, put together, started and stopped in their order."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from serving.doors import Doors, is_loopback, warn_if_open
from serving.doors.keys import Keys
from serving.engine import Engine
from serving.protocols.wire import BoundedProtocol
from serving.repository import Repository
from serving.server import address_errors
from serving.service import Service
from serving.settings import Settings
from serving.signals import Signals
from serving.signals.logs import Log
from serving.signals.metrics import Metrics
from serving.signals.traces import traces_from_environment

if TYPE_CHECKING:
    from grpc import aio  # type: ignore[import-untyped]

    from serving.repository.sources import Source

MOST_SHOWN = 5  # bots by name in the line that says the server is ready


class Assembly:
    """Engine, repository, application, doors and signals of one server. `start` belongs to its event loop."""

    protocol = BoundedProtocol
    app: ASGIApp

    def __init__(self, source: "Source", settings: Settings) -> None:
        """Raises InputError for a key file or traces that make no sense."""
        self._settings = settings
        self._keys = Keys(settings.keys_file) if settings.keys_file else None
        self._traces = traces_from_environment()
        self._log = Log(prompts=settings.log_prompts)
        self.metrics = Metrics(lambda name: self.repository.knows(name))
        self.engine = Engine(
            most_waiting=settings.most_waiting,
            observer=self.metrics,
            cache=settings.cache,
            allow_verbatim=settings.allow_verbatim,
        )
        self.repository = Repository(
            source, settings.memory, settings.poll, settings.split, settings.shadow, observer=self.metrics
        )
        self.metrics.watch(
            waiting=lambda: self.engine.waiting,
            running=lambda: self.engine.running,
            bots_loaded=lambda: self.repository.loaded,
            models_bytes=lambda: self.repository.nbytes,
        )
        self.service = Service(self.engine, self.repository)
        self._stop_metrics: Callable[[], None] = lambda: None
        self._grpc: aio.Server | None = None
        self._grpc_port = 0

    async def start(self) -> None:
        """Load what is to be there from the start, and build the application meanwhile. Raises InputError and PlatformError."""
        loading = asyncio.create_task(self.repository.start())
        try:
            app = await asyncio.to_thread(self._build)
        finally:
            await loading
        try:
            await self._open(app)
        except BaseException:
            await self.close()
            raise

    async def _open(self, app: ASGIApp) -> None:
        self.engine.start()
        doors = Doors(app, self._keys, local=is_loopback(self._settings.host))
        signals = Signals(doors, self.metrics, self._log, self._traces)
        self.app = signals
        warn_if_open(self._settings.host, self._keys)
        if self._settings.metrics_port is not None:
            with address_errors(self._settings.host, self._settings.metrics_port, "--metrics-port"):
                self._stop_metrics = self.metrics.listen(self._settings.host, self._settings.metrics_port)
        if self._settings.grpc_port is not None:
            await self._start_grpc(doors, signals, self._settings.grpc_port)

    def _build(self) -> ASGIApp:
        from serving.playground import create_page
        from serving.protocols import create_app

        return create_app(self.service, self._settings, self.metrics, create_page(self.repository))

    async def _start_grpc(self, doors: Doors, signals: Signals, port: int) -> None:
        from serving.protocols.grpc import Servicer, start_grpc
        from serving.protocols.kserve_models import BotDataPlane

        servicer = Servicer(BotDataPlane(self.service), doors, signals, self._settings.deadline)
        self._grpc, self._grpc_port = await start_grpc(servicer, self._settings.host, port, self._settings.max_body)

    async def close(self) -> None:
        """Stop everything, at once where it was not drained before."""
        self._stop_metrics()
        if self._grpc:
            await self._grpc.stop(grace=1)
        await self.service.close()
        await self.repository.close()
        if self._traces:
            await asyncio.to_thread(self._traces.close)
        self._log.close()

    def shown(self) -> str:
        """What is served, for the line that says so: a few bots with their versions, or how many there are."""
        names = self.repository.names()
        if not names or len(names) > MOST_SHOWN:
            return f"{len(names):,} bots"
        described = (self.repository.describe(name) for name in names)
        return ", ".join(f"{bot.name} (version {bot.champion})" if bot.champion else bot.name for bot in described)

    def grpc_shown(self) -> str:
        """Where gRPC is, if it is."""
        return f" and gRPC on port {self._grpc_port}" if self._grpc else ""
