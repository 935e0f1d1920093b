"""Runs the HTTP server on its own socket, from binding the port to the last response."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from mynah.core.progress import waiting
from serving.compat import Server
from serving.sockets import address_errors, listening_socket, url_of

if TYPE_CHECKING:
    from serving.config import Settings
    from serving.models.sources import ModelSource

FLUSH_SECONDS = 5  # seconds for responses to reach their clients after the grace period
KEEP_ALIVE_SECONDS = 65  # seconds that an idle connection stays open; longer than the 60 of most load balancers


def serve(source: "ModelSource", settings: "Settings") -> None:
    """Serve the bots of `source` until SIGINT or SIGTERM.

    At the signal the server rejects new requests and finishes running ones within the grace period.

    Args:
        source: where the models come from.
        settings: the server's settings. Port 0 takes a free one, which the startup line on stderr names.

    Raises:
        PlatformError: an address cannot be bound.
        InputError: a bot cannot be served.
    """
    # Bind before loading anything: loading takes seconds, and an address in use is reported at once.
    with listening_socket(settings.host, settings.port) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(source, settings, listener))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # a streamed token takes half of asyncio's time
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


async def _serve(source: "ModelSource", settings: "Settings", listener: socket.socket) -> None:
    with waiting("Loading the bots"):
        from serving.app import ServerApp

        server_app = ServerApp(source, settings)
        await server_app.start()
    try:
        config = uvicorn.Config(
            server_app.app,
            http=server_app.protocol,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=FLUSH_SECONDS,
        )
        ready = f"Serving {server_app.describe_bots()} on {url_of(listener)}{server_app.describe_grpc()} (Ctrl-C stops)"
        server = _Server(config, ready, lambda: server_app.service.drain(settings.grace))
        with address_errors(settings.host, settings.port):  # another process may have started listening since the bind
            await server.serve(sockets=[listener])
    finally:
        await server_app.close()


class _Server(Server):
    """uvicorn's server, which prints a line when it is ready and drains running requests at a signal."""

    def __init__(self, config: uvicorn.Config, ready: str, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._ready = ready
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        print(self._ready, file=sys.stderr, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start draining at the first signal; exit at once at the second."""
        self._loop.call_soon_threadsafe(self._start_draining)

    def _start_draining(self) -> None:
        if self._draining:
            self.force_exit = self.should_exit = True
        else:
            self._draining = self._loop.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        try:
            await self._drain()
        finally:
            self.should_exit = True
