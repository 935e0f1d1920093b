"""Serving on a socket of our own, from the first check of the port to the last answer."""

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import uvicorn

from components.errors import PlatformError
from components.events import waiting

if TYPE_CHECKING:
    from serving.models import ServedBot

GRACEFUL_SECONDS = 10  # Kubernetes kills 30 seconds after it asks
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(bots: "Sequence[ServedBot]", host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve `bots` until SIGINT or SIGTERM; then finish what runs, for 10 seconds at most, and return.

    Port 0 takes a free one, and the line on stderr that says the server is ready names it.
    Raises PlatformError when the address can't be had, and InputError when a bot can't be served.
    """
    with listening_socket(host, port) as listener:  # before the models are loaded: they take seconds, this doesn't
        with waiting("Loading the bots"):
            from serving.protocol import create_app

            app = create_app(bots)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
        names = ", ".join(f"{bot.name} (version {bot.version})" for bot in bots)
        _Server(config, f"Serving {names} on {url_of(listener)} (Ctrl-C stops)").run(sockets=[listener])


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
def address_errors(host: str, port: int) -> Iterator[None]:
    """Turn the operating system's refusals of an address into a PlatformError that names it and the fix."""
    try:
        yield
    except (socket.gaierror, UnicodeError) as error:
        raise PlatformError(f"the host {host[:80]!r} is unknown here", "Name another with --host.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PlatformError(f"port {port} on {host} is in use", "Name another with --port, or 0 for any free one.") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PlatformError(f"port {port} on {host} needs privileges", "Name another from 1024 up with --port.") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise PlatformError(f"{host} is no address of this machine", "Name another with --host.") from error
        raise


def url_of(listener: socket.socket) -> str:
    """The URL of a bound socket, such as http://127.0.0.1:8080."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn, which says when it is ready, and returns when a signal ends it."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        with address_errors(self.config.host, self.config.port):  # another may have begun to listen since we bound
            await super().startup(sockets)
        print(self._ready, file=sys.stderr, flush=True)

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
