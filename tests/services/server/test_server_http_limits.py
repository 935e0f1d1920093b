"""HTTP that is too large, too slow or none at all: it is refused, and the server goes on."""

import json
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.services.serving_process import running
from tests.services.serving_requests import V1, V2, assert_refused


@pytest.mark.parametrize("path", [V1, V2, "/nowhere"])
def test_a_body_over_a_mebibyte_is_refused_declared_or_chunked(client, path):
    large = b'{"instances": ["' + b"x" * 2**20 + b'"]}'
    chunks = (large[start : start + 2**16] for start in range(0, len(large), 2**16))
    headers = {"Content-Type": "application/json"}
    assert_refused(client.post(path, content=large, headers=headers), 413, "1,048,576")
    assert_refused(client.post(path, content=chunks, headers=headers), 413, "1,048,576")
    assert client.get("/v2/health/live").status_code == 200


def test_a_chunked_body_within_the_limit_is_read(client):
    text = json.dumps({"instances": ["I like"]}).encode()
    answer = client.post(
        V1, content=(text[i : i + 3] for i in range(0, len(text), 3)), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200


def raw(server, *parts, pause=0.0, timeout=20):
    """Send bytes as they are; what came back until the server closed, or said all it had to."""
    address = urlsplit(server.url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=timeout) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):  # it closed before it had all
            pass
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
    return received


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{number}: 1\r\n".encode() for number in range(200)],
        [b"X-Long: " + b"x" * 200_000 + b"\r\n"],
        [b"X-Endless: ", *[b"x" * 65536] * 40],
        [f"X-{number}: {'y' * 1000}\r\n".encode() for number in range(90)],
    ],
)
def test_header_floods(server, client, headers):
    said = raw(server, b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", *headers, b"\r\n")
    assert said.startswith(b"HTTP/1.1 431 ")
    assert b'"error"' in said
    assert client.get("/v2/health/live").status_code == 200


def test_a_long_path_is_refused(server, client):
    said = raw(server, b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 431 ")
    assert client.get("/v2/health/live").status_code == 200


def test_endless_trailers_of_a_chunked_body(server, client):
    head = b"POST /v1/models/wren:predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw(server, head, b"2\r\n{}\r\n0\r\nX-Endless: ", *[b"x" * 65536] * 40)  # it closes; a client that went on would block
    assert client.get("/v2/health/live").status_code == 200


def test_what_is_no_http(server, client):
    assert raw(server, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert client.get("/v2/health/live").status_code == 200
    assert "Traceback" not in server.log


def test_a_body_of_200_mb_is_refused(server, client):
    def chunks():
        for _ in range(200):
            yield b"x" * 10**6

    answer = client.post(V1, content=chunks(), headers={"Content-Type": "application/json"})
    assert_refused(answer, 413, "1,048,576")
    assert client.get("/v2/health/live").status_code == 200


def test_slow_heads_and_bodies(start):
    quick = (
        "from serving.protocols import http_limits, request_body\nrequest_body.BODY_SECONDS = http_limits.HEAD_SECONDS = 0.5\n"
    )
    with start(quick) as server:
        slow_head = raw(server, b"GET /v2/health/live HTTP/1.1\r\n", b"Host: localhost\r\n", pause=1)
        assert slow_head.startswith(b"HTTP/1.1 408 ")
        head = b"POST /v1/models/wren:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"
        slow_body = raw(server, head, b"{", pause=1)
        assert slow_body.startswith(b"HTTP/1.1 408 ")
        assert httpx.get(server.url + "/v2/health/live").status_code == 200


def test_a_reader_who_stops_reading_is_let_go(long_checkpoint, tmp_path):
    """An answer larger than the buffers, of which nothing is read: the connection ends, and with it the request."""
    quick = "from serving.protocols import http_limits\nhttp_limits.READER_SECONDS = 0.5\n"
    body = json.dumps(
        {"model": "crane", "prompt": "I", "n": 100, "stream": True, "logprobs": 5, "min_tokens": 250, "max_tokens": 250}
    )
    head = f"POST /openai/v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with running([("crane", "1", str(long_checkpoint))], tmp_path, quick) as server:
        address = urlsplit(server.url)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((address.hostname, address.port))
            connection.sendall((head + body).encode())
            deadline = time.monotonic() + 60
            while '"cut": true' not in server.log:
                assert time.monotonic() < deadline, server.log
                time.sleep(0.05)
        server.wait_until_idle()
        assert "Exception" not in server.log


@pytest.mark.parametrize("parts", [1, 3])
def test_an_offer_of_another_protocol_is_declined_and_its_body_read(server, parts):
    """As Java's client and `curl --http2` send every first request, bodies and all."""
    body = json.dumps({"instances": ["I"], "parameters": {"seed": 1, "max_tokens": 3}}).encode()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    head = b"POST /v1/models/wren:predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + offer
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    step = -(-len(whole) // parts)
    said = raw(server, *(whole[start : start + step] for start in range(0, len(whole), step)), pause=0.1)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b'"predictions"' in said


def test_many_slow_bodies_block_nobody(server, client):
    address = urlsplit(server.url)
    head = b"POST /v1/models/wren:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    held = [socket.create_connection((address.hostname, address.port)) for _ in range(100)]
    try:
        for connection in held:
            connection.sendall(head)
        assert client.get("/v2/health/ready").status_code == 200
        assert client.post(V1, json={"instances": ["I"], "parameters": {"max_tokens": 3}}).status_code == 200
    finally:
        for connection in held:
            connection.close()
