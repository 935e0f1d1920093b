"""The bodies of v1 and v2: InferBody validates v2 requests; the others are for the OpenAPI document.

`mynah.decoding.request` and `serving.engine.request` parse them and report errors.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from mynah.models.sampling import RANGES
from serving.infer_types import InferRequest, InferTensor, RequestedOutput

LIMITS = {name: Field(ge=low, le=high) for name, low, high in RANGES}
StopString = Annotated[str, Field(min_length=1, max_length=100)]
Stop = Annotated[
    StopString | Annotated[list[StopString], Field(max_length=8)],
    Field(description="The answer ends before the first of these."),
]
RepetitionPenalty = Annotated[
    float, Field(ge=0.1, le=10, description="Above 1: tokens of prompt and answer become less likely to repeat.")
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


Parameters = dict[str, StrictFloat | StrictInt | StrictBool | str]


class InferInput(BaseModel):
    """An input tensor of a v2 request."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any]


class InferOutput(BaseModel):
    """An output that a v2 request names."""

    name: str
    parameters: Parameters | None = None


class InferBody(BaseModel):
    """A v2 request of the protocol, except that parameters can hold a list, for `stop`."""

    model_config = ConfigDict(strict=True)

    id: str | None = None
    parameters: dict[str, float | int | bool | str | list[str]] | None = None
    inputs: list[InferInput]
    outputs: list[InferOutput] | None = None

    def request(self) -> InferRequest:
        """Return the request in its protocol-independent form."""
        inputs = [InferTensor(one.name, one.shape, one.datatype, one.data, one.parameters or {}) for one in self.inputs]
        outputs = [RequestedOutput(one.name, one.parameters or {}) for one in self.outputs or ()]
        return InferRequest(inputs, self.parameters or {}, outputs, self.id or "")


class SamplingParameters(_Strict):
    """Sampling parameters. Defaults are those of huggingtweets' demo; without a seed every answer differs."""

    n: Annotated[int, LIMITS["n"]] = Field(1, description="Texts per prompt; prompts x n is at most 100.")
    temperature: Annotated[float, LIMITS["temperature"]] = Field(1.0)
    top_p: Annotated[float, LIMITS["top_p"]] = Field(0.95)
    top_k: Annotated[int, LIMITS["top_k"]] = Field(0, description="0: no limit.")
    min_tokens: Annotated[int, LIMITS["min_tokens"]] = Field(
        10, description="At most max_tokens; a lower max_tokens alone lowers it too."
    )
    max_tokens: Annotated[int, LIMITS["max_tokens"]] = Field(160)
    seed: Annotated[int, LIMITS["seed"]] = Field(
        0, description="The same seed gives the same text, independent of concurrent requests."
    )
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
    """The seed with which the same request gives the same answer."""

    seed: int


class PredictResponse(BaseModel):
    """v1: the n texts of each instance; each starts with the prompt."""

    predictions: list[list[str]]
    parameters: SeedUsed


PromptList = Annotated[list[str], Field(min_length=1, max_length=64)]
NestedPrompts = Annotated[list[Annotated[list[str], Field(min_length=1, max_length=1)]], Field(min_length=1, max_length=64)]


class PromptTensor(_Strict):
    """v2: the input. Its shape is [k] or [k, 1] for k prompts; data of the latter may be nested."""

    name: Literal["prompt"]
    datatype: Literal["BYTES"]
    shape: list[int] = Field(min_length=1, max_length=2)
    data: PromptList | NestedPrompts


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
    """The number of texts per prompt."""

    n: int


class TextTensor(BaseModel):
    """v2: the texts, prompt by prompt; each starts with its prompt."""

    name: Literal["text"]
    datatype: Literal["BYTES"]
    shape: list[int]
    parameters: TextsPerPrompt
    data: list[str]


class InferResponseBody(BaseModel):
    """v2: the response, with the version that answered."""

    id: str
    model_name: str
    model_version: str
    outputs: list[TextTensor]
    parameters: SeedUsed


class TensorMetadata(BaseModel):
    """An input or output tensor of a bot; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadataResponse(BaseModel):
    """v2: a bot and its versions that are served."""

    name: str
    versions: list[str] | None = None
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReadyResponse(BaseModel):
    """v2: whether a bot is in memory."""

    name: str
    ready: bool


class ListModelsResponse(BaseModel):
    """The bots that the caller can query."""

    models: list[str]


class ModelEntry(BaseModel):
    """A bot in OpenAI's list of models."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ListModelsV1(ListModelsResponse):
    """v1: the bots that the caller can query, by KServe's names and by OpenAI's."""

    object: Literal["list"]
    data: list[ModelEntry]


class ServerMetadataResponse(BaseModel):
    """v2: the server's metadata."""

    name: str
    version: str
    extensions: list[str]


class ServerLiveResponse(BaseModel):
    """v2: the process is alive."""

    live: bool


class ServerReadyResponse(BaseModel):
    """v2: the server accepts requests."""

    ready: bool


class Problem(BaseModel):
    """An error: its cause and the fix."""

    error: str


class ReadyV1(BaseModel):
    """v1: whether a bot is in memory."""

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
    """The server reads the registry's aliases now."""

    hint: bool
