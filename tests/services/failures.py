"""How servers and networks fail: what an HttpFake takes from its script of failures."""

import contextlib
import socket
import struct
import time

from tests.http_fake import Answer


def reset(handler):
    """The connection is reset, as by a firewall."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def truncated(handler):
    """A good answer, of which the last bytes never come."""
    handler.send(handler.fake.answer_to(handler.fake.requests[-1])._replace(cut=40))


def dripping(handler):
    """A body that never ends, a byte at a time."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        while not handler.fake.ended.is_set():
            handler.wfile.write(b" ")
            time.sleep(0.02)


def flooding(handler):
    """A body that never ends, as fast as it can."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        while not handler.fake.ended.is_set():
            handler.wfile.write(b" " * (1 << 20))


def silent(handler):
    """No answer at all."""
    handler.fake.ended.wait(20)
    handler.close_connection = True


LOGIN_PAGE = Answer(200, b"<!DOCTYPE html><html><body>We will be back soon</body></html>", {"Content-Type": "text/html"})
