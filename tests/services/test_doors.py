"""Who may come in: keys as people make and revoke them, and what a server does with who has one, another's, or none."""

import hmac
import json
import logging
import re
import socket
import stat
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest

from components.errors import InputError
from serving.doors import Doors, warn_if_open
from serving.doors.key_file import read_keys
from serving.doors.keys import Keys, Limits
from serving.protocols.webhook import is_signed
from serving.refusals import Refusal
from tests.services.small_server import small_server, whole_server


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def add(mynah, key_file):
    """Make a key by the command line; the key."""

    def make(*options, tenant="alice"):
        code, out, err = mynah("keys", "add", "--file", key_file, "--tenant", tenant, *options)
        assert code == 0, err
        return out.strip()

    return make


@pytest.fixture
def serve(key_file):
    return lambda **doors: small_server(Keys(key_file), **doors)


def identity_of(key):
    return key.split("_")[1]


def test_a_key_is_shown_once_and_only_its_hash_is_kept(add, key_file, mynah):
    key = add("--bot", "wren")
    assert re.fullmatch(r"mynah_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", key)
    listed = mynah("keys", "list", "--file", key_file)
    secret = key.split("_", 2)[2]
    assert identity_of(key) in listed.stdout
    for told in (key_file.read_text(), *listed, mynah("keys", "list", "--json", "--file", key_file).stdout):
        assert secret not in str(told)
    assert "sha256:" not in mynah("keys", "list", "--json", "--file", key_file).stdout
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_two_keys_made_at_once_are_both_kept(key_file):
    from serving.doors.key_file import add_key
    from serving.doors.keys import new_key

    made = [new_key("alice", ["wren"], False, Limits(), "")[0] for _ in range(8)]
    threads = [threading.Thread(target=add_key, args=(key_file, key)) for key in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_keys(key_file).keys) == {key.id for key in made}


def test_a_yaml_file_is_read_and_written(tmp_path, mynah):
    file = tmp_path / "keys.yaml"
    key = mynah("keys", "add", "--file", file, "--tenant", "alice", "--bot", "w*").stdout.strip()
    assert file.read_text().startswith("keys:\n")
    assert Keys(file).ring.find(key).bots == ("w*",)


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
    caller = Doors(None, Keys(key_file)).admit({"authorization": f"Bearer {key}"})
    assert caller.may(address)
    assert not caller.may(address.replace("wren", "wrens"))


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


def test_a_revoked_key_is_refused_at_once_and_a_new_one_taken(add, serve, key_file, mynah):
    first = add("--bot", "wren")
    with serve() as server:
        assert server.ask(key=first).status_code == 200
        second = add("--bot", "wren")
        assert server.ask(key=second).status_code == 200
        assert mynah("keys", "revoke", identity_of(first), "--file", key_file).returncode == 0
        assert server.ask(key=first).status_code == 401
        assert server.ask(key=second).status_code == 200
        mynah("keys", "revoke", identity_of(second), "--file", key_file)
        assert server.ask(key=second).status_code == 401  # no key left: nobody, not everybody


def test_a_broken_edit_keeps_the_keys_and_says_so_once(add, serve, key_file, caplog):
    key = add("--bot", "wren")
    whole = key_file.read_text()
    with serve() as server, caplog.at_level(logging.INFO, "mynah"):
        for broken in (whole[:-5], whole.replace("sha256:", "sha512:"), "[]"):
            caplog.clear()
            key_file.write_text(broken)
            assert server.ask(key=key).status_code == 200
            assert server.ask(key=key).status_code == 200
            assert len([line for line in caplog.messages if "stay in force" in line]) == 1
            assert whole.split('"hash": "')[1][:71] not in caplog.text
        caplog.clear()
        key_file.unlink()
        assert server.ask(key=key).status_code == 200
        assert "cannot be read" in caplog.text
        key_file.write_text('{"keys": []}')
        assert server.ask(key=key).status_code == 401


def test_a_secret_that_kubernetes_mounts_is_followed(add, key_file, tmp_path):
    first = add("--bot", "wren")
    for number in (1, 2):
        (tmp_path / f"data{number}").mkdir()
    (tmp_path / "data1/keys.json").write_text(key_file.read_text())
    (tmp_path / "data2/keys.json").write_text('{"keys": []}')
    (tmp_path / "..data").symlink_to("data1")
    (tmp_path / "mounted.json").symlink_to("..data/keys.json")
    keys = Keys(tmp_path / "mounted.json")
    assert keys.ring.find(first)
    (tmp_path / "..data_tmp").symlink_to("data2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert keys.ring.find(first) is None


GOOD = {"id": "a1", "hash": "sha256:" + "5" * 64, "tenant": "alice", "bots": ["wren"]}
SECRET = "mynah_a1_U2VjcmV0U2VjcmV0U2VjcmV0"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"hash": SECRET}, "hash"),
        ({"hash": None}, "hash"),
        ({"id": SECRET}, "id"),
        ({"id": 7}, "id"),
        ({"tenant": "a b"}, "tenant"),
        ({"tenant": "a\nb"}, "tenant"),
        ({"bots": "wren"}, "bots"),
        ({"bots": ["../etc"]}, "bots"),
        ({"bots": [SECRET]}, "bots"),
        ({"admin": "yes"}, "admin"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": 1.5}, "tokens_per_minute"),
        ({"concurrent": True}, "concurrent"),
        ({"concurent": 1}, "concurent"),
        ({SECRET: 1}, "unknown field"),
    ],
)
def test_an_error_names_the_entry_and_shows_no_secret(key_file, entry, told):
    key_file.write_text(json.dumps({"keys": [{**GOOD, "id": "a0"}, {**GOOD, **entry}]}))
    with pytest.raises(InputError) as error:
        read_keys(key_file)
    assert "entry 2" in str(error.value)
    assert told in str(error.value)
    assert SECRET not in str(error.value)
    assert "5" * 64 not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("k.json", ""), ("k.json", "[]"), ("k.json", '{"keys": {}}'), ("k.json", '{"keys": [7]}'), ("k.json", "[" * 100_000),
        ("k.json", '{"keys": [], "more": 1}'), ("k.json", "\xff"), ("k.json", '{"keys": [], "tenants": []}'),
        ("k.json", '{"keys": [], "tenants": {"alice": {"concurrent": -1}}}'), ("k.json", json.dumps({"keys": [GOOD, GOOD]})),
        ("k.yaml", f"keys: [{SECRET}: {{"), ("k.yaml", "keys: 2026-13-45"), ("k.yaml", "!!python/object/apply:os.getcwd []"),
    ],
)  # fmt: skip
def test_what_is_no_key_file_is_told_in_words(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError) as error:
        Keys(tmp_path / name)
    assert name in str(error.value)
    assert SECRET not in str(error.value)


def test_commands_refuse_what_makes_no_sense(add, mynah, key_file, tmp_path):
    key = add("--bot", "wren")
    before = key_file.read_text()
    for arguments in (
        ("add", "--tenant", "alice"),
        ("add", "--tenant", "a b", "--bot", "wren"),
        ("add", "--tenant", "alice", "--bot", "Wren!"),
        ("revoke", "ffffffff"),
        ("revoke", key),  # the key instead of its id: it is not repeated
        ("limit", "nobody", "--concurrent", "2"),
    ):
        code, out, err = mynah("keys", *arguments, "--file", key_file)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert key not in err
    assert key_file.read_text() == before
    assert mynah("keys", "list", "--file", tmp_path / "none.json").returncode == 2


def after(answer):
    """Wait as long as a 429 says."""
    assert answer.status_code == 429, answer.text
    seconds = int(answer.headers["Retry-After"])
    assert f"{seconds} s" in answer.json()["error"]
    time.sleep(seconds)


def test_too_many_requests_are_told_when_to_come_again(add, serve):
    key, other = add("--bot", "wren", "--requests-per-minute", "30"), add("--bot", "wren")
    with serve() as server:
        answers = [server.ask(key=key) for _ in range(33)]
        assert [answer.status_code for answer in answers[:30]] == [200] * 30
        refused = answers[-1]
        assert "30 requests a minute" in refused.json()["error"]
        assert server.ask(key=other).status_code == 200
        assert server.get("/v2/health/live").status_code == 200
        after(refused)
        assert server.ask(key=key).status_code == 200


def test_tokens_are_charged_when_they_were_written(add, serve):
    key = add("--bot", "wren", "--tokens-per-minute", "600")
    with serve() as server:
        assert server.ask(key=key, tokens=590).status_code == 200
        assert server.ask(key=key, tokens=25).status_code == 200  # 10 were left: nobody knows before how long an answer gets
        refused = server.ask(key=key)
        assert "600 tokens a minute" in refused.json()["error"]
        after(refused)
        assert server.ask(key=key).status_code == 200


def test_requests_at_the_same_time_are_counted_and_given_back(add, serve):
    key = add("--bot", "wren", "--concurrent", "2")
    with serve() as server:
        running = [threading.Thread(target=server.ask, kwargs={"key": key, "hold": True}) for _ in range(2)]
        for thread in running:
            thread.start()
            assert server.held.inside.acquire(timeout=30)
        refused = server.ask(key=key)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        server.held.release.set()
        for thread in running:
            thread.join(30)
        assert server.ask(key=key).status_code == 200
        assert server.ask(key=key, name="heron").status_code == 403  # a refusal gives its place back too
        assert [server.ask(key=key, fail=True, prompt="x").status_code for _ in range(3)] == [500] * 3
        assert server.ask(key=key, stream=2).status_code == 200
        assert server.ask(key=key).status_code == 200


def test_who_leaves_in_the_middle_gives_the_place_back(add, serve):
    key = add("--bot", "wren", "--concurrent", "1")
    with serve() as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{server.url}/v2/models/wren/infer",
                json={"hold": True},
                headers={"X-API-Key": key},
                timeout=httpx.Timeout(10, read=0.5),
            )
        server.held.release.set()
        deadline = time.monotonic() + 30
        while server.ask(key=key).status_code == 429:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_tenants_keys_share_what_the_tenant_may(add, serve, mynah, key_file):
    one, two, other = add("--bot", "wren"), add("--bot", "wren"), add("--bot", "wren", tenant="bob")
    assert mynah("keys", "limit", "alice", "--requests-per-minute", "4", "--file", key_file).returncode == 0
    with serve() as server:
        assert [server.ask(key=key).status_code for key in (one, two, one, two, one, two)] == [200] * 4 + [429] * 2
        assert server.ask(key=other).status_code == 200


def test_limits_change_with_the_file_and_accounts_go_with_their_keys(add, key_file, mynah):
    key = add("--bot", "wren", "--requests-per-minute", "2")
    doors = Doors(None, Keys(key_file))

    def passes(presented):
        caller = doors.admit({"x-api-key": presented})
        try:
            with doors.passing(caller):
                return True
        except Refusal as refusal:
            assert refusal.status == 429
            return False

    assert [passes(key) for _ in range(3)] == [True, True, False]
    key_file.write_text(key_file.read_text().replace('"requests_per_minute": 2', '"requests_per_minute": 5'))
    assert [passes(key) for _ in range(6)] == [True] * 5 + [False]
    for _ in range(20):
        mynah("keys", "revoke", identity_of(key), "--file", key_file)
        key = add("--bot", "wren", "--requests-per-minute", "2")
        assert passes(key)
    assert len(doors._meter) == 1  # a server that runs for years holds what the file holds


def test_grpc_gets_the_same_answers(add, key_file):
    key = add("--bot", "wren", "--concurrent", "1")
    doors = Doors(None, Keys(key_file))
    caller = doors.admit({"authorization": f"bearer {key}"})
    assert (caller.tenant, caller.admin) == ("alice", False)
    with pytest.raises(Refusal, match="asks for a key") as refused:
        doors.admit({})
    assert refused.value.status == 401
    with doors.passing(caller), pytest.raises(Refusal) as refused, doors.passing(caller):
        pass
    assert (refused.value.status, refused.value.reason) == (429, "concurrent")
    with doors.passing(caller):
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
    assert ("anybody may ask" in caplog.text) is is_open
    add("--bot", "wren")
    assert warn_if_open(host, Keys(key_file)) is False


def test_metrics_name_every_tenants_bots_and_are_for_admins(add, serve):
    key, admin = add("--bot", "wren"), add("--admin", tenant="ops")
    with serve() as server:
        assert server.get("/metrics").status_code == 401
        assert server.get("/metrics", **{"X-API-Key": key}).status_code == 403
        assert server.get("/metrics", **{"X-API-Key": admin}).status_code == 404  # past the doors; this application has none


def signed_by_mlflow(secret):
    """A delivery as MLflow's own sender makes it, to be posted by httpx."""
    from mlflow.webhooks.constants import WEBHOOK_DELIVERY_ID_HEADER, WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER
    from mlflow.webhooks.delivery import _generate_hmac_signature

    body, moment = '{"entity": "model_version_alias", "action": "created"}', str(int(time.time()))
    signature = _generate_hmac_signature(secret, "delivery-1", moment, body)
    headers = {WEBHOOK_DELIVERY_ID_HEADER: "delivery-1", WEBHOOK_TIMESTAMP_HEADER: moment, WEBHOOK_SIGNATURE_HEADER: signature}
    return {"content": body, "headers": headers | {"Content-Type": "application/json"}}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True), ({"body": b"{}"}, False), ({"secret": "other"}, False), ({"secret": ""}, False), ({"later": 301}, False),
        ({"later": -301}, False), ({"x-mlflow-timestamp": "soon"}, False), ({"x-mlflow-timestamp": "9" * 40}, False),
        ({"x-mlflow-signature": ""}, False), ({"x-mlflow-signature": "v1,\xe9"}, False), ({"x-mlflow-delivery-id": "2"}, False),
    ],
)  # fmt: skip
def test_what_mlflow_signed(change, good):
    sent = signed_by_mlflow("s")
    headers = {name.lower(): value for name, value in sent["headers"].items()}
    headers |= {name: value for name, value in change.items() if name.startswith("x-")}
    now = int(sent["headers"]["X-MLflow-Timestamp"]) + change.get("later", 0)
    assert is_signed(headers, change.get("body", sent["content"].encode()), change.get("secret", "s"), now) is good


def test_the_whole_server_asks_for_keys_in_every_protocol(add, key_file, tmp_path, tiny_checkpoint):
    import grpc
    import openai
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

    key, other, admin = add("--bot", "w*"), add("--bot", "heron"), add("--admin", tenant="ops")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        metrics_port = listener.getsockname()[1]
    options = ["--keys", str(key_file), "--metrics-port", str(metrics_port)]
    with whole_server(tiny_checkpoint, tmp_path, *options, MYNAH_WEBHOOK_SECRET="s3cret-of-mlflow") as server:
        for presented, status in (("", 401), ("mynah_ffffffff_x", 401), (other, 403), (key, 200)):
            headers = {"Authorization": f"Bearer {presented}"} if presented else {}
            assert server.infer("I", headers).status_code == status
            predicted = httpx.post(f"{server.url}/v1/models/wren:predict", json={"instances": ["I"]}, headers=headers, timeout=60)
            assert predicted.status_code == status
            for action in ("load", "unload"):
                assert (
                    httpx.post(f"{server.url}/v2/repository/models/wren/{action}", headers=headers).status_code
                    == (status, 403)[status == 200]
                )
        assert httpx.post(f"{server.url}/v2/repository/models/wren/load", headers={"X-API-Key": admin}).status_code == 200
        with (
            openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key=other, max_retries=0) as client,
            pytest.raises(openai.PermissionDeniedError),
        ):
            client.completions.create(model="wren", prompt="I")
        with (
            openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.completions.create(model="wren", prompt="I")
        with openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key=key, max_retries=0) as client:
            assert client.completions.create(model="wren", prompt="I", max_tokens=3).usage.completion_tokens == 3
        assert "mynah_tokens_total" in httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text  # for who reaches that port
        assert [httpx.get(f"{server.url}/metrics", headers={"X-API-Key": one}).status_code for one in (key, admin)] == [403, 200]
        hint = f"{server.url}/v2/repository/hint"
        assert httpx.post(hint, headers={"X-API-Key": key}).status_code == 403
        assert httpx.post(hint, **signed_by_mlflow("s3cret-of-mlflow")).json() == {"hint": True}
        assert httpx.post(hint, **signed_by_mlflow("another")).status_code == 403
        with grpc.insecure_channel(server.grpc) as channel:
            for probe in (stubs.GRPCInferenceServiceStub(channel).ModelReady,):
                with pytest.raises(grpc.RpcError) as refused:
                    probe(messages.ModelReadyRequest(name="wrem"), timeout=60)
                assert "wren" not in refused.value.details()
            stub = stubs.GRPCInferenceServiceStub(channel)
            tensor = messages.ModelInferRequest.InferInputTensor(
                name="prompt", datatype="BYTES", shape=[1], contents=messages.InferTensorContents(bytes_contents=[b"I"])
            )
            asked = messages.ModelInferRequest(model_name="wren", inputs=[tensor])
            for presented, code in (("", grpc.StatusCode.UNAUTHENTICATED), (other, grpc.StatusCode.PERMISSION_DENIED)):
                metadata = [("authorization", f"Bearer {presented}")] if presented else []
                with pytest.raises(grpc.RpcError) as refused:
                    stub.ModelInfer(asked, metadata=metadata, timeout=60)
                assert refused.value.code() is code
            assert stub.ModelInfer(asked, metadata=[("authorization", f"Bearer {key}")], timeout=60).model_version == "3"
        said = server.end()
    for presented in (key, other, admin):
        assert presented.split("_", 2)[2] not in said


def test_the_whole_server_counts_tokens_and_comes_back(add, key_file, tmp_path, tiny_checkpoint):
    key = add("--bot", "wren", "--tokens-per-minute", "300")
    with whole_server(tiny_checkpoint, tmp_path, "--keys", str(key_file)) as server:
        headers = {"Authorization": f"Bearer {key}"}
        answers = []
        while not answers or answers[-1].status_code == 200:
            assert len(answers) < 60
            answers.append(server.infer("I", headers, max_tokens=20))
        assert len(answers) > 10
        after(answers[-1])
        assert server.infer("I", headers).status_code == 200
