"""Reach a port of a pod from this machine through the API server, as `kubectl port-forward` does.

Every connection is a WebSocket of its own. A message begins with the number of its channel: 0 has the data, 1 the error. The first message
of each channel has the port, in two bytes.
https://github.com/kubernetes/kubernetes/blob/v1.34.1/staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go

`kubernetes.stream.portforward` does the same, but leaves its caller waiting for ever when the connection to the API server breaks.
"""

import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mynah.core.errors import PlatformError
from mynah.core.progress import notify, strip_control_chars

if TYPE_CHECKING:
    from mynah.kubernetes.cluster import Cluster

RULE = '{apiGroups: [""], resources: [pods/portforward], verbs: [get, create]}'  # get for a WebSocket; from 1.35 on create too
DATA, ERROR = 0, 1  # channels
CHUNK = 65536  # bytes


@dataclass(frozen=True, slots=True)
class PodPort:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int

    @property
    def path(self) -> str:
        """The API path of the port-forward."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/portforward"


@contextlib.contextmanager
def forwarded(cluster: "Cluster", target: PodPort) -> Iterator[int]:
    """Forward a port of 127.0.0.1 to a port of a pod while a block runs.

    Args:
        cluster: The cluster.
        target: The pod's port.

    Yields:
        The local port, a free one.

    Raises:
        PlatformError: The cluster cannot be reached, has no such pod, or denies it.
    """
    with _connected(cluster, target):
        pass  # an error is told here, not to the first client
    with _Forwarder(cluster, target) as forwarder:
        thread = threading.Thread(target=forwarder.serve_forever, args=(0.05,), daemon=True, name="port-forward")
        thread.start()
        try:
            yield int(forwarder.server_address[1])
        finally:
            forwarder.shutdown()
            thread.join()


class _Forwarder(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, cluster: "Cluster", target: PodPort) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.cluster, self.target = cluster, target


class _Connection(socketserver.BaseRequestHandler):
    server: _Forwarder

    def handle(self) -> None:
        from websocket import WebSocketException

        try:
            with _connected(self.server.cluster, self.server.target) as remote:
                _relay(self.request, remote)
        except PlatformError as error:
            notify(error.problem, "warning")
        except (WebSocketException, OSError) as error:  # the client then sees its connection end
            notify(f"the connection to pod {self.server.target.pod} broke: {' '.join(str(error).split())[:200]}", "warning")


@contextlib.contextmanager
def _connected(cluster: "Cluster", target: PodPort) -> Iterator[Any]:
    """Yield a WebSocket (websocket-client has no complete types), and close it."""
    remote = cluster.web_socket(target.path, (("ports", str(target.port)),), RULE)
    try:
        yield remote
    finally:
        remote.close()
        remote.shutdown()  # after a close of the other side, `close` leaves the socket open


def _relay(local: socket.socket, remote: Any) -> None:  # noqa: ANN401 - see above
    """Pass bytes on until one side ends. One thread: a TLS connection is not safe to read and write at the same time.

    Raises OSError or WebSocketException when a connection breaks, and OSError with the pod's words when nothing listens there.
    """
    from websocket import ABNF

    begun: set[int] = set()
    while True:
        is_waiting = bool(getattr(remote.sock, "pending", int)())  # decrypted already, which select does not see
        ready = [remote.sock] if is_waiting else select.select([local, remote.sock], [], [])[0]
        if remote.sock in ready:
            kind, message = remote.recv_data(control_frame=True)
            if kind == ABNF.OPCODE_CLOSE:
                return
            if kind != ABNF.OPCODE_BINARY or not message:
                continue  # a ping is answered already
            channel, data = message[0], message[1:]
            if channel not in begun:
                begun.add(channel)
            elif channel == DATA:
                local.sendall(data)
            elif channel == ERROR:
                raise OSError(strip_control_chars(data.decode("utf-8", "replace")))
        if local in ready:
            data = local.recv(CHUNK)
            if not data:
                return
            remote.send_binary(bytes([DATA]) + data)
