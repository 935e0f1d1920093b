"""Serving on a socket of our own, from the first check of the port to the last answer."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from components.errors import PlatformError
from components.events import waiting

if TYPE_CHECKING:
    from serving.repository.sources import Source
    from serving.settings import Settings

FLUSHING = 5  # seconds for what was answered to reach its readers, once the grace is over
KEEP_ALIVE = 65  # seconds between requests of one connection; over the 60 of most load balancers
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(source: "Source", settings: "Settings") -> None:
    """Serve the bots of `source` until SIGINT or SIGTERM; then refuse what is new, finish what runs within the grace, and return.

    Port 0 takes a free one, and the line on stderr that says the server is ready names it.
    Raises PlatformError when an address can't be had, and InputError when a bot can't be served.
    """
    # The socket comes before anything is loaded: that takes seconds, this doesn't.
    with listening_socket(settings.host, settings.port) as listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(source, settings, listener))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # half of asyncio's time for a token that is streamed
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


async def _serve(source: "Source", settings: "Settings", listener: socket.socket) -> None:
    with waiting("Loading the bots"):
        from serving.assembly import Assembly

        assembly = Assembly(source, settings)
        await assembly.start()
    try:
        config = uvicorn.Config(
            assembly.app,
            http=assembly.protocol,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=FLUSHING,
        )
        ready = f"Serving {assembly.shown()} on {url_of(listener)}{assembly.grpc_shown()} (Ctrl-C stops)"
        server = _Server(config, ready, lambda: assembly.service.drain(settings.grace))
        with address_errors(settings.host, settings.port):  # another may have begun to listen since we bound
            await server.serve(sockets=[listener])
    finally:
        await assembly.close()


def listening_socket(host: str, port: int) -> socket.socket:
    """A TCP socket bound to `host` and `port` that doesn't listen yet, so that nobody connects before the bots are loaded.

    Raises PlatformError with the fix when the address can't be had.
    """
    if not 0 <= port <= 65535:
        raise PlatformError(f"{port} is no port: they go from 0 (any free one) to 65535", "Name another with --port.")
    with address_errors(host, port):
        # IPv4 first: containers often resolve localhost to ::1 and have no IPv6.
        found = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it would let two servers share the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    return listener


@contextlib.contextmanager
def address_errors(host: str, port: int, option: str = "--port") -> Iterator[None]:
    """Turn the operating system's refusals of an address into a PlatformError that names it and the fix."""
    try:
        yield
    except (socket.gaierror, UnicodeError) as error:
        raise PlatformError(f"the host {host[:80]!r} is unknown here", "Name another with --host.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PlatformError(
                f"port {port} on {host} is in use", f"Name another with {option}, or 0 for any free one."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PlatformError(f"port {port} on {host} needs privileges", f"Name another from 1024 up with {option}.") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise PlatformError(f"{host} is no address of this machine", "Name another with --host.") from error
        raise


def url_of(listener: socket.socket) -> str:
    """The URL of a bound socket, such as http://127.0.0.1:8080."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn, which says when it is ready; at a signal it goes on serving while it drains, and then returns."""

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
        """At the first signal begin to drain; at the second end at once."""
        self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        if self._draining:
            self.force_exit = self.should_exit = True
        else:
            self._draining = self._loop.create_task(self._drained())

    async def _drained(self) -> None:
        try:
            await self._drain()
        finally:
            self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again when it is done, which would kill the process after a clean end.
        if threading.current_thread() is not threading.main_thread():  # Python sets handlers in the main thread only
            yield
            return
        handlers = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
