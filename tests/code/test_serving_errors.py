"""Errors of the engine and the model cache, as every protocol answers them."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI

from mynah.core.errors import InputError
from mynah.decoding.errors import InvalidParameter, PromptTooLong
from serving.engine import errors
from serving.errors import ApiError
from serving.protocols.errors import TABLE, register_error_handlers, to_api_error

ANSWERS = [
    # error, status, message, Retry-After in seconds, OpenAI's field
    (InvalidParameter("n is 0"), 400, "n is 0", None, None),
    (PromptTooLong("it has 300 tokens", "Shorten it."), 400, "it has 300 tokens. Shorten it.", None, None),
    (PromptTooLong("it has 10**6 characters"), 400, "it has 10**6 characters", None, None),
    (errors.InvalidAddress("'..' is not a model's name"), 400, "'..' is not a model's name", None, "model"),
    (errors.ModelNotFound("wrem", ["wren"]), 404, "there is no bot named 'wrem' here; did you mean 'wren'?", None, "model"),
    (errors.AliasNotFound("wren", "", ["previous"]), 404, "wren has no champion; it has wren@previous", None, "model"),
    (errors.VersionNotFound("wren", "7", ["2", "1"]), 404, "wren has no version 7; it has 2, 1", None, "model"),
    (errors.GenerationFailed(), 500, "internal error", None, None),
    (errors.EngineStopped(), 503, "the server is stopping; try again later", 5, None),
    (errors.QueueFull(9, 3), 503, "9 requests are waiting already, for about 3 s; try again then", 3, None),
    (errors.RegistryUnavailable("wren"), 503, "the versions of wren cannot be looked up now; try again", 5, None),
    (errors.NoRoom(), 503, "every model in memory is answering; try again in a moment", 2, None),
    (
        errors.ModelTooLarge("wren"),
        503,
        "wren is too large for this server's memory; the operator can raise it with --memory",
        5,  # the header of every 503; gRPC's trailer is left out
        None,
    ),
    (errors.LoadFailed("its files are damaged", 60), 503, "its files are damaged", 60, None),
]


@pytest.mark.parametrize(("error", "status", "message", "wait", "field"), ANSWERS)
def test_each_error_has_one_answer_in_every_protocol(error, status, message, wait, field):
    app = FastAPI()
    register_error_handlers(app)

    async def fail():
        raise error

    app.add_api_route("/v2/fail", fail)
    app.add_api_route("/openai/v1/fail", fail)

    async def get(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path)

    kserve, openai = asyncio.run(get("/v2/fail")), asyncio.run(get("/openai/v1/fail"))
    assert (kserve.status_code, kserve.json()) == (status, {"error": message})
    assert openai.status_code == status
    assert (openai.json()["error"]["message"], openai.json()["error"]["param"]) == (message, field)
    for answer in (kserve, openai):
        assert answer.headers.get("retry-after") == (None if wait is None else str(wait))


def leaves(kind):
    below = kind.__subclasses__()
    return {kind} if not below else {leaf for each in below for leaf in leaves(each)}


def test_no_error_of_the_engine_or_the_model_cache_is_without_an_answer():
    assert leaves(errors.ServingError) <= TABLE.keys()
    assert {type(error) for error, *_ in ANSWERS} == TABLE.keys()


def test_what_is_not_in_the_table_shows_nothing():
    refusal = to_api_error(InputError("the secret is in /etc/shadow"))
    assert (refusal.status, json.dumps(refusal.body())) == (500, '{"error": "internal error"}')
    own = ApiError(415, "send JSON")
    assert to_api_error(own) is own
