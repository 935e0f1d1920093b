"""Requests and responses of OpenAI's chat completions, as far as Mynah supports them.

https://platform.openai.com/docs/api-reference/chat
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mynah.decoding.request import MAX_TOP_LOGPROBS
from serving.errors import ApiError
from serving.protocols.kserve_schemas import LIMITS
from serving.protocols.openai_types import SamplingRequest, Usage

ROLES = ("system", "developer", "user", "assistant")
TOOLS = ("tool", "function")
TEXT_ONLY = "the bots read and write text only"


class TextPart(BaseModel):
    """A part of a message's content. Only text is supported."""

    # Clients mark parts for caches. A part of another type has no text, and gets an error that names the type.
    model_config = ConfigDict(extra="ignore", strict=True, json_schema_extra={"required": ["type", "text"]})

    type: Annotated[str, Field(json_schema_extra={"enum": ["text"]})]
    text: Annotated[str | None, Field(json_schema_extra={"type": "string"})] = None


class Message(BaseModel):
    """A message. The bot continues the last one with the role user; the others are not read."""

    # Clients send the messages of a chat back as they got them, with fields of theirs. Only an assistant's may lack a content.
    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={
            "anyOf": [
                {"properties": {"role": {"const": "assistant"}}},
                {"properties": {"content": {"not": {"type": "null"}}}, "required": ["content"]},
            ]
        },
    )

    role: Annotated[str, Field(json_schema_extra={"enum": list(ROLES)})]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None
    function_call: None = None
    audio: None = None


class ResponseFormat(BaseModel):
    """The form of an answer: text."""

    type: Literal["text"]


class ChatRequest(SamplingRequest):
    """A chat, whose last message of the user is the text to continue."""

    messages: Annotated[list[Message], Field(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    max_tokens: Annotated[int, LIMITS["max_tokens"]] | None = Field(None, description="The default is 160.")
    max_completion_tokens: Annotated[int, LIMITS["max_tokens"]] | None = Field(None, description="The newer name of max_tokens.")
    # Hints that change no answer, and fields of OpenAI's whose values ask for what a bot does anyway.
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    response_format: ResponseFormat | None = None
    modalities: Annotated[list[Literal["text"]], Field(min_length=1)] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    functions: Annotated[list[Any], Field(max_length=0)] | None = None
    function_call: Literal["none", "auto"] | None = None
    reasoning_effort: Literal["none"] | None = None
    verbosity: Literal["medium"] | None = None
    audio: None = None
    moderation: None = None
    web_search_options: None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The text of the last message of the user. Raises ApiError (400) for a message that is not text."""
        texts = [(message.role, _text(message, f"messages[{number}]")) for number, message in enumerate(self.messages)]
        prompt = next((text for role, text in reversed(texts) if role == "user"), None)
        if prompt is None:
            raise ApiError(400, "messages has no message of the role user, which the bot would continue", param="messages")
        return (prompt,)

    @property
    def limit(self) -> int | None:
        """The most tokens per text, or None for the default."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def scores(self) -> int | None:
        """How many of the likeliest tokens are reported with each token; None: no logprobs."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def scores_prompt(self) -> bool:
        """Whether the prompt's tokens are scored: never."""
        return False


def _text(message: Message, where: str) -> str:
    """Return a message's text, or "" for one that is not the user's and whose content is not read. Raises ApiError (400)."""
    if message.role in TOOLS:
        raise ApiError(400, f"{where} has the role {message.role}: tools are not supported", param=f"{where}.role")
    if message.role not in ROLES:
        raise ApiError(400, f"{where} has the role {message.role[:40]!r}; known: {', '.join(ROLES)}", param=f"{where}.role")
    if message.content is None and message.role != "assistant":
        raise ApiError(400, f"{where}.content is missing; send a string", param=f"{where}.content")
    if not isinstance(message.content, list):
        return message.content or ""
    return "".join(_part(part, message.role, f"{where}.content[{number}]") for number, part in enumerate(message.content))


def _part(part: TextPart, role: str, where: str) -> str:
    if part.type == "refusal" and role == "assistant":
        return ""
    if part.type != "text":
        raise ApiError(400, f"{where} is of the type {part.type[:40]!r}, and {TEXT_ONLY}", param=where)
    if part.text is None:
        raise ApiError(400, f"{where} has no text", param=where)
    return part.text


class Answer(BaseModel):
    """What a bot wrote after the user's message."""

    role: Literal["assistant"]
    content: str
    refusal: None


class TopLogprob(BaseModel):
    """A token with its logprob, and its bytes in UTF-8."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprobs(TopLogprob):
    """A token of an answer, and the likeliest ones in its place."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """The logprobs of the answer's tokens."""

    content: list[TokenLogprobs]
    refusal: None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: Answer
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    """The response; `model` is the version that answered, and `seed` reproduces the answers."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    seed: int
    choices: list[ChatChoice]
    usage: Usage
