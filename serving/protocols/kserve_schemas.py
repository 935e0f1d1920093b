"""What v1 and v2 bodies look like, for the OpenAPI document; `serving.engine.ask` is what reads them, and words what is wrong."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.generation import RANGES

LIMITS = {name: Field(ge=low, le=high) for name, low, high in RANGES}
StopString = Annotated[str, Field(min_length=1, max_length=100)]
Stop = Annotated[
    StopString | Annotated[list[StopString], Field(max_length=8)],
    Field(description="The answer ends before the first of these."),
]
RepetitionPenalty = Annotated[
    float, Field(ge=0.1, le=10, description="Over 1: tokens of prompt and answer become less likely again.")
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SamplingParameters(_Strict):
    """How to sample. What is left out has the default of the bot's demo; without a seed every answer is another one."""

    n: Annotated[int, LIMITS["n"]] = Field(1, description="Texts per prompt; prompts x n is at most 100.")
    temperature: Annotated[float, LIMITS["temperature"]] = Field(1.0)
    top_p: Annotated[float, LIMITS["top_p"]] = Field(0.95)
    top_k: Annotated[int, LIMITS["top_k"]] = Field(0, description="0: no limit.")
    min_tokens: Annotated[int, LIMITS["min_tokens"]] = Field(
        10, description="At most max_tokens, which lowers it when it stands alone."
    )
    max_tokens: Annotated[int, LIMITS["max_tokens"]] = Field(160)
    seed: Annotated[int, LIMITS["seed"]] = Field(0, description="The same seed gives the same text, whatever runs beside it.")
    stop: Stop = Field([])
    repetition_penalty: RepetitionPenalty = 1.0


class Instance(_Strict):
    """A prompt as an object."""

    prompt: str


class PredictRequest(_Strict):
    """v1: prompts to continue."""

    instances: list[str | Instance] = Field(min_length=1, max_length=64)
    parameters: SamplingParameters | None = None


class SeedUsed(BaseModel):
    """With which seed the same request gives the same answer."""

    seed: int


class PredictResponse(BaseModel):
    """v1: for each instance its n texts, each of which begins with the prompt."""

    predictions: list[list[str]]
    parameters: SeedUsed


class PromptTensor(_Strict):
    """v2: the one input. Its shape is [k] or [k, 1], where k is how many prompts `data` has."""

    name: Literal["prompt"]
    datatype: Literal["BYTES"]
    shape: list[int] = Field(min_length=1, max_length=2)
    data: list[str] = Field(min_length=1, max_length=64)


class NamedOutput(_Strict):
    """v2: the one output there is."""

    name: Literal["text"]


class InferRequestBody(BaseModel):
    """v2: prompts to continue. `stop` is a string or a list of them, and no other parameter is a list."""

    id: str | None = None
    inputs: list[PromptTensor] = Field(min_length=1, max_length=1)
    outputs: list[NamedOutput] | None = None
    parameters: SamplingParameters | None = None


class TextsPerPrompt(BaseModel):
    """How many texts each prompt got."""

    n: int


class TextTensor(BaseModel):
    """v2: the texts, prompt by prompt; each begins with its prompt."""

    name: Literal["text"]
    datatype: Literal["BYTES"]
    shape: list[int]
    parameters: TextsPerPrompt
    data: list[str]


class InferResponseBody(BaseModel):
    """v2: the answer, and the version that gave it."""

    id: str
    model_name: str
    model_version: str
    outputs: list[TextTensor]
    parameters: SeedUsed


class Problem(BaseModel):
    """What is wrong, and what to do about it."""

    error: str


class ReadyV1(BaseModel):
    """v1: a bot that can answer at once."""

    name: str
    ready: bool


class Loaded(BaseModel):
    """A bot was loaded."""

    name: str
    load: bool


class Unloaded(BaseModel):
    """A bot was unloaded."""

    name: str
    unload: bool


class Hinted(BaseModel):
    """The aliases are looked at now."""

    hint: bool
