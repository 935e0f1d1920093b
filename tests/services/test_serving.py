"""The server over real HTTP: KServe's v1 and v2, what is refused and how, and how it starts and stops."""

import errno
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from urllib.parse import urlsplit

import httpx
import pytest

from components.errors import PlatformError
from serving.doors.key_file import add_key
from serving.doors.keys import Limits, new_key
from serving.server import address_errors, listening_socket
from tests.services.serving_process import HELD_SEED, running

V1 = "/v1/models/wren:predict"
V2 = "/v2/models/wren/infer"


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


def v2_body(*prompts, **parameters):
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [len(prompts)], "data": list(prompts)}
    return {"inputs": [tensor], "parameters": parameters}


def assert_refused(answer, status, *words):
    """A refusal is JSON with one field, names the problem, and shows nothing of the inside."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    for word in words:
        assert word in body["error"]
    for leak in ("Traceback", "site-packages", ".py", "kserve", "/tmp", "/home"):
        assert leak not in answer.text


# What it answers


def test_health_and_readiness(client):
    assert client.get("/").json() == {"status": "alive"}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/wren/ready").json() == {"name": "wren", "ready": True}
    assert client.get("/v1/models/wren").json() == {"name": "wren", "ready": True}


def test_models_and_metadata(client):
    assert client.get("/v1/models").json() == {"models": ["crane", "heron", "wren"]}
    assert client.get("/v2/models").json() == {"models": ["crane", "heron", "wren"]}
    about_wren = {
        "name": "wren",
        "versions": ["3"],
        "platform": "mynah_gpt2",
        "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
    }
    for path in ("/v2/models/wren", "/v2/models/wren@champion", "/v2/models/wren/versions/3"):
        assert client.get(path).json() == about_wren
    about = client.get("/v2").json()
    assert about["name"] == "mynah"
    assert about["extensions"] == ["model_repository_extension"]


def test_v2_answers_row_major(client):
    body = v2_body("My dream is", "I like", n=3, seed=7, max_tokens=12) | {"id": "abc"}
    answer = client.post(V2, json=body).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("wren", "3", "abc")
    assert answer["parameters"] == {"seed": 7}
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"], output["parameters"]) == ("text", "BYTES", [6], {"n": 3})
    assert [text.startswith("My dream is") for text in output["data"]] == [True] * 3 + [False] * 3
    assert [text.startswith("I like") for text in output["data"]] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    "path", ["/v2/models/wren/versions/3", "/v2/models/wren:3", "/v2/models/wren@champion", "/v2/models/wren"]
)
def test_versions_and_aliases_are_addresses(client, path):
    assert client.get(f"{path}/ready").json()["ready"] is True
    answer = client.post(f"{path}/infer", json=v2_body("I like", seed=1, max_tokens=3))
    assert (answer.json()["model_name"], answer.json()["model_version"]) == ("wren", "3")
    assert answer.headers["X-Mynah-Version"] == "wren:3"


def test_v1_names_versions_too(client):
    answer = client.post("/v1/models/wren:3:predict", json={"instances": ["I"], "parameters": {"max_tokens": 2}})
    assert answer.headers["X-Mynah-Version"] == "wren:3"
    assert_refused(client.post("/v1/models/wren:4:predict", json={"instances": ["I"]}), 404, "version 4", "3")


def test_stop_strings_and_the_repetition_penalty(client):
    whole = client.post(V1, json={"instances": ["I like"], "parameters": {"seed": 2}}).json()["predictions"][0][0]
    stop = whole[12:14]
    for given in (stop, [stop, "never seen"]):
        parameters = {"seed": 2, "stop": given}
        cut = client.post(V1, json={"instances": ["I like"], "parameters": parameters}).json()["predictions"][0][0]
        assert cut == whole[: whole.index(stop, 6)].strip()
        assert client.post(V2, json=v2_body("I like") | {"parameters": parameters}).json()["outputs"][0]["data"] == [cut]
    other = client.post(V1, json={"instances": ["I like"], "parameters": {"seed": 2, "repetition_penalty": 5.0}}).json()
    assert other["predictions"][0][0] != whole


def test_v1_answers_a_list_per_instance(client):
    body = {"instances": ["My dream is", {"prompt": "I like"}], "parameters": {"n": 2, "seed": 7}}
    answer = client.post(V1, json=body).json()
    assert [len(texts) for texts in answer["predictions"]] == [2, 2]
    assert all(text.startswith("I like") for text in answer["predictions"][1])
    single = client.post(V1, json={"instances": ["My dream is"]}).json()
    assert [len(texts) for texts in single["predictions"]] == [1]


def test_v1_and_v2_say_the_same_for_the_same_seed_whatever_stands_beside(client):
    v1 = client.post(V1, json={"instances": ["I like"], "parameters": {"n": 2, "seed": 5}}).json()["predictions"][0]
    v2 = client.post(V2, json=v2_body("The birds", "I like", n=2, seed=5)).json()["outputs"][0]["data"]
    assert v1 == v2[2:]


def test_no_seed_is_a_fresh_one_and_is_told(client):
    answers = [client.post(V2, json=v2_body("I like", n=3)).json() for _ in range(2)]
    seeds = [answer["parameters"]["seed"] for answer in answers]
    assert seeds[0] != seeds[1]
    again = client.post(V2, json=v2_body("I like", n=3, seed=seeds[0])).json()
    assert again["outputs"] == answers[0]["outputs"] != answers[1]["outputs"]


def test_an_empty_prompt_writes_from_nothing(client):
    assert client.post(V1, json={"instances": [""]}).json()["predictions"][0][0]


@pytest.mark.parametrize("prompt", ["naïve 🐦 日本語", "<|endoftext|>", "a\u0000b", "   ", "</script><b>\r\n"])
def test_odd_prompts_come_back_as_they_were(client, prompt):
    for text in client.post(V2, json=v2_body(prompt, n=2, seed=1)).json()["outputs"][0]["data"]:
        assert text.startswith(prompt.strip())


def test_whole_numbers_and_few_tokens_are_understood(client):
    """JSON writes 2.0 as 2, and five tokens at most means no minimum of ten."""
    assert client.post(V2, json=v2_body("I like", temperature=2, top_p=1, max_tokens=5)).status_code == 200
    assert client.post(V1, json={"instances": ["I"], "parameters": {"temperature": 2, "max_tokens": 1}}).status_code == 200


@pytest.mark.parametrize("path", [V1, V2])
@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", None])
def test_content_types_of_json(client, path, kind):
    body = {"instances": ["I like"]} if path == V1 else v2_body("I like")
    headers = {"Content-Type": kind} if kind else {}
    assert client.post(path, content=json.dumps(body), headers=headers).status_code == 200


def test_the_shape_with_a_column_and_a_named_output(client):
    body = v2_body("I like", "I") | {"outputs": [{"name": "text", "parameters": {"binary_data": False}}]}
    body["inputs"][0]["shape"] = [2, 1]
    assert client.post(V2, json=body).json()["outputs"][0]["shape"] == [2]


def test_the_clients_of_kserve_itself(server):
    code = f"""
import asyncio
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
async def main():
    for protocol in ("v2", "v1"):
        async with InferenceRESTClient(RESTConfig(protocol=protocol)) as client:
            assert await client.is_server_live({server.url!r}) and await client.is_model_ready({server.url!r}, "wren")
            tensor = InferInput("prompt", [1], "BYTES", ["I like"])
            request = InferRequest("wren", [tensor], parameters={{"n": 2, "seed": 3}})
            body = request if protocol == "v2" else {{"instances": ["I like"], "parameters": {{"n": 2, "seed": 3}}}}
            answer = await client.infer({server.url!r}, body, model_name="wren")
            print(answer.outputs[0].data if protocol == "v2" else answer["predictions"][0])
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    assert "I like" in first


# What it refuses


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/wrem:predict"),
        ("POST", "/v2/models/wrem/infer"),
        ("GET", "/v2/models/wrem"),
        ("GET", "/v1/models/wrem"),
    ],
)
def test_an_unknown_bot_gets_the_nearest_name(client, method, path):
    body = {"instances": ["x"]} if "v1" in path else v2_body("x")
    answer = client.request(method, path, json=body if method == "POST" else None)
    assert_refused(answer, 404, "'wrem'", "'wren'")


def test_an_unknown_bot_far_from_any_gets_the_list(client):
    assert_refused(client.get("/v2/models/zzzzzz/ready"), 404, "crane, heron, wren")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"temprature": 1.0}, ["temprature", "did you mean 'temperature'"]),
        ({"zzz": 1}, ["zzz", "known: "]),
        ({"n": "5"}, ["n is '5'"]),
        ({"n": 1.5}, ["n is '1.5'"]),
        ({"n": True}, ["n is 'True'"]),
        ({"n": 0}, ["n is '0'"]),
        ({"n": 101}, ["n is '101'"]),
        ({"n": 10**30}, ["n is '1"]),
        ({"temperature": 0}, ["temperature"]),
        ({"temperature": -1.0}, ["temperature"]),
        ({"temperature": 1e300}, ["temperature"]),
        ({"top_p": 1.01}, ["top_p"]),
        ({"top_k": -1}, ["top_k"]),
        ({"seed": -1}, ["seed"]),
        ({"seed": 2**63}, ["seed"]),
        ({"max_tokens": 0}, ["max_tokens"]),
        ({"max_tokens": 10**9}, ["max_tokens"]),
        ({"max_tokens": True}, ["max_tokens"]),
        ({"min_tokens": 20, "max_tokens": 10}, ["min_tokens", "max_tokens"]),
        ({"n": None}, ["n"]),
        ({"n": [5]}, ["n"]),
        ({"n": {}}, ["n"]),
        ({"stop": ["x"] * 9}, ["stop", "8"]),
        ({"stop": ""}, ["stop"]),
        ({"stop": 5}, ["stop"]),
        ({"stop": "x" * 101}, ["stop", "100"]),
        ({"repetition_penalty": 0}, ["repetition_penalty", "0.1"]),
        ({"repetition_penalty": "2"}, ["repetition_penalty"]),
    ],
)
def test_parameters_that_make_no_sense(client, parameters, words):
    assert_refused(client.post(V1, json={"instances": ["x"], "parameters": parameters}), 400, *words)
    v2 = client.post(V2, json=v2_body("x") | {"parameters": parameters})
    v2_words = words if all(isinstance(value, int | float | str) for value in parameters.values()) else list(parameters)
    assert_refused(v2, 400, *v2_words)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
@pytest.mark.parametrize("path", [V1, V2])
def test_numbers_that_are_none(client, path, number):
    body = {"instances": ["x"]} if path == V1 else v2_body("x")
    text = json.dumps(body | {"parameters": {"temperature": 0.5}}).replace("0.5", number)
    assert_refused(client.post(path, content=text, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([], ["1 to 64 prompts"]),
        (["x"] * 65, ["1 to 64 prompts", "65"]),
        ([5], ["[0] is not a string"]),
        (["x", None], ["[1] is not a string"]),
        ([["x"]], ["[0] is not a string"]),
        (["x " * 100], ["context of 64", "Shorten"]),
    ],
)
def test_prompts_that_cannot_be_continued(client, prompts, words):
    assert_refused(client.post(V1, json={"instances": prompts}), 400, *words)
    assert_refused(client.post(V2, json=v2_body(*prompts)), 400, *words)


@pytest.mark.parametrize("path", [V1, V2])
def test_half_a_surrogate_pair(client, path):
    body = {"instances": ["\ud800"]} if path == V1 else v2_body("\ud800")
    assert_refused(client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"}), 400)
    body = json.dumps(v2_body("x") | {"id": "\ud800"})
    assert_refused(client.post(V2, content=body, headers={"Content-Type": "application/json"}), 400, "not Unicode text")


def test_more_texts_than_a_hundred(client):
    assert_refused(client.post(V2, json=v2_body("x", "y", n=51)), 400, "2 prompts", "102")
    assert_refused(client.post(V1, json={"instances": ["x"] * 51, "parameters": {"n": 2}}), 400, "102")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["instances"]),
        ({"instances": "x"}, ["instances must be a list"]),
        ({"instances": [{"prompt": "x", "n": 2}]}, ["prompt"]),
        ({"instances": [{"text": "x"}]}, ["prompt"]),
        ({"instances": [{"prompt": 1}]}, ["not a string"]),
        ({"instances": ["x"], "parameter": {}}, ["did you mean 'parameters'"]),
        ({"instances": ["x"], "parameters": [1]}, ["parameters must be an object"]),
        ({"id": "1", "time": "2", "type": "t", "source": "s", "specversion": "1.0", "data": [1]}, ["instances"]),
    ],
)
def test_v1_bodies_of_the_wrong_form(client, body, words):
    assert_refused(client.post(V1, json=body), 400, *words)


def tensor_with(**changes):
    return {"inputs": [v2_body("x")["inputs"][0] | changes]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["inputs"]),
        ({"inputs": []}, ["one tensor named"]),
        ({"inputs": "x"}, ["inputs"]),
        ({"inputs": [{}]}, ["inputs.0.name"]),
        (tensor_with(name="text"), ["one tensor named"]),
        (tensor_with(datatype="INT32"), ["INT32", "BYTES"]),
        (tensor_with(datatype="FP16"), ["FP16"]),
        (tensor_with(shape=[2]), ["shape must be [1]"]),
        (tensor_with(shape=[-1]), ["shape must be [1]"]),
        (tensor_with(shape=["a"]), ["inputs.0.shape.0"]),
        (tensor_with(data="x"), ["inputs.0.data"]),
        (tensor_with(parameters={"n": 5}), ["beside inputs"]),
        (v2_body("x") | {"id": 5}, ["id"]),
        (v2_body("x") | {"parameters": [1]}, ["parameters"]),
        (v2_body("x") | {"outputs": [{"name": "logits"}]}, ["'logits'", "text"]),
        (v2_body("x") | {"outputs": [{"name": "text", "parameters": {"binary_data": True}}]}, ["binary"]),
        (v2_body("x", binary_data_output=True), ["binary"]),
    ],
)
def test_v2_bodies_of_the_wrong_form(client, body, words):
    assert_refused(client.post(V2, json=body), 400, *words)


@pytest.mark.parametrize("path", [V1, V2])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"  \n", ["empty"]),
        (b"{", ["not valid JSON"]),
        (b"prompt=x", ["not valid JSON"]),
        (b'{"instances": ["\xff\xfe"]}', ["UTF-8"]),
        ('{"instances": ["x"]}'.encode("utf-16"), ["UTF-8"]),
        (b"\xef\xbb\xbf{}", ["JSON"]),
        (b"[1]", ["an array"]),
        (b'"x"', ["a string"]),
        (b"5", ["a number"]),
        (b"true", ["a boolean"]),
        (b"null", ["null"]),
        (b"[" * 100_000, ["nested too deeply"]),
    ],
)
def test_bodies_that_are_no_json_object(client, path, content, words):
    assert_refused(client.post(path, content=content, headers={"Content-Type": "application/json"}), 400, *words)


@pytest.mark.parametrize("path", [V1, V2])
def test_other_content_types_and_extensions(client, path):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "application/cloudevents+json"):
        assert_refused(client.post(path, content=b"{}", headers={"Content-Type": kind}), 415, "application/json")
    assert_refused(client.post(path, json={}, headers={"Inference-Header-Content-Length": "x"}), 400, "binary")
    assert_refused(client.post(path, json={}, headers={"ce-id": "1"}), 400, "CloudEvents")


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


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/..%2f..:predict", 404),
        ("POST", "/v1/models/%2e%2e:predict", 400),
        ("POST", "/v2/models/..%2f..%2fetc/infer", 404),
        ("GET", "/v2/models/%00", 404),
        ("GET", "/v2/models/%ff%fe", 404),
        ("GET", f"/v2/models/{'x' * 5000}", 404),
        ("POST", "/v1/models/wren:explain", 405),
        ("POST", "/v2/models/wren/versions/1/infer", 404),
        ("POST", "/v2/models/wren/versions/%2e%2e/infer", 400),
        ("POST", "/v2/models/wren/versions/x/infer", 404),
        ("POST", "/v2/models/wren@nobody/infer", 404),
        ("POST", "/v2/models/WREN/infer", 404),
        ("GET", "/v2/models/wren/versions/1", 404),
        ("GET", "/v2/models/wren/versions/1/ready", 404),
        ("POST", "/v2/repository/models/wren/load", 403),
        ("POST", "/v2/repository/models/wren/unload", 403),
        ("POST", "/v2/repository/hint", 403),
        ("POST", "/v2/repository/index", 404),
        ("GET", "/docs", 404),
        ("GET", "/v2/health/nowhere", 404),
        ("GET", "/v2/models/wren/infer", 405),
        ("DELETE", "/v2/models/wren", 405),
    ],
)
def test_paths_that_are_not_served(client, method, path, status):
    body = {"instances": ["x"]} if path.startswith("/v1") else v2_body("x")
    answer = client.request(method, path, json=body if method == "POST" else None)
    assert_refused(answer, status)
    assert len(answer.text) < 300
    assert client.get("/v2/models/wren/ready").status_code == 200


# How it behaves under load, and what it never says


def test_health_answers_while_a_text_is_generated(server, client):
    with server.held_request(n=3) as (release, answers):
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/models/heron/ready").status_code == 200
        assert not answers, "health was answered only after the generation"
        release()
    assert answers[0].json()["outputs"][0]["shape"] == [3]


def test_a_full_queue_is_refused_with_the_wait(start):
    def ask(number):
        return httpx.post(server.url + V2, json=v2_body("I", seed=number, max_tokens=2, n=64), timeout=120)

    with start(most_waiting=4) as server, ThreadPoolExecutor(12) as pool:
        with server.held_request() as (release, answers):
            asked = as_completed(pool.submit(ask, number) for number in range(12))
            refused = [next(asked).result() for _ in range(8)]  # the first has slots for all its samples but one, and waits too
            release()
        served = [done.result() for done in asked]
        for answer in refused:
            assert_refused(answer, 503, "waiting")
            assert int(answer.headers["Retry-After"]) > 0
        assert [answer.status_code for answer in (*served, *answers)] == [200] * 5
        assert ask(1).status_code == 200


def test_side_by_side_requests_keep_their_seeds(server):
    def ask(_):
        return httpx.post(server.url + V2, json=v2_body("I like", n=4, seed=9), timeout=60).json()["outputs"][0]["data"]

    with ThreadPoolExecutor(6) as pool:
        assert len({tuple(texts) for texts in pool.map(ask, range(12))}) == 1


@pytest.mark.parametrize("where", ["add", "step"])
def test_an_unexpected_error_shows_nothing_and_is_logged(start, where):
    broken = f"""
import serving.protocols.kserve_models
def from_v1(_): raise RuntimeError('the secret is in /etc/shadow')
serving.protocols.kserve_models.from_v1 = from_v1
from serving.engine.run import Run
def broken(*_): raise RuntimeError('the engine is broken in /etc/shadow')
Run.{where} = broken
"""
    with start(broken) as server:
        for path, body in ((V1, {"instances": ["my own prompt"]}), (V2, v2_body("my own prompt"))):
            answer = httpx.post(server.url + path, json=body)
            assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
        assert httpx.get(server.url + "/v2/health/live").status_code == 200
        assert server.stop() == "returned\n"
    assert "the secret is in /etc/shadow" in server.log
    assert "the engine is broken" in server.log
    assert "my own prompt" not in server.log


def test_the_log_holds_no_prompt(server, client):
    client.post(V2, json=v2_body("I like tea"))
    client.post(V2, json=v2_body("I like tea", zzz=1))
    assert server.lines[0].startswith("Serving crane (version 1), heron (version 1), wren (version 3) on http://127.0.0.1:")
    assert "tea" not in server.log


# Clients that leave, are late, slow or rude


HELD = {"seed": HELD_SEED, "min_tokens": 20, "max_tokens": 40, "n": 5}
HELD_REQUESTS = [
    (V1, {"instances": ["I"], "parameters": HELD}),
    (V2, v2_body("I", **HELD)),
    ("/openai/v1/completions", {"model": "wren", "prompt": "I", **HELD}),
]


def test_who_leaves_is_no_longer_worked_for(start):
    with start() as server:
        for path, body in HELD_REQUESTS:
            with pytest.raises(httpx.ReadTimeout):  # held, for as long as somebody waits
                httpx.post(server.url + path, json=body, timeout=1)
            server.wait_until_idle()
        assert (server.holding / "started").exists()
        assert server.stop() == "returned\n"
    assert server.log.count('"status": 499') == len(HELD_REQUESTS)
    assert "Traceback" not in server.log


def test_a_deadline_ends_an_answer(start):
    with start() as server:
        for path, body in HELD_REQUESTS:
            answer = httpx.post(server.url + path, json=body, headers={"X-Request-Timeout": "0.3"})
            assert answer.status_code == 504
            assert "0.3 seconds" in answer.text
            server.wait_until_idle()


@pytest.mark.parametrize("seconds", ["x", "0", "-1", "nan", ""])
def test_deadlines_that_are_none(client, seconds):
    assert_refused(client.post(V1, json={"instances": ["I"]}, headers={"X-Request-Timeout": seconds}), 400, "X-Request-Timeout")


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
    quick = "import serving.protocols.gate, serving.protocols.wire\nserving.protocols.gate.SLOWEST_BODY = serving.protocols.wire.SLOWEST_HEAD = 0.5\n"
    with start(quick) as server:
        slow_head = raw(server, b"GET /v2/health/live HTTP/1.1\r\n", b"Host: localhost\r\n", pause=1)
        assert slow_head.startswith(b"HTTP/1.1 408 ")
        head = b"POST /v1/models/wren:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"
        slow_body = raw(server, head, b"{", pause=1)
        assert slow_body.startswith(b"HTTP/1.1 408 ")
        assert httpx.get(server.url + "/v2/health/live").status_code == 200


def test_a_reader_who_stops_reading_is_let_go(long_checkpoint, tmp_path):
    """An answer larger than the buffers, of which nothing is read: the connection ends, and with it the request."""
    quick = "import serving.protocols.wire\nserving.protocols.wire.SLOWEST_READER = 0.5\n"
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


# Who may ask, and which version answers


@pytest.fixture
def keys(tmp_path):
    """A key file, and a function that adds a key to it and gives the headers that carry it."""
    path = tmp_path / "keys.json"

    def add(tenant, bots, admin=False, limits=Limits()):  # noqa: B008 - it is frozen
        key, presented = new_key(tenant, bots, admin, limits, "")
        add_key(path, key)
        return {"Authorization": f"Bearer {presented}"}

    return path, add


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
        assert_refused(client.get("/v2/models/wren/ready"), 503, "loaded when it is asked")
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
    assert_refused(answer, 429, "10 tokens a minute")
    assert int(answer.headers["Retry-After"]) > 0


# A bot with a challenger, whose files are the champion's.
RIVALS = """
from serving.repository.sources import Fetched
FolderSource.aliases = lambda self: {"wren": {"champion": "3", "challenger": "4"}}
FolderSource.versions = lambda self, name: ["4", "3"]
FolderSource.fetch = lambda self, name, version: Fetched(self._bots[name].folder, passed=True)
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


# How it starts and stops


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_request_finish(start, number):
    with start(grpc_port=0) as server:
        with server.held_request(n=4) as (release, answers):
            server.process.send_signal(number)
            while httpx.get(server.url + "/v2/health/ready").status_code == 200:
                time.sleep(0.02)
            assert httpx.get(server.url + "/v2/health/live").status_code == 200
            for path, body in ((V1, {"instances": ["I"]}), (V2, v2_body("I"))):
                refused = httpx.post(server.url + path, json=body)
                assert_refused(refused, 503, "stopping")
                assert int(refused.headers["Retry-After"]) > 0
            refused = httpx.post(server.url + "/openai/v1/completions", json={"model": "wren", "prompt": "I"})
            assert (refused.status_code, refused.json()["error"]["type"]) == (503, "server_error")
            assert server.process.poll() is None
            release()
        said = server.ended()
    assert answers[0].status_code == 200
    assert len(answers[0].json()["outputs"][0]["data"]) == 4
    assert server.process.returncode == 0
    assert said == "returned\n"


def test_an_idle_server_stops_at_once(start):
    with start() as server, httpx.Client() as client:
        client.get(server.url + "/v2/health/live")  # and keeps its connection
        assert server.stop(within=10) == "returned\n"
    assert server.process.returncode == 0


def test_a_request_that_outlasts_the_grace_is_given_up(start):
    with start(grace=1.0) as server:
        with server.held_request() as (_, answers):
            assert server.stop() == "returned\n"  # and nobody released the request
        assert server.process.returncode == 0
    assert_refused(answers[0], 503, "stopping")
    assert "Traceback" not in server.log


def test_a_second_signal_ends_it_at_once(start):
    with start(grace=600.0) as server, server.held_request():
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(server.url + "/v2/health/ready").status_code == 200:
            time.sleep(0.02)
        assert server.stop(within=20) == "returned\n"


def test_a_port_in_use(server, tiny_checkpoint):
    port = int(server.url.rsplit(":", 1)[1])
    grpc = int(server.grpc.rsplit(":", 1)[1])
    code = """
from pathlib import Path
from components.errors import PlatformError
from serving.server import serve
from serving.settings import Settings
from serving.repository.sources import FolderSource, ServedBot
for settings in (Settings(port={port}), Settings(port=0, grpc_port={grpc})):
    try:
        serve(FolderSource([ServedBot("wren", "1", Path({folder!r}))]), settings)
    except PlatformError as error:
        print(error.problem, error.fix)
"""
    code = code.format(port=port, grpc=grpc, folder=str(tiny_checkpoint))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    http, grpc_said = done.stdout.splitlines()
    assert f"port {port} on 127.0.0.1 is in use" in http
    assert "--port" in http
    assert f"port {grpc} on 127.0.0.1" in grpc_said
    assert "--grpc-port" in grpc_said


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", -1, ["-1 is no port", "--port"]),
        ("127.0.0.1", 65536, ["65536 is no port", "--port"]),
        ("no.such.host.invalid", 0, ["unknown", "--host"]),
        ("192.0.2.1", 0, ["no address of this machine", "--host"]),  # TEST-NET-1, RFC 5737
    ],
)
def test_addresses_that_cannot_be_had(host, port, words):
    with pytest.raises(PlatformError) as raised:
        listening_socket(host, port)
    for word in words:
        assert word in str(raised.value)


def test_a_privileged_port():
    """Raised here by hand: whether port 80 needs privileges is up to the machine."""
    with pytest.raises(PlatformError, match=r"port 80 .* needs privileges\n.*1024.*--port"), address_errors("127.0.0.1", 80):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_bots_that_cannot_be_served(tiny_checkpoint, tmp_path):
    code = f"""
from pathlib import Path
from components.errors import InputError
from serving.server import serve
from serving.settings import Settings
from serving.repository.sources import FolderSource, ServedBot
good, none = Path({str(tiny_checkpoint)!r}), Path({str(tmp_path / "none")!r})
makers = [lambda: FolderSource([]), lambda: FolderSource([ServedBot("a", "1", good)] * 2),
          lambda: serve(FolderSource([ServedBot("a", "1", none)]), Settings(port=0)), lambda: ServedBot("../a", "1", good)]
for make in makers:
    try:
        make()
    except InputError as error:
        print(error.problem)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for line, words in zip(done.stdout.splitlines(), ("no bot", "share a name", "no folder", "'../a'"), strict=True):
        assert words in line


def test_importing_the_package_is_light():
    code = "import sys, serving, serving.server; print({'torch', 'kserve', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
