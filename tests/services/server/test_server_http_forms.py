"""The forms of HTTP that clients and proxies use: HEAD, HTTP/1.0, slashes at the end, compressed bodies, nested tensors."""

import gzip
import json
import socket

import httpx
import pytest

from tests.services.serving_requests import V1, V2, assert_refused, v2_body

GET_ROUTES = (
    "/", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/wren", "/v2/models/wren/ready",
    "/v2/models/wren/versions/3", "/v2/models/wren/versions/3/ready", "/v1/models", "/v1/models/wren", "/openai/v1/models",
    "/openai/v1/models/wren", "/openapi.json", "/page/app.js", "/page/bots.json",
)  # fmt: skip


def test_head_answers_as_get_without_a_body(client):
    document = client.get("/openapi.json").json()
    documented = [path for path, methods in document["paths"].items() if "get" in methods]
    names = {"model_name": "wren", "model_id": "wren", "model_version": "3"}
    for path in dict.fromkeys([*GET_ROUTES, *(path.format(**names) for path in documented)]):
        got, asked = client.get(path), client.head(path)
        assert (asked.status_code, asked.content) == (200, b""), path
        assert asked.headers["content-type"] == got.headers["content-type"]
        assert asked.headers["content-length"] == got.headers["content-length"]
    assert (client.head("/metrics").status_code, client.head("/nowhere").status_code) == (200, 404)
    refused = client.head(V2)
    assert (refused.status_code, refused.content, refused.headers["allow"]) == (405, b"", "POST")
    assert client.put("/v2/models").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/v1/models/", "/openai/v1/models/?limit=1", "/v2/models/wren/", "/v2/health/live/"])
def test_a_slash_at_the_end_leads_to_an_address_without_scheme_and_host(client, path):
    """Behind a proxy that speaks TLS, http://… would be the wrong one."""
    moved = client.get(path, headers={"X-Forwarded-Proto": "https", "Host": "localhost"})
    assert (moved.status_code, moved.headers["location"][:3]) == (307, "../")
    reached = httpx.URL(f"https://bots.example/prefix{path}").join(moved.headers["location"])
    assert str(reached) == f"https://bots.example/prefix{path.replace('/?', '?').removesuffix('/')}"
    assert client.get(path, follow_redirects=True).status_code == 200


@pytest.mark.parametrize("path", ["/nowhere/", "//evil.example/", "/v1/models//", "//"])
def test_other_slashes_lead_nowhere(server, path):
    assert raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[0].startswith("HTTP/1.1 404")


def raw(server, request):
    """What the server sends until it closes the connection: the head and the body."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall(request.encode())
        said = b""
        while part := connection.recv(65536):
            said += part
    head, _, body = said.decode().partition("\r\n\r\n")
    return head, body


def post(path, body, version="1.0", headers=""):
    text = json.dumps(body)
    head = f"POST {path} HTTP/{version}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n{headers}\r\n"
    return head + text


def test_http_1_0_gets_no_chunks(server):
    """It has no Host and no chunked encoding: a stream ends with its connection."""
    head, body = raw(server, "GET /v2/health/live HTTP/1.0\r\n\r\n")
    assert ("200 OK" in head, body) == (True, '{"live":true}')
    chat = {"model": "wren", "messages": [{"role": "user", "content": "I"}], "stream": True, "max_tokens": 12, "seed": 1}
    head, body = raw(server, post("/v1/chat/completions", chat, headers="Expect: 100-continue\r\nConnection: keep-alive\r\n"))
    assert head.startswith("HTTP/1.1 200")
    assert ("transfer-encoding" in head.lower(), "connection: close" in head.lower()) == (False, True)
    events = [event.removeprefix("data: ") for event in body.split("\n\n")]
    assert events[-2:] == ["[DONE]", ""]
    assert all(json.loads(event)["object"] == "chat.completion.chunk" for event in events[:-2])
    whole = httpx.post(f"{server.url}/v1/chat/completions", json=chat | {"stream": False}).json()
    written = "".join(json.loads(event)["choices"][0]["delta"].get("content", "") for event in events[:-2])
    assert written == whole["choices"][0]["message"]["content"]
    assert "transfer-encoding: chunked" in raw(server, post("/v1/chat/completions", chat, "1.1", CLOSE))[0].lower()
    assert raw(server, "HEAD /v2/models HTTP/1.0\r\n\r\n")[1] == ""


CLOSE = "Host: localhost\r\nConnection: close\r\n"


def test_a_host_is_still_asked_for(server):
    """A web page cannot leave it out, nor name this machine (DNS rebinding)."""
    assert "403" in raw(server, "GET /v2/models HTTP/1.1\r\nConnection: close\r\n\r\n")[0]
    assert "403" in raw(server, "GET /v2/models HTTP/1.0\r\nHost: evil.example\r\n\r\n")[0]


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "zstd", "gzip, gzip", "x"])
def test_compressed_bodies_are_refused_by_their_coding(client, coding):
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    for path, body in ((V1, {"instances": ["I"]}), (V2, v2_body("I"))):
        assert_refused(client.post(path, content=gzip.compress(json.dumps(body).encode()), headers=headers), 415, coding.lower())
    refused = client.post("/v1/completions", content=gzip.compress(b"{}"), headers=headers)
    assert (refused.status_code, refused.json()["error"]["type"]) == (415, "invalid_request_error")
    assert client.post(V1, json={"instances": ["I"]}, headers={"Content-Encoding": "identity"}).status_code == 200


def tensor(shape, data, **parameters):
    return {"inputs": [{"name": "prompt", "datatype": "BYTES", "shape": shape, "data": data}], "parameters": parameters}


def test_nested_tensors_are_the_same_as_flat_ones(client):
    flat = client.post(V2, json=v2_body("a", "b", seed=1, max_tokens=5)).json()["outputs"]
    for data in ([["a"], ["b"]], ["a", "b"]):
        assert client.post(V2, json=tensor([2, 1], data, seed=1, max_tokens=5)).json()["outputs"] == flat


@pytest.mark.parametrize(
    ("shape", "data", "words"),
    [
        ([2, 1], [["a"], "b"], ["data[1]"]),
        ([2, 1], [["a", "b"]], ["data[0]"]),
        ([2, 1], [["a"], []], ["data[1]"]),
        ([1, 1], [[["a"]]], ["data[0] is not a string"]),
        ([2, 1], [["a"], [5]], ["data[1] is not a string"]),
        ([3, 1], [["a"], ["b"]], ["2 elements"]),
        ([2], [["a"], ["b"]], ["data[0] is not a string"]),
        ([1, 2], [["a", "b"]], ["data[0]"]),
        ([1, 2, 1], [[["a"], ["b"]]], ["data[0] is not a string"]),
        ([2, 1], [], ["1 to 64", "0"]),
    ],
)
def test_nested_tensors_of_another_form(client, shape, data, words):
    body = tensor(shape, data)
    refused = client.post(V2, json=body)
    assert refused.status_code == 400
    assert any(word in refused.json()["error"] for word in [*words, "shape must be"]), refused.text


def test_unknown_parameters_of_an_output_are_refused_by_name(client):
    body = v2_body("I") | {"outputs": [{"name": "text", "parameters": {"classification": 3}}]}
    assert_refused(client.post(V2, json=body), 400, "classification")
    body["outputs"][0]["parameters"] = {"binary_data": False}
    assert client.post(V2, json=body).status_code == 200
