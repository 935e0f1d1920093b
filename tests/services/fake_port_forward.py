"""Port-forwards of the API server of Kubernetes, over WebSockets, to real servers of this machine.

What is imitated was read in k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go: two channels a port, each of which begins with the
port in two bytes; errors are words on the second channel, after which the connection ends.
"""

import base64
import contextlib
import hashlib
import socket
import struct
import threading

from websocket import ABNF
from websocket._abnf import frame_buffer

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
DATA, ERROR = b"\0", b"\1"


def serve(handler, port, address, *, pings=False):
    """Upgrade the connection of `handler`, and forward it to (HOST, PORT) until one side ends; an address of None refuses as a pod does."""
    key = base64.b64encode(hashlib.sha1(f"{handler.headers['Sec-WebSocket-Key']}{MAGIC}".encode()).digest()).decode()
    handler.send_response(101)
    for name, value in (
        ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", key),
        ("Sec-WebSocket-Protocol", handler.headers["Sec-WebSocket-Protocol"]),
    ):  # fmt: skip
        handler.send_header(name, value)
    handler.end_headers()
    handler.close_connection = True
    lock = threading.Lock()

    def send(data, kind=ABNF.OPCODE_BINARY):
        with lock, contextlib.suppress(OSError):
            handler.wfile.write(ABNF(1, 0, 0, 0, kind, 0, data).format())

    for channel in (DATA, ERROR):
        send(channel + struct.pack("<H", port))
    if address is None:
        send(ERROR + f"error forwarding port {port} to pod: connection refused".encode())
        send(b"", ABNF.OPCODE_CLOSE)
        return
    with socket.create_connection(address) as server:
        threading.Thread(target=_read, args=(server, send, pings), daemon=True).start()
        frames = frame_buffer(handler.connection.recv, True)
        with contextlib.suppress(Exception):  # the client ended without a close
            while (frame := frames.recv_frame()).opcode != ABNF.OPCODE_CLOSE:
                if frame.opcode == ABNF.OPCODE_BINARY:
                    assert frame.data[:1] == DATA, frame.data[:1]
                    server.sendall(frame.data[1:])
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _read(server, send, pings):
    with contextlib.suppress(OSError):
        while data := server.recv(40_000):
            if pings:
                send(b"are you there", ABNF.OPCODE_PING)
            send(DATA + data)
    send(b"", ABNF.OPCODE_CLOSE)
