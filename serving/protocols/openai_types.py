"""Requests and responses of OpenAI's completions, as far as Mynah supports them; `openai_chat_types` has those of the chat.

https://platform.openai.com/docs/api-reference/completions
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mynah.decoding.request import MAX_LOGPROBS
from mynah.models.sampling import RANGES
from serving.protocols.kserve_schemas import LIMITS, ModelEntry, RepetitionPenalty, Stop
from serving.protocols.openapi import ADDRESS

[MAX_TOKENS] = [high for name, _, high in RANGES if name == "max_tokens"]
MIN_SEED, MAX_SEED = -(2**63), 2**63 - 1  # OpenAI's seeds are integers of 64 bits
Prompts = Annotated[list[str], Field(min_length=1, max_length=64)]


class StreamOptions(BaseModel):
    """Options of a stream: with include_usage a last event counts the tokens, with include_obfuscation events have equal sizes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(None, description="The default is false; OpenAI's is true.")


class SamplingRequest(BaseModel):
    """What requests for completions and for chat completions share."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(
        max_length=300,
        description="A bot's address: wren, wren@challenger or wren:3.",
        json_schema_extra={"pattern": ADDRESS},  # other names are answered 404, with the nearest name
    )
    n: Annotated[int, LIMITS["n"]] | None = Field(None, description="Texts per prompt (1); prompts x n is at most 100.")
    stream: bool | None = Field(None, description="Send the text token by token, as server-sent events that end with [DONE].")
    stream_options: StreamOptions | None = None
    stop: Stop | None = None
    min_tokens: Annotated[int, LIMITS["min_tokens"]] | None = Field(
        None, description="The default is 10, or max_tokens if that is less."
    )
    temperature: float | None = Field(None, ge=0, le=10, description="The default is 1; 0 is greedy.")
    top_p: float | None = Field(None, ge=0, le=1, description="The default is 0.95.")
    top_k: Annotated[int, LIMITS["top_k"]] | None = Field(None)
    repetition_penalty: RepetitionPenalty | None = None
    seed: int | None = Field(None, ge=MIN_SEED, le=MAX_SEED, description="A negative one is taken modulo 2^63.")
    user: str | None = Field(
        None, description="While traffic is split between two versions, the same one answers all requests of a user."
    )
    presence_penalty: float | None = Field(None, ge=0, le=0)
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None


class CompletionRequest(SamplingRequest):
    """One or several prompts to continue; null is the beginning of a post. Token ids as prompts are not supported."""

    prompt: str | Prompts | None
    best_of: int | None = Field(None, ge=1, description="Supported only when it equals n.")
    echo: bool | None = Field(None, description="Whether texts begin with their prompt, and logprobs with those of its tokens.")
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    max_tokens: int | None = Field(
        None,
        ge=0,
        le=MAX_TOKENS,
        description="The default is 160; OpenAI's is 16. 0 generates nothing: with echo it scores a text.",
    )
    suffix: Literal[""] | None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts as a tuple."""
        return tuple(self.prompt) if isinstance(self.prompt, list) else (self.prompt or "",)

    @property
    def limit(self) -> int | None:
        """The most tokens per text, or None for the default."""
        return self.max_tokens

    @property
    def scores(self) -> int | None:
        """How many of the likeliest tokens are reported with each token; None: no logprobs."""
        return self.logprobs

    @property
    def scores_prompt(self) -> bool:
        """Whether the prompt's tokens are scored."""
        return bool(self.echo) and self.logprobs is not None


class Logprobs(BaseModel):
    """For each token: its offset in the text, its logprob, and those of the likeliest tokens and of itself."""

    text_offset: list[int]
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]


class Choice(BaseModel):
    """One text; sample s of prompt p has the index p x n + s."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Usage(BaseModel):
    """The number of prompt tokens and generated tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """The response; `model` is the version that answered, and `seed` reproduces the texts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    seed: int
    choices: list[Choice]
    usage: Usage | None


class ModelList(BaseModel):
    """The bots."""

    object: Literal["list"]
    data: list[ModelEntry]


class OpenAIError(BaseModel):
    """An error: message, OpenAI's error type, and the invalid field."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIProblem(BaseModel):
    """An error response in OpenAI's format."""

    error: OpenAIError
