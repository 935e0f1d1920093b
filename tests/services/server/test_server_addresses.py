"""One meaning of an address: what answers requests has metadata, readiness and a card, in every protocol; what does not has none."""

import grpc
import httpx
import pytest

from serving.auth.api_keys import Limits
from serving.protocols.grpc_schema import SERVICE, message
from tests.services.serving_process import running
from tests.services.serving_requests import v2_body

# The bot wren with several versions and aliases, and one without a champion; the files are the same.
MANY = """
from serving.models.sources import LocalVersion
LONG = "a" * 255
FolderSource.aliases = lambda self: {
    "wren": {"champion": "3", "canary": "4", "pr\\u00fcfung_9": "4", LONG: "4", "7": "4"}, "heron": {"challenger": "1"}
}
FolderSource.versions = lambda self, name: ["5", "4", "3"] if name == "wren" else ["1"]
FolderSource.fetch = lambda self, name, version: LocalVersion(self._bots["wren"].folder, passed=True)
FolderSource.eager = property(lambda self: ["wren"], lambda self, names: None)
"""
THERE = ("wren", "wren@champion", "wren:3", "wren@canary", "wren:4", "wren:5", "wren@prüfung_9", f"wren@{'a' * 255}", "wren@7")
NOT_THERE = ("wren:6", "wren@nobody", f"wren@{'b' * 255}", "heron", "heron:2", "wrem", "wrem:1", "wren@Champion")


@pytest.fixture(scope="module")
def many(tiny_checkpoint, tmp_path_factory):
    with running([("wren", "3", str(tiny_checkpoint))], tmp_path_factory.mktemp("many"), MANY, grpc_port=0) as started:
        yield started


@pytest.fixture
def client(many):
    with httpx.Client(base_url=many.url, timeout=60) as made:
        yield made


def statuses(client, address):
    """How every look-up over HTTP answers."""
    paths = (f"/v2/models/{address}", f"/v2/models/{address}/ready", f"/v1/models/{address}", f"/openai/v1/models/{address}")
    return [client.get(path).status_code for path in paths]


def call(channel, method, **fields):
    """A call of the gRPC service: its answer, or the code of its error."""
    stub = channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=message(f"{method}Request").SerializeToString,
        response_deserializer=message(f"{method}Response").FromString,
    )
    try:
        return stub(message(f"{method}Request")(**fields), timeout=60)
    except grpc.RpcError as error:
        return error.code().name


def test_what_answers_is_known_before_and_after(client):
    for address in THERE:
        loaded = address in ("wren", "wren@champion", "wren:3")
        before = statuses(client, address)
        assert before in ([200, 200, 200, 200], [200, 503, 503, 200]), address
        assert before[1] == 200 or not loaded
    for address in THERE:
        answer = client.post(f"/v2/models/{address}/infer", json=v2_body("I", max_tokens=1))
        assert answer.status_code == 200, answer.text
        assert statuses(client, address) == [200, 200, 200, 200]
        about = client.get(f"/v2/models/{address}").json()
        assert answer.json()["model_version"] in about["versions"]
        body = {"model": address, "prompt": "I", "max_tokens": 1}
        assert client.post("/v1/completions", json=body).json()["model"] == answer.headers["X-Mynah-Version"]
    assert client.get("/v2/models/wren").json()["versions"] == ["3", "4", "5"]


def test_what_does_not_answer_is_known_to_nobody(client):
    for address in NOT_THERE:
        assert client.post(f"/v2/models/{address}/infer", json=v2_body("I")).status_code == 404, address
        assert statuses(client, address) == [404, 404, 404, 404], address
        body = {"model": address, "messages": [{"role": "user", "content": "I"}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 404


def test_the_lists_have_what_answers_at_its_plain_name(client):
    """The heron has a challenger and no champion."""
    for path in ("/v1/models", "/v2/models"):
        assert client.get(path).json()["models"] == ["wren"]
    for path in ("/v1/models", "/openai/v1/models"):
        assert [card["id"] for card in client.get(path).json()["data"]] == ["wren"]
    assert statuses(client, "heron@challenger")[0] == 200


def test_grpc_knows_the_same(many):
    with grpc.insecure_channel(many.grpc) as channel:
        for address in THERE:
            name, _, version = address.partition(":")
            assert not isinstance(call(channel, "ModelReady", name=name, version=version), str), address
            assert call(channel, "ModelMetadata", name=name, version=version).name == "wren"
        for address in NOT_THERE:
            name, _, version = address.partition(":")
            for method in ("ModelReady", "ModelMetadata"):
                assert call(channel, method, name=name, version=version) == "NOT_FOUND", address


def test_whoever_may_not_ask_a_bot_learns_nothing_of_others(keys, tiny_checkpoint, tmp_path):
    path, add = keys
    mine = add("ann", ["wre*"], limits=Limits())
    bots = [("wren", "3", str(tiny_checkpoint)), ("wry", "1", str(tiny_checkpoint))]
    sdk = {"X-Stainless-Lang": "python"}  # as OpenAI's own libraries ask
    with running(bots, tmp_path, keys_file=path) as server, httpx.Client(base_url=server.url) as client:
        for reply in (
            client.post("/v2/models/wrem/infer", json=v2_body("I"), headers=mine),
            client.post("/v1/completions", json={"model": "wrey", "prompt": "I"}, headers=mine),
            client.get("/v2/models/wrey", headers=mine),
        ):
            assert (reply.status_code, "wry" in reply.text) == (404, False), reply.text
        for probed in ("/v2/models/wren:9/ready", "/v2/models/wren@nobody/ready", "/v1/models/wrem"):
            reply = client.get(probed)  # a probe has no key
            assert (reply.status_code, "champion" in reply.text, "it has" in reply.text) == (404, False, False), reply.text
        assert client.get("/v1/models/wren").status_code == 200
        assert client.get("/v1/models/wren", headers=sdk).json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/models/wren", headers=sdk | mine).json()["id"] == "wren"
        assert client.get("/v1/models/wry", headers=sdk | mine).json()["error"]["type"] == "permission_error"
        assert client.post("/v1/chat/completions", json={}).json()["error"]["code"] == "invalid_api_key"
