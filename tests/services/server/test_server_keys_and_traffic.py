"""Who may ask, and which version answers: API keys, split and shadow traffic."""

import time

import httpx

from serving.auth.api_keys import Limits
from tests.services.serving_process import running
from tests.services.serving_requests import V1, V2, assert_refused, v2_body


def test_keys_open_every_protocol_and_only_their_own_bots(keys, tiny_checkpoint, tmp_path):
    path, add = keys
    wren, admin = add("ann", ["wren"]), add("root", ["*"], admin=True)
    bots = [("wren", "3", str(tiny_checkpoint)), ("heron", "1", str(tiny_checkpoint))]
    with running(bots, tmp_path, keys_file=path) as server, httpx.Client(base_url=server.url) as client:
        completion = {"model": "wren", "prompt": "I", "max_tokens": 2}
        requests = [(V1, {"instances": ["I"]}), (V2, v2_body("I", max_tokens=2)), ("/openai/v1/completions", completion)]
        for where, body in requests:
            assert client.post(where, json=body).status_code == 401
            assert client.post(where, json=body, headers={"Authorization": "Bearer nonsense"}).status_code == 401
            assert client.post(where, json=body, headers=wren).status_code == 200
        assert client.get("/v2/models/heron/ready").status_code == 200  # probes have no key
        assert_refused(client.post("/v1/models/heron:predict", json={"instances": ["I"]}, headers=wren), 403, "heron")
        assert_refused(client.post("/v1/models/hero:predict", json={"instances": ["I"]}, headers=wren), 403, "hero")
        assert (
            client.post("/openai/v1/completions", json=completion | {"model": "heron"}, headers=wren).json()["error"]["type"]
            == "permission_error"
        )
        for where, names in (("/v1/models", "models"), ("/v2/models", "models")):
            assert client.get(where, headers=wren).json()[names] == ["wren"]
        assert [model["id"] for model in client.get("/openai/v1/models", headers=wren).json()["data"]] == ["wren"]
        assert client.post("/v2/repository/models/wren/unload", headers=wren).status_code == 403
        assert client.post("/v2/repository/models/wren/unload", headers=admin).json() == {"name": "wren", "unload": True}
        assert_refused(client.get("/v2/models/wren/ready"), 503, "the first request loads it")
        assert client.post("/v2/repository/models/wren/load", headers=admin).json() == {"name": "wren", "load": True}
        assert client.get("/v2/models/wren/ready").status_code == 200
        assert client.post("/v2/repository/models/wrem/load", headers=admin).status_code == 404
        assert client.post("/v2/repository/hint", headers=admin).json() == {"hint": True}


def test_tokens_are_charged(keys, tiny_checkpoint, tmp_path):
    path, add = keys
    headers = add("ann", ["*"], limits=Limits(tokens_per_minute=10))
    with running([("wren", "3", str(tiny_checkpoint))], tmp_path, keys_file=path) as server:
        for body in ({"instances": ["I"], "parameters": {"min_tokens": 20, "max_tokens": 20}}, {"instances": ["I"]}):
            answer = httpx.post(server.url + V1, json=body, headers=headers)
    assert_refused(answer, 429, "10 tokens per minute")
    assert int(answer.headers["Retry-After"]) > 0


# A bot with a challenger, whose files are the champion's.
RIVALS = """
from serving.models.sources import LocalVersion
FolderSource.aliases = lambda self: {"wren": {"champion": "3", "challenger": "4"}}
FolderSource.versions = lambda self, name: ["4", "3"]
FolderSource.fetch = lambda self, name, version: LocalVersion(self._bots[name].folder, passed=True)
"""


def test_split_traffic_keeps_a_session_with_its_version(start):
    def version(**more):
        answer = httpx.post(server.url + V1, json={"instances": ["I"], "parameters": {"max_tokens": 1}}, **more)
        return answer.headers["X-Mynah-Version"]

    with start(RIVALS, split=0.5) as server:
        assert {version() for _ in range(40)} == {"wren:3", "wren:4"}
        for session in ("a", "b", "c"):
            assert len({version(headers={"X-Mynah-Session": session}) for _ in range(8)}) == 1
        body = {"model": "wren", "prompt": "I", "max_tokens": 1, "user": "ann"}
        assert len({httpx.post(f"{server.url}/openai/v1/completions", json=body).json()["model"] for _ in range(8)}) == 1
        assert (
            httpx.post(f"{server.url}/openai/v1/completions", json=body | {"model": "wren@challenger"}).json()["model"]
            == "wren:4"
        )
        assert httpx.get(f"{server.url}/v2/models/wren").json()["versions"] == ["3", "4"]


def test_shadow_traffic_reaches_the_challenger_and_nobody_waits_for_it(start):
    with start(RIVALS, shadow=1.0) as server:
        assert server.metric("mynah_bots_loaded") == 1
        answer = httpx.post(server.url + V1, json={"instances": ["I"], "parameters": {"max_tokens": 1}})
        assert answer.headers["X-Mynah-Version"] == "wren:3"
        deadline = time.monotonic() + 20
        while server.metric("mynah_bots_loaded") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.stop() == "returned\n"
