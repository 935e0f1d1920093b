"""What a server answers to a key, another's key, a hostile one, or none."""

import hmac
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from serving.auth.key_file import Keys
from serving.auth.middleware import AuthMiddleware, warn_if_open
from serving.errors import ApiError
from tests.services.auth.auth_keys import identity_of
from tests.services.small_server import small_server


def test_no_key_a_wrong_one_and_a_right_one(add, serve):
    key = add("--bot", "wren")
    with serve() as server:
        assert server.ask(key=key).json() == {"tenant": "alice"}
        assert server.ask(headers={"X-API-Key": key}).status_code == 200
        wrong = [
            key[:-1] + ("A" if key[-1] != "A" else "B"),
            key.replace(identity_of(key), "ffffffff"),
            "mynah_",
            key + "A" * 5000,
            "sha256:" + "0" * 64,
        ]
        for answer in (
            server.ask(),
            *(server.ask(key=each) for each in wrong),
            server.ask(headers={"Authorization": f"Basic {key}"}),
        ):
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert "key" in answer.json()["error"]
            assert key not in answer.text


def test_two_authorization_headers_are_nobodys(add, serve):
    key = add("--bot", "wren")
    with serve() as server:
        sent = [("Authorization", f"Bearer {key}"), ("Authorization", "Bearer other")]
        assert server.get("/v2/models").status_code == 401
        assert httpx.get(f"{server.url}/v2/models", headers=sent).status_code == 401
        assert httpx.get(f"{server.url}/v2/models", headers=sent[:1]).status_code == 200


def test_an_openai_path_is_answered_in_openais_shape(add, serve):
    add("--bot", "wren")
    with serve() as server:
        answer = httpx.post(f"{server.url}/openai/v1/completions", json={"model": "wren", "prompt": "I"})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_unknown_ids_are_compared_as_known_ones_are(add, key_file, monkeypatch):
    key = add("--bot", "wren")
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append((len(one), len(other))) or real(one, other))
    ring = Keys(key_file).ring
    found = [ring.find(each) for each in (key, key[:-1] + "!", key.replace(identity_of(key), "ffffffff"), "nonsense", "")]
    assert [each is not None for each in found] == [True, False, False, False, False]
    assert compared == [(71, 71)] * 5


def test_a_key_asks_its_own_bots_only(add, serve):
    one, several = add("--bot", "wren"), add("--bot", "w*", tenant="bob")
    with serve() as server:
        assert server.ask("wren", one).status_code == 200
        refused = server.ask("heron", one)
        assert refused.status_code == 403
        assert "wren" in refused.json()["error"]
        # What there is and what there isn't look alike to a key that may not ask.
        assert server.ask("nothing", one).status_code == 403
        assert server.ask("wren", several).json() == {"tenant": "bob"}
        assert server.ask("warbler", several).status_code == 200
        assert server.ask("heron", several).status_code == 403


@pytest.mark.parametrize("address", ["wren", "wren:3", "wren@challenger"])
def test_the_right_to_a_bot_is_the_right_to_its_versions(add, key_file, address):
    key = add("--bot", "wren")
    caller = AuthMiddleware(None, Keys(key_file)).authenticate({"authorization": f"Bearer {key}"})
    assert caller.can_access(address)
    assert not caller.can_access(address.replace("wren", "wrens"))


def test_only_an_admin_manages(add, serve):
    plain, admin = add("--bot", "*"), add("--admin", tenant="ops")
    with serve() as server:
        url = f"{server.url}/v2/repository/models/wren/load"
        answers = [httpx.post(url, headers={"Authorization": f"Bearer {key}"}).status_code for key in (plain, admin)]
        assert answers == [403, 200]
        assert server.ask("wren", admin).status_code == 403  # to manage is not to ask


def test_without_a_key_file_everybody_asks_and_nobody_manages():
    with small_server(None) as server:
        assert server.ask("heron").json() == {"tenant": "anonymous"}
        assert server.ask("heron", key="whatever-the-openai-client-sends").status_code == 200
        assert httpx.post(f"{server.url}/v2/repository/models/wren/load").status_code == 403


@pytest.mark.parametrize(
    "path", ["/", "/v2/health/live", "/v2/health/ready", "/v1/models/wren", "/v2/models/wren/ready", "/page/page.js"]
)
def test_probes_and_the_page_need_no_key(add, serve, path):
    add("--bot", "wren")
    with serve() as server:
        assert server.get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v2/models", "/page/bots.json", "/page/bots/wren/card", "/page/../v2/models", "/v2/models/a%2Fb/ready/", "//"]
)
def test_whatever_else_there_is_needs_one(add, serve, path):
    add("--bot", "wren")
    with serve() as server:
        assert server.get(path).status_code == 401


def test_a_post_is_never_open(add, serve):
    add("--bot", "wren")
    with serve() as server:
        assert httpx.post(f"{server.url}/v2/models/wren/ready").status_code == 401


def test_grpc_gets_the_same_answers(add, key_file):
    key = add("--bot", "wren", "--concurrent", "1")
    doors = AuthMiddleware(None, Keys(key_file))
    caller = doors.authenticate({"authorization": f"bearer {key}"})
    assert (caller.tenant, caller.admin) == ("alice", False)
    with pytest.raises(ApiError, match="needs an API key") as refused:
        doors.authenticate({})
    assert refused.value.status == 401
    with doors.limit(caller), pytest.raises(ApiError) as refused, doors.limit(caller):
        pass
    assert (refused.value.status, refused.value.reason) == (429, "concurrent")
    with doors.limit(caller):
        pass


def test_a_flood_of_headers_is_refused_before_keys_are_looked_at(add, serve):
    add("--bot", "wren")
    with serve() as server:
        many = {f"X-{number}": "1" for number in range(120)}
        assert server.get("/v2/health/live", **many).status_code == 431
        assert server.get("/v2/health/live", **{"X-Long": "a" * 40_000}).status_code == 431
        assert server.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize(
    "value", [b"Bearer \xff\xfe", b"Bearer \x1b[31m", b"Bearer", b"", b" ", b"Bearer " + b"A" * 10_000, b"\x80" * 300]
)
def test_hostile_keys_are_wrong_keys(add, serve, value):
    add("--bot", "wren")
    with serve() as server:
        place = urlsplit(server.url)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            connection.sendall(
                b"GET /v2/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + value + b"\r\nConnection: close\r\n\r\n"
            )
            assert connection.makefile("rb").readline().split()[1] in (b"401", b"400")
        assert server.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize(
    ("host", "is_open"), [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True)]
)
def test_an_open_server_is_warned_about(host, is_open, caplog, add, key_file):
    assert warn_if_open(host, None) is is_open
    assert ("without API keys" in caplog.text) is is_open
    add("--bot", "wren")
    assert warn_if_open(host, Keys(key_file)) is False


def test_metrics_name_every_tenants_bots_and_are_for_admins(add, serve):
    key, admin = add("--bot", "wren"), add("--admin", tenant="ops")
    with serve() as server:
        assert server.get("/metrics").status_code == 401
        assert server.get("/metrics", **{"X-API-Key": key}).status_code == 403
        assert server.get("/metrics", **{"X-API-Key": admin}).status_code == 404  # past the doors; this application has none
