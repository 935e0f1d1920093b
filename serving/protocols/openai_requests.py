"""Parses requests of OpenAI's API, and names what is wrong with one by the field, as OpenAI does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from mynah.decoding.errors import PromptTooLong
from mynah.decoding.request import GenerationRequest
from serving.engine.request import check_limits, read_sampling, read_stop
from serving.errors import ApiError, nearest
from serving.protocols.errors import to_api_error
from serving.protocols.openai_chat_types import TEXT_ONLY, ChatRequest
from serving.protocols.openai_types import CompletionRequest, StreamOptions

MIN_TEMPERATURE = 0.01  # the lowest temperature for sampling; below it decoding is greedy
NO_TOOLS = "is not supported: the bots call no tools"
# Messages for values of OpenAI's fields that Mynah does not support.
UNSUPPORTED = {
    "suffix": "suffix is not supported: the models only generate what follows a prompt",
    "presence_penalty": "presence_penalty is not supported; use repetition_penalty (extra_body)",
    "frequency_penalty": "frequency_penalty is not supported; use repetition_penalty (extra_body)",
    "logit_bias": "logit_bias is not supported: token ids differ between base models",
    "tools": f"tools {NO_TOOLS}",
    "tool_choice": f"tool_choice {NO_TOOLS}",
    "functions": f"functions {NO_TOOLS}",
    "function_call": f"function_call {NO_TOOLS}",
    "tool_calls": f"tool_calls {NO_TOOLS}",
    "response_format": 'response_format must be {"type": "text"}: the bots write no JSON',
    "modalities": f"modalities must be text: {TEXT_ONLY}",
    "audio": f"audio is not supported: {TEXT_ONLY}",
    "moderation": "moderation is not supported",
    "web_search_options": "web_search_options is not supported: the bots search nothing",
    "reasoning_effort": "reasoning_effort is not supported: the bots do not reason",
    "verbosity": "verbosity is not supported; use max_completion_tokens",
    "store": "store is not supported: answers are not stored",
    "service_tier": "service_tier must be auto or default: there is one tier",
}
SHAPES = {
    "prompt": "prompt must be a string or a list of 1 to 64 strings; token ids are not supported",
    "stop": "stop must be a string of 1 to 100 characters, or a list of at most 8 of them",
    "content": "content must be a string, or a list of parts of the type text",
}
SEEDS = 2**63  # the number of seeds that the engine has
Request = TypeVar("Request", CompletionRequest, ChatRequest)
SAMPLED = ("n", "temperature", "top_p", "top_k", "min_tokens", "seed")


def read_request(model: type[Request], body: dict[str, Any]) -> Request:
    """Parse a decoded body as a request of the class `model`. Raises ApiError (400), which names the invalid field."""
    try:
        request = model.model_validate(body)
    except ValidationError as error:
        raise _invalid(model, error.errors(include_url=False, include_input=False)[0]) from error
    if isinstance(request, CompletionRequest) and request.best_of is not None and request.best_of != (request.n or 1):
        raise ApiError(400, "best_of is supported only when it equals n: the texts are not ranked", param="best_of")
    if isinstance(request, ChatRequest):
        _check_chat(request)
    if request.stream_options and not request.stream:
        raise ApiError(400, "stream_options needs stream: true", param="stream_options")
    return request


def _check_chat(request: ChatRequest) -> None:
    if len({request.max_tokens, request.max_completion_tokens} - {None}) > 1:
        raise ApiError(400, "max_tokens and max_completion_tokens differ; send one of them", param="max_tokens")
    if request.top_logprobs is not None and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")


def _invalid(model: type[CompletionRequest] | type[ChatRequest], error: Any) -> ApiError:  # noqa: ANN401 - pydantic's error
    kind, path = str(error["type"]), _fields(error["loc"])
    name, param = (path[0] if path[0] in UNSUPPORTED else path[-1]), ".".join(path)[:120]
    if kind == "extra_forbidden":
        known = model.model_fields if len(path) == 1 else StreamOptions.model_fields
        return ApiError(400, f"unknown field {param[:80]!r}; {nearest(name, known)}", param=param[:80], code="unknown_parameter")
    if name in UNSUPPORTED:
        return ApiError(400, UNSUPPORTED[name], param=param, code="unsupported_parameter")
    if kind == "missing":
        return ApiError(400, f"{param} is missing", param=param, code="missing_required_parameter")
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return ApiError(400, SHAPES.get(name) or f"{param}: {str(error['msg'])[:200].lower()}", param=param, code=code)


def _fields(location: tuple[int | str, ...]) -> list[str]:
    """Return the names of the fields in the location of pydantic's error, such as messages[0] and content.

    What follows a field in SHAPES is a type that its value could have had, and a place within that.
    """
    path: list[str] = []
    for step in location:
        if path and path[-1] in SHAPES:
            break
        if isinstance(step, int) and path:
            path[-1] += f"[{step}]"
        else:
            path.append(str(step)[:80])
    return path


def generation_request(request: CompletionRequest | ChatRequest) -> GenerationRequest:
    """Return the engine's request; temperature 0 decodes greedily. Raises ApiError (400) and InvalidParameter."""
    settings = {name: value for name in SAMPLED if (value := getattr(request, name)) is not None}
    if request.limit is not None:
        settings["max_tokens"] = max(1, request.limit)  # for no tokens, the answer leaves the one out
    if request.limit == 0 and request.min_tokens:
        raise ApiError(400, f"min_tokens ({request.min_tokens}) is more than max_tokens (0)", param="min_tokens")
    if settings.get("temperature", 1) < MIN_TEMPERATURE:
        settings |= {"temperature": 1.0, "top_k": 1}
    if settings.get("top_p", 1) < MIN_TEMPERATURE:
        settings |= {"top_p": 1.0, "top_k": 1}
    if "seed" in settings:
        settings["seed"] %= SEEDS
    penalty = 1.0 if request.repetition_penalty is None else request.repetition_penalty
    stop = read_stop(request.stop) if request.stop is not None else ()
    sampling = read_sampling(settings)
    return check_limits(
        GenerationRequest(
            request.prompts, sampling, stop, penalty, request.scores, request.scores_prompt, seeded="seed" in settings
        )
    )


@contextmanager
def context_errors(param: str) -> Iterator[None]:
    """Report a prompt that is too long in OpenAI's words and by its code, which clients recognise.

    Args:
        param: the field with the prompt.
    """
    try:
        yield
    except PromptTooLong as error:
        refused = to_api_error(error)
        # LiteLLM looks for the first words, LangChain for the last ones before the colon.
        message = f"This model's maximum context length is exceeded, because the prompt is too long: {refused.message}"
        raise ApiError(refused.status, message, param=param, code=refused.code) from error
