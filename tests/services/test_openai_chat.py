"""OpenAI's chat completions, asked by the real `openai` client: the bot continues the last message of the user."""

import json

import httpx
import openai
import pytest

from mynah.models.sampling import NO_TEXT

PROMPT = "I like"


@pytest.fixture(scope="module", params=["/openai/v1", "/v1"])
def client(request, server):
    with openai.OpenAI(base_url=server.url + request.param, api_key="none", max_retries=0, timeout=60) as made:
        yield made


def user(content):
    return {"role": "user", "content": content}


@pytest.fixture
def ask(client):
    def ask(content=PROMPT, **asked):
        messages = content if isinstance(content, list) and "role" in content[0] else [user(content)]
        defaults = {"model": "wren", "messages": messages, "seed": 5, "max_completion_tokens": 20}
        return client.chat.completions.create(**defaults | asked)

    return ask


def test_a_chat_says_what_completions_say(ask, client):
    continued = client.completions.create(model="wren", prompt=PROMPT, seed=5, max_tokens=20, n=2)
    answer = ask(n=2)
    assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "wren:3", "chatcmpl-")
    assert [choice.message.content for choice in answer.choices] == [choice.text for choice in continued.choices]
    assert [choice.finish_reason for choice in answer.choices] == [choice.finish_reason for choice in continued.choices]
    assert {(choice.message.role, choice.message.refusal, choice.logprobs) for choice in answer.choices} == {
        ("assistant", None, None)
    }
    assert answer.usage == continued.usage


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "I "}, {"type": "text", "text": "like", "cache_control": {"type": "ephemeral"}}],
        [{"role": "system", "content": "You are helpful."}, user(PROMPT)],
        [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, user(PROMPT)],
        [user("My dream is"), {"role": "assistant", "content": "no", "refusal": None, "annotations": []}, user(PROMPT)],
        [user("My dream is"), {"role": "assistant", "content": None, "tool_calls": []}, {**user(PROMPT), "name": "ann"}],
        [user(PROMPT), {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    ],
)
def test_only_the_last_message_of_the_user_is_read(ask, content):
    assert ask(content).choices[0].message.content == ask().choices[0].message.content


@pytest.mark.parametrize("more", [{}, {"n": 2}, {"logprobs": True, "top_logprobs": 2}, {"stop": "e"}])
def test_a_stream_says_what_the_whole_answer_says(ask, more):
    whole = ask(**more)
    chunks = list(ask(stream=True, stream_options={"include_usage": True}, **more))
    for choice in whole.choices:
        deltas = [one for chunk in chunks for one in chunk.choices if one.index == choice.index]
        assert [one.delta.role for one in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
        assert "".join(one.delta.content or "" for one in deltas) == choice.message.content
        assert [one.finish_reason for one in deltas] == [None] * (len(deltas) - 1) + [choice.finish_reason]
        scored = [token for one in deltas if one.logprobs for token in one.logprobs.content]
        assert [token.token for token in scored] == [
            token.token for token in (choice.logprobs.content if choice.logprobs else [])
        ]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_logprobs(ask):
    content = ask(logprobs=True, top_logprobs=20).choices[0].logprobs.content
    text = b"".join(bytes(token.bytes) for token in content).decode("utf-8", "replace")
    assert NO_TEXT.sub("", text).strip() == ask().choices[0].message.content.strip()
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 20 for token in content)
    assert ask(logprobs=True).choices[0].logprobs.content[0].top_logprobs == []


def test_fields_that_ask_for_nothing_else(ask):
    neutral = {
        "tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "presence_penalty": 0, "logit_bias": {}, "store": False,
        "metadata": {"a": "b"}, "user": "ann", "service_tier": "auto", "modalities": ["text"], "parallel_tool_calls": True,
        "max_tokens": 20, "temperature": None, "top_p": None, "stop": None, "logprobs": False, "stream": False, "stream_options": None,
    }  # fmt: skip
    assert ask(extra_body=neutral).choices[0].message.content == ask().choices[0].message.content


IMAGE = [{"type": "text", "text": "I"}, {"type": "image_url", "image_url": {"url": "data:,"}}]


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"messages": [user(IMAGE)]}, "messages[0].content[1]", ["image_url", "text only"]),
        ({"messages": [{"role": "system", "content": IMAGE}, user("I")]}, "messages[0].content[1]", ["image_url"]),
        ({"messages": [user([{"type": "text"}])]}, "messages[0].content[0]", ["no text"]),
        ({"messages": [user(None)]}, "messages[0].content", ["missing"]),
        ({"messages": [user(5)]}, "messages[0].content", ["string"]),
        ({"messages": []}, "messages", ["at least 1"]),
        ({"messages": [{"role": "system", "content": "I"}]}, "messages", ["role user"]),
        ({"messages": [user("I"), {"role": "tool", "content": "I", "tool_call_id": "1"}]}, "messages[1].role", ["tool"]),
        ({"messages": [{"role": "bot", "content": "I"}]}, "messages[0].role", ["'bot'", "known: system"]),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}, user("I")]}, "messages[0].tool_calls", ["no tools"]),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", ["no tools"]),
        ({"tool_choice": "required"}, "tool_choice", ["no tools"]),
        ({"response_format": {"type": "json_object"}}, "response_format.type", ["JSON"]),
        ({"store": True}, "store", ["not stored"]),
        ({"reasoning_effort": "high"}, "reasoning_effort", ["reason"]),
        ({"modalities": ["text", "audio"], "audio": {}}, "modalities[1]", ["text"]),
        ({"max_tokens": 5}, "max_tokens", ["max_completion_tokens"]),
        ({"max_completion_tokens": 0}, "max_completion_tokens", ["1"]),
        ({"max_completion_tokens": 4096}, "max_completion_tokens", ["1024"]),
        ({"top_logprobs": 2}, "top_logprobs", ["logprobs: true"]),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", ["20"]),
        ({"extra_body": {"temprature": 1}}, "temprature", ["did you mean 'temperature'"]),
        ({"messages": [user("x " * 100)]}, "messages", ["maximum context length", "context of 64", "Shorten"]),
    ],
)
def test_what_is_not_served_is_refused_by_name(ask, asked, param, words):
    with pytest.raises(openai.BadRequestError) as raised:
        ask(**asked)
    assert (raised.value.type, raised.value.param) == ("invalid_request_error", param)
    for word in words:
        assert word in raised.value.message


def test_the_bots_are_listed_and_looked_up(client):
    assert [model.id for model in client.models.list()] == ["crane", "heron", "wren"]
    assert [client.models.retrieve(address).id for address in ("wren", "wren:3", "wren@champion")] == [
        "wren", "wren:3", "wren@champion",
    ]  # fmt: skip
    for address in ("wren:9", "wren@nobody", "wrem", "wren@champion:3"):
        with pytest.raises(openai.NotFoundError) as raised:
            client.models.retrieve(address)
        assert raised.value.code == "model_not_found"


def test_a_prompt_that_is_too_long_has_openais_code(ask, client):
    for call, param in ((lambda: ask("x " * 100), "messages"), (lambda: completion(client, "x " * 100), "prompt")):
        with pytest.raises(openai.BadRequestError) as raised:
            call()
        assert (raised.value.code, raised.value.param) == ("context_length_exceeded", param)
        # By these words LiteLLM and LangChain know it, which do not all read the code.
        assert "this model's maximum context length is" in raised.value.message.lower()
        assert "prompt is too long" in raised.value.message


def completion(client, prompt="I", **asked):
    return client.completions.create(**{"model": "wren", "prompt": prompt, "max_tokens": 4, "seed": 5} | asked)


def test_a_text_is_scored_without_writing(client):
    scored = completion(client, "I like", max_tokens=0, echo=True, logprobs=1, n=2)
    told = completion(client, "I like", echo=True, logprobs=1).choices[0].logprobs
    for choice in scored.choices:
        assert (choice.text, choice.finish_reason, choice.logprobs.tokens) == ("I like", "length", told.tokens[:2])
        assert choice.logprobs.token_logprobs == told.token_logprobs[:2]
    assert (scored.usage.completion_tokens, scored.usage.prompt_tokens) == (0, 2)
    chunks = list(completion(client, "I like", max_tokens=0, echo=True, logprobs=1, stream=True))
    assert [(chunk.choices[0].text, chunk.choices[0].finish_reason) for chunk in chunks] == [("I like", "length")]
    assert completion(client, "I like", max_tokens=0).choices[0].text == ""
    with pytest.raises(openai.BadRequestError, match="min_tokens"):
        completion(client, max_tokens=0, extra_body={"min_tokens": 1})


def test_no_prompt_is_the_beginning_of_a_post(client):
    assert completion(client, None).choices[0].text == completion(client, "").choices[0].text


@pytest.mark.parametrize("seed", [-1, -5, -(2**63)])
def test_negative_seeds(client, seed):
    answer = completion(client, seed=seed, max_tokens=20)
    assert answer.seed == seed
    assert answer.choices[0].text == completion(client, seed=seed % 2**63, max_tokens=20).choices[0].text


def test_options_of_a_stream(client):
    def stream(**options):
        return list(completion(client, stream=True, max_tokens=12, stream_options=options))

    texts = [[chunk.choices[0].text for chunk in stream(**options)] for options in ({}, {"include_usage": None})]
    assert texts[0] == texts[1] == [chunk.choices[0].text for chunk in stream(include_obfuscation=False)]
    assert stream(include_usage=True, include_obfuscation=False)[-1].usage.completion_tokens > 0
    with pytest.raises(openai.BadRequestError) as raised:
        stream(include_usages=True)
    assert (raised.value.param, "did you mean 'include_usage'" in raised.value.message) == ("stream_options.include_usages", True)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_obfuscation_gives_events_of_equal_sizes(server, path):
    body = {"model": "wren", "stream": True, "max_tokens": 20, "stream_options": {"include_obfuscation": True}}
    body |= {"messages": [user("I")]} if "chat" in path else {"prompt": "I"}
    events = httpx.post(server.url + path, json=body).text.split("\n\n")[:-2]
    assert {(len(event.encode()) + 2) % 64 for event in events} == {0}
    assert all("obfuscation" in json.loads(event.removeprefix("data: ")) for event in events)


@pytest.mark.parametrize("text", ["one\u2028two", "\u0085", "a\u2029\u2028b", "é\u2028"])
def test_line_separators_do_not_split_an_event(server, text):
    body = {"model": "wren", "prompt": text, "echo": True, "stream": True, "max_tokens": 1}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert json.loads(lines[0])["choices"][0]["text"].startswith(text)
    assert [json.loads(line)["object"] for line in lines[:-1]] == ["text_completion"] * (len(lines) - 1)


def test_paths_of_openai_that_are_not_there(server):
    for path in ("/v1/embeddings", "/openai/v1/responses"):
        refused = httpx.post(server.url + path, json={}).json()["error"]
        assert (refused["code"], "/openai/v1" in refused["message"]) == ("unknown_url", True)
    assert "/openai/v1" in httpx.post(f"{server.url}/completions", json={}).json()["error"]
