"""Listening sockets, with errors that name the address and the fix."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator

from mynah.core.errors import PlatformError


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound TCP socket that does not listen yet, so that no client connects before the bots are loaded.

    Args:
        host: the address or host name.
        port: the port; 0 picks a free one.

    Raises:
        PlatformError: the address cannot be bound; the message names the fix.
    """
    if not 0 <= port <= 65535:
        raise PlatformError(f"{port} is no port: they go from 0 (any free one) to 65535", "Name another with --port.")
    with address_errors(host, port):
        # IPv4 first: containers often resolve localhost to ::1 and have no IPv6.
        addresses = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
        family, kind, protocol, _, address = addresses[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # on Windows it would let two servers share the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    return listener


@contextlib.contextmanager
def address_errors(host: str, port: int, option: str = "--port") -> Iterator[None]:
    """Turn the operating system's errors about an address into a PlatformError with the fix.

    Args:
        host: the address.
        port: the port.
        option: the command-line option that sets the port, named in the fix.
    """
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
    """Return the URL of a bound socket, such as http://127.0.0.1:8080."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
