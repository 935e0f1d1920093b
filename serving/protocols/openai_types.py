"""What OpenAI's completions take and answer, as far as Mynah serves them; the models of the OpenAPI document.

https://platform.openai.com/docs/api-reference/completions
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.engine.ask import MOST_LOGPROBS
from serving.protocols.kserve_schemas import LIMITS, RepetitionPenalty, Stop
from serving.protocols.openapi import ADDRESS
from serving.refusals import Refusal, nearest

# What OpenAI's field means and Mynah does not do, in words for whoever asks for it.
UNSERVED = {
    "suffix": "suffix is not served: the models only write what comes after a prompt",
    "presence_penalty": "presence_penalty is not served; repetition_penalty (extra_body) is",
    "frequency_penalty": "frequency_penalty is not served; repetition_penalty (extra_body) is",
    "logit_bias": "logit_bias is not served: tokens differ from one bot's base model to another's",
}
SHAPES = {
    "prompt": "prompt must be a string or a list of 1 to 64 strings; token ids are not served",
    "stop": "stop must be a string of 1 to 100 characters, or a list of at most 8 of them",
}
Prompts = Annotated[list[str], Field(min_length=1, max_length=64)]


class StreamOptions(BaseModel):
    """With include_usage, a last event counts the tokens."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """A prompt to continue, or several. Token ids as prompts are not served."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(
        max_length=200,
        description="A bot's address: wren, wren@challenger or wren:3.",
        json_schema_extra={"pattern": ADDRESS},  # what else is there is answered 404, with the nearest name
    )
    prompt: str | Prompts
    n: Annotated[int, LIMITS["n"]] | None = Field(None, description="Texts per prompt (1); prompts x n is at most 100.")
    best_of: int | None = Field(None, ge=1, description="Served only when it equals n.")
    echo: bool | None = Field(None, description="Whether texts begin with their prompt, and logprobs with those of its tokens.")
    stream: bool | None = Field(None, description="Send the text token by token, as server-sent events that end with [DONE].")
    stream_options: StreamOptions | None = None
    stop: Stop | None = None
    logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)
    max_tokens: Annotated[int, LIMITS["max_tokens"]] | None = Field(
        None, description="160 where it is left out, where OpenAI's is 16."
    )
    min_tokens: Annotated[int, LIMITS["min_tokens"]] | None = Field(
        None, description="10 where it is left out, or max_tokens if that is less."
    )
    temperature: float | None = Field(None, ge=0, le=10, description="1 where it is left out; 0: greedy.")
    top_p: float | None = Field(None, ge=0, le=1, description="0.95 where it is left out.")
    top_k: Annotated[int, LIMITS["top_k"]] | None = Field(None)
    repetition_penalty: RepetitionPenalty | None = None
    seed: Annotated[int, LIMITS["seed"]] | None = Field(None)
    user: str | None = Field(None, description="One user gets one of two versions, where traffic is split between them.")
    suffix: Literal[""] | None = None
    presence_penalty: float | None = Field(None, ge=0, le=0)
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts, however many."""
        return (self.prompt,) if isinstance(self.prompt, str) else tuple(self.prompt)

    @property
    def usage_in_stream(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


def read_request(body: dict[str, Any]) -> CompletionRequest:
    """The request in a decoded body. Raises Refusal (400) naming the field."""
    try:
        request = CompletionRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        raise Refusal(400, _said(name, first["type"], first["msg"], first["loc"]), param=name[:80]) from error
    if request.best_of is not None and request.best_of != (request.n or 1):
        raise Refusal(400, "best_of is served only when it equals n: the texts are not ranked", param="best_of")
    if request.stream_options and not request.stream:
        raise Refusal(400, "stream_options needs stream: true", param="stream_options")
    return request


def _said(name: str, kind: str, message: str, path: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden" and len(path) == 1:
        return f"unknown field {name[:80]!r}; {nearest(name, CompletionRequest.model_fields)}"
    if name in UNSERVED:
        return UNSERVED[name]
    if name in SHAPES:
        return SHAPES[name]
    if kind == "missing":
        return f"{name} is missing"
    return f"{name}: {message[:200].lower()}"


class Logprobs(BaseModel):
    """For each token: where it begins in the text, its logprob, and those of the likeliest."""

    text_offset: list[int]
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]


class Choice(BaseModel):
    """One text; prompt p's sample s has the index p x n + s."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """The answer; `model` is the version that gave it, and `seed` the one to ask again with."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    seed: int
    choices: list[Choice]
    usage: Usage | None


class ModelCard(BaseModel):
    """A bot as OpenAI lists models."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The bots."""

    object: Literal["list"]
    data: list[ModelCard]


class OpenAIError(BaseModel):
    """What is wrong, which field is meant, and OpenAI's word for the kind."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIProblem(BaseModel):
    """A refusal in OpenAI's shape."""

    error: OpenAIError
