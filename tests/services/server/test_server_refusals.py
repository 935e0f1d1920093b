"""What v1 and v2 refuse, and in which words: unknown bots, parameters, prompts, bodies and paths."""

import json

import pytest

from tests.services.serving_requests import V1, V2, assert_refused, v2_body


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
        (tensor_with(parameters={"n": 5}), ["next to inputs"]),
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
        ("POST", "/v2/models/wren/versions/03/infer", 404),
        ("GET", "/v2/models/wren/versions/03/ready", 404),
        ("GET", "/v2/models/wren@champion/versions/3", 404),
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


@pytest.mark.parametrize(
    "address", ["wrem", "wren:03", "wren:9", "wren@nobody", "wren@", "wren:", "wren@champion:3", "a/wren", ".."]
)
def test_what_names_no_model_is_a_fault_of_the_field_model(client, address):
    asked = {"model": address, "prompt": "x", "messages": [{"role": "user", "content": "x"}]}
    for path, field in (("completions", "messages"), ("chat/completions", "prompt")):
        body = {name: value for name, value in asked.items() if name != field}
        answer = client.post(f"/openai/v1/{path}", json=body)
        assert (answer.status_code in (400, 404), answer.json()["error"]["param"]) == (True, "model"), answer.text
    if "/" not in address and address != "..":
        answer = client.get(f"/openai/v1/models/{address}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, "model"), answer.text
        assert "no bot named 'wren' here" not in answer.text
