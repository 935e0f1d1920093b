"""A policy engine as a new pod meets it: a proxy whose first connections are refused or cut, and which then lets all through."""

import contextlib
import socket
import struct
import threading
import time

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends an RST


class PolicyEngine:
    """A port in front of a server on this machine.

    Args:
        target: The server's port.
        seconds: For how long it lets nothing through, counted from `start`, or from the first connection where it cuts.
        cuts: Whether connections are taken and cut, as behind `kubectl port-forward` and a sidecar; else nothing listens.
    """

    def __init__(self, target: int, seconds: float, *, cuts: bool) -> None:
        self.target, self.seconds, self.cuts = target, seconds, cuts
        self.refused = 0
        self._opens: float | None = None
        self._ended = threading.Event()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "PolicyEngine":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._socket.close()

    def _serve(self) -> None:
        if not self.cuts and self._ended.wait(self.seconds):
            return
        with contextlib.suppress(OSError):
            self._socket.listen(64)
            while not self._ended.is_set():
                client, _ = self._socket.accept()
                if self.cuts and self._is_closed():
                    self.refused += 1
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    client.close()
                    continue
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()

    def _is_closed(self) -> bool:
        self._opens = self._opens or time.monotonic() + self.seconds
        return time.monotonic() < self._opens


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)
