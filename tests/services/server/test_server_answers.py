"""What KServe's v1 and v2 answer over real HTTP: models, versions, seeds, stop strings, and KServe's own clients."""

import json
import subprocess
import sys

import pytest

from tests.services.serving_requests import V1, V2, assert_refused, v2_body


def test_health_and_readiness(client):
    assert client.get("/").json() == {"status": "alive"}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/wren/ready").json() == {"name": "wren", "ready": True}
    assert client.get("/v1/models/wren").json() == {"name": "wren", "ready": True}


def test_models_and_metadata(client):
    both = client.get("/v1/models").json()  # KServe's list and OpenAI's
    assert (set(both), both["models"]) == ({"models", "object", "data"}, ["crane", "heron", "wren"])
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
