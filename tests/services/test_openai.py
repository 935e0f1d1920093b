"""OpenAI's completions, asked by the real `openai` client as people ask it."""

import json
import math
import time

import httpx
import openai
import pytest

from tests.services.serving_process import HELD_SEED

COMPLETIONS = "/openai/v1/completions"


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture
def ask(client):
    return lambda **asked: client.completions.create(**{"model": "wren", "prompt": "I like", "seed": 5, "max_tokens": 20} | asked)


def said(chunks):
    """What a stream's chunks come to: the text of each index."""
    texts = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return [texts[index] for index in sorted(texts)]


def test_models(client):
    assert [model.id for model in client.models.list()] == ["crane", "heron", "wren"]
    assert client.models.retrieve("wren").owned_by == "mynah"
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("wrem")
    assert raised.value.code == "model_not_found"
    assert "did you mean 'wren'" in raised.value.message


def test_a_completion(ask):
    answer = ask(n=2)
    assert answer.object == "text_completion"
    assert answer.model == "wren:3"
    assert abs(answer.created - time.time()) < 3600
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.finish_reason in ("stop", "length") for choice in answer.choices)
    usage = answer.usage
    assert usage.prompt_tokens > 0
    assert 20 <= usage.completion_tokens <= 40
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_several_prompts_come_one_after_the_other(ask):
    several = ask(prompt=["I like", "My dream is"], n=2).choices
    assert [choice.text for choice in several[:2]] == [choice.text for choice in ask(n=2).choices]
    assert [choice.text for choice in several[2:]] == [choice.text for choice in ask(prompt="My dream is", n=2).choices]


def test_it_says_what_v2_says(ask, server):
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["I like"]}
    body = {"inputs": [tensor], "parameters": {"seed": 5, "max_tokens": 20}}
    (text,) = httpx.post(f"{server.url}/v2/models/wren/infer", json=body).json()["outputs"][0]["data"]
    assert ask(echo=True).choices[0].text.strip() == text


@pytest.mark.parametrize("address", ["wren", "wren@champion", "wren:3"])
def test_addresses(client, address):
    raw = client.completions.with_raw_response.create(model=address, prompt="I", max_tokens=2)
    assert raw.headers["X-Mynah-Version"] == "wren:3"
    assert raw.parse().model == "wren:3"


def test_without_a_seed_every_answer_is_another_and_tells_its_own(ask):
    first, second = ask(seed=None), ask(seed=None)
    assert first.choices[0].text != second.choices[0].text
    assert ask(seed=first.seed).choices[0].text == first.choices[0].text


def test_temperature_zero_is_greedy(ask):
    texts = {ask(temperature=0, seed=seed).choices[0].text for seed in (1, 2)}
    assert len(texts) == 1
    assert ask(temperature=1, seed=1, extra_body={"top_k": 1}).choices[0].text in texts
    assert ask(top_p=0, seed=3).choices[0].text in texts


def test_stop_ends_before_its_string(ask):
    whole = ask().choices[0].text
    stop = whole[4:6]
    for given in (stop, ["never seen", stop]):
        cut = ask(stop=given).choices[0]
        assert cut.text == whole[: whole.index(stop)]
        assert cut.finish_reason == "stop"
        assert said(ask(stop=given, stream=True)) == [cut.text]


def test_logprobs(ask):
    answer = ask(logprobs=3, n=2)
    for choice in answer.choices:
        told = choice.logprobs
        assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
        assert all(number <= 0 and math.isfinite(number) for number in told.token_logprobs)
        assert all(3 <= len(top) <= 4 for top in told.top_logprobs)  # the token that was drawn may be one more
        for token, number, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
            assert top[token] == number
        for token, offset in zip(told.tokens, told.text_offset, strict=True):
            if token.isprintable() and not token.startswith("bytes:"):
                assert choice.text[offset:].startswith(token)
    assert ask().choices[0].logprobs is None
    told = ask(logprobs=0).choices[0].logprobs
    assert told.top_logprobs == [{token: number} for token, number in zip(told.tokens, told.token_logprobs, strict=True)]


def test_echo_tells_the_logprobs_of_the_prompt_too(ask):
    plain, echoed = ask(logprobs=2, n=2), ask(logprobs=2, n=2, echo=True)
    for alone, choice in zip(plain.choices, echoed.choices, strict=True):
        told = choice.logprobs
        assert (told.tokens[:2], told.text_offset[:3]) == (["I", " like"], [0, 1, 6])
        for token, number, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
            assert (number < 0, len(top) in (2, 3), top[token]) == (True, True, number)
        assert (told.tokens[2:], told.token_logprobs[2:]) == (alone.logprobs.tokens, alone.logprobs.token_logprobs)
    assert echoed.usage == plain.usage


@pytest.mark.parametrize("echo", [False, True])
def test_logprobs_are_the_same_streamed(ask, echo):
    whole = ask(logprobs=2, echo=echo).choices[0].logprobs
    tokens, offsets, numbers = [], [], []
    for chunk in ask(logprobs=2, echo=echo, stream=True):
        if chunk.choices and (told := chunk.choices[0].logprobs):
            tokens += told.tokens
            offsets += told.text_offset
            numbers += told.token_logprobs
    assert (tokens, offsets) == (whole.tokens, whole.text_offset)
    assert numbers == pytest.approx(whole.token_logprobs, abs=1e-3)


@pytest.mark.parametrize("more", [{}, {"n": 3}, {"echo": True, "prompt": ["I like", "naïve 🐦"], "n": 2}])
def test_a_stream_says_what_the_whole_answer_says(ask, more):
    chunks = list(ask(stream=True, stream_options={"include_usage": True}, **more))
    whole = ask(**more)
    assert said(chunks) == [choice.text for choice in whole.choices]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    ends = {choice.index: choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason}
    assert ends == {choice.index: choice.finish_reason for choice in whole.choices}
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 3


def test_a_stream_on_the_wire(server):
    body = {"model": "wren", "prompt": "I like", "stream": True, "max_tokens": 12, "n": 2}
    with httpx.stream("POST", server.url + COMPLETIONS, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-mynah-version"] == "wren:3"
        lines = answer.read().decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(line.removeprefix("data: "))["object"] == "text_completion" for line in lines[:-2])


def test_a_stream_sends_tokens_as_they_come(start):
    """The first token is here while the second is held back."""
    body = {"model": "wren", "prompt": "I", "stream": True, "seed": HELD_SEED, "min_tokens": 20, "max_tokens": 30, "logprobs": 0}
    with start() as server, httpx.stream("POST", server.url + COMPLETIONS, json=body, timeout=60) as answer:
        parts = answer.iter_text()
        assert '"tokens"' in next(parts)
        (server.holding / "release").touch()
        assert "".join(parts).endswith("data: [DONE]\n\n")


def test_who_leaves_a_stream_is_no_longer_worked_for(start):
    body = {
        "model": "wren",
        "prompt": "I",
        "stream": True,
        "seed": HELD_SEED,
        "min_tokens": 20,
        "max_tokens": 30,
        "n": 5,
        "logprobs": 0,
    }
    with start() as server:
        with httpx.stream("POST", server.url + COMPLETIONS, json=body, timeout=60) as answer:
            parts = answer.iter_raw()
            next(parts)
            assert server.metric("mynah_running") == 5
        server.wait_until_idle()
        assert server.stop() == "returned\n"
    assert "Traceback" not in server.log
    assert '"tokens": 5' in server.log  # what was written is counted all the same


def test_a_deadline_ends_a_stream_with_an_error(start):
    body = {"model": "wren", "prompt": "I", "stream": True, "seed": HELD_SEED, "min_tokens": 20, "max_tokens": 30}
    with start() as server:
        answer = httpx.post(server.url + COMPLETIONS, json=body, headers={"X-Request-Timeout": "0.5"}, timeout=60)
        assert json.loads(answer.text.split("\n\n")[-2].removeprefix("data: "))["error"]["type"] == "server_error"
        server.wait_until_idle()


def test_the_end_of_the_grace_ends_a_stream_with_an_error(start):
    body = {"model": "wren", "prompt": "I", "stream": True, "seed": HELD_SEED, "min_tokens": 20, "max_tokens": 30, "logprobs": 0}
    with start(grace=0.5) as server, httpx.stream("POST", server.url + COMPLETIONS, json=body, timeout=60) as answer:
        parts = answer.iter_text()
        next(parts)
        assert server.stop() == "returned\n"
        assert "stopping" in "".join(parts)


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"suffix": "x"}, "suffix", ["suffix is not supported"]),
        ({"best_of": 3}, "best_of", ["equals n"]),
        ({"presence_penalty": 0.5}, "presence_penalty", ["repetition_penalty"]),
        ({"frequency_penalty": -1.0}, "frequency_penalty", ["repetition_penalty"]),
        ({"logit_bias": {"50256": -100}}, "logit_bias", ["logit_bias is not supported"]),
        ({"prompt": [1, 2, 3]}, "prompt", ["token ids"]),
        ({"prompt": [[1], [2]]}, "prompt", ["token ids"]),
        ({"prompt": []}, "prompt", ["1 to 64"]),
        ({"prompt": ["x"] * 65}, "prompt", ["1 to 64"]),
        ({"prompt": ["x"] * 51, "n": 2}, None, ["102"]),
        ({"prompt": "x " * 100}, None, ["context of 64", "Shorten"]),
        ({"logprobs": 6}, "logprobs", ["5"]),
        ({"temperature": -0.1}, "temperature", ["0"]),
        ({"temperature": 1e300}, "temperature", ["10"]),
        ({"top_p": 1.5}, "top_p", ["1"]),
        ({"n": 0}, "n", ["1"]),
        ({"n": 101}, "n", ["100"]),
        ({"n": "2"}, "n", ["integer"]),
        ({"max_tokens": 10**9}, "max_tokens", ["1024"]),
        ({"extra_body": {"min_tokens": 30}, "max_tokens": 20}, None, ["min_tokens", "max_tokens"]),
        ({"seed": -(2**63) - 1}, "seed", ["9223372036854775808"]),
        ({"stop": ["x"] * 9}, "stop", ["at most 8"]),
        ({"stop": ""}, "stop", ["1 to 100"]),
        ({"stream_options": {"include_usage": True}}, "stream_options", ["stream: true"]),
        ({"extra_body": {"temprature": 1}}, "temprature", ["did you mean 'temperature'"]),
        ({"model": "../etc"}, None, ["'../etc'"]),
    ],
)
def test_what_is_not_served_is_refused_with_its_reason(ask, asked, param, words):
    with pytest.raises(openai.BadRequestError) as raised:
        ask(**asked)
    assert raised.value.type == "invalid_request_error"
    if param:
        assert raised.value.param == param
    for word in words:
        assert word in raised.value.message


@pytest.mark.parametrize(("address", "words"), [("wrem", ["'wren'"]), ("wren:9", ["9", "3"]), ("wren@nobody", ["nobody"])])
def test_bots_that_are_not_there(ask, address, words):
    with pytest.raises(openai.NotFoundError) as raised:
        ask(model=address)
    assert raised.value.code == "model_not_found"
    for word in words:
        assert word in raised.value.message


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"model": "wren", "prompt": "\xff"}', 400),
        (b'{"model": "wren", "prompt": "x", "temperature": NaN}', 400),
        (b'{"model": "wren", "prompt": "x", "temperature": 1e999}', 400),
        (b'{"model": "wren", "prompt": "\\ud800"}', 400),
        (b'{"model": "\\ud800", "prompt": "x"}', 400),
        (b'{"model": "wren", "prompt": "x", "\\ud800": 1}', 400),
        (b'{"prompt": "x"}', 400),
        (b'{"model": "wren"}', 400),
        (b'{"model": "wren", "prompt": "' + b"x" * 2**20 + b'"}', 413),
    ],
)
def test_bodies_that_make_no_sense(server, content, status):
    answer = httpx.post(server.url + COMPLETIONS, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_paths_that_are_not_there_answer_in_openais_shape(server):
    assert httpx.get(f"{server.url}/openai/v1/nowhere").json()["error"]["type"] == "invalid_request_error"
    wrong = httpx.get(server.url + COMPLETIONS)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
