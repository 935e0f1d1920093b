"""Any JSON object as a request of OpenAI's API: it is understood, or refused with 400 by the name of a field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mynah.decoding.errors import InvalidParameter
from serving.errors import ApiError
from serving.protocols.openai_chat_types import ROLES, ChatRequest
from serving.protocols.openai_requests import generation_request, read_request
from serving.protocols.openai_types import CompletionRequest

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "refusal"]) | ANY}, optional={"text": ANY})
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from([*ROLES, "tool"]) | ANY, "content": st.text(max_size=5) | st.lists(PART, max_size=3) | ANY},
    optional={"tool_calls": ANY, "name": ANY},
)


def bodies(model, **fields):
    known = {name: fields.get(name, ANY) for name in model.model_fields if name != "model"}
    return st.fixed_dictionaries({"model": st.just("wren")}, optional={**known, "unknown": ANY})


BODIES = st.tuples(st.just(CompletionRequest), bodies(CompletionRequest)) | st.tuples(
    st.just(ChatRequest), bodies(ChatRequest, messages=st.lists(MESSAGE, max_size=3) | ANY)
)


@pytest.mark.slow
@settings(max_examples=300)
@given(BODIES)
def test_any_request_is_understood_or_refused_by_name(asked):
    model, body = asked
    try:
        request = read_request(model, body)
        generation = generation_request(request)
    except ApiError as error:
        assert (error.status, bool(error.message), len(error.message) < 500) == (400, True, True)
        assert error.param
        assert error.param.split("[")[0].split(".")[0] in (*model.model_fields, "unknown")
    except InvalidParameter as error:
        assert error.problem
    else:
        assert 0 <= generation.sampling.seed < 2**63
        assert all(isinstance(prompt, str) for prompt in generation.prompts)
        assert generation.logprobs == request.scores


@pytest.mark.parametrize("name", sorted(set(ChatRequest.model_fields) - {"messages", "model"}))
def test_null_is_what_leaving_a_field_out_is(name):
    """Clients send null for what they do not set."""
    body = {"model": "wren", "messages": [{"role": "user", "content": "I"}], "seed": 1}
    plain, given_null = (generation_request(read_request(ChatRequest, each)) for each in (body, {**body, name: None, "seed": 1}))
    assert plain == given_null
