"""Reading what a request asks for, in KServe's v1 or v2, into one typed object.

v1: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
v2: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from components.errors import InputError
from components.generation import MOST_SAMPLES, Sampling, fewest_tokens
from components.names import is_unicode
from serving.refusals import Refusal, nearest

MOST_PROMPTS = 64
MOST_STOPS = 8
LONGEST_STOP = 100  # characters
MOST_LOGPROBS = 5  # as OpenAI's completions
PENALTIES = (0.1, 10.0)
SAMPLING = tuple(field.name for field in fields(Sampling))
PARAMETERS = (*SAMPLING, "stop", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class Ask:
    """Prompts to continue, and how; at most 64 prompts and 100 texts. Refuses nonsense when it is built."""

    prompts: tuple[str, ...]
    sampling: Sampling
    stop: tuple[str, ...] = ()  # an answer ends before the first of them
    repetition_penalty: float = 1.0  # CTRL's (Keskar et al. 2019), over prompt and answer; 1: none
    logprobs: int | None = None  # of each token chosen, and of that many likeliest ones; None: of none
    prompt_logprobs: bool = False  # the same of the prompts' own tokens

    def __post_init__(self) -> None:
        _check_stop(self.stop)
        penalty, (low, high) = self.repetition_penalty, PENALTIES
        if isinstance(penalty, bool) or not isinstance(penalty, int | float) or not low <= penalty <= high:
            raise Refusal(400, f"repetition_penalty is {str(penalty)[:40]!r}, and must be a number from {low} to {high}")
        if self.logprobs is not None and (type(self.logprobs) is not int or not 0 <= self.logprobs <= MOST_LOGPROBS):
            raise Refusal(400, f"logprobs is {str(self.logprobs)[:40]!r}, and must be a whole number from 0 to {MOST_LOGPROBS}")
        count = len(self.prompts)
        if not 1 <= count <= MOST_PROMPTS:
            raise Refusal(400, f"a request takes 1 to {MOST_PROMPTS} prompts, and this one has {count}")
        if count * self.sampling.n > MOST_SAMPLES:
            raise Refusal(
                400, f"{count} prompts x n = {self.sampling.n} are {count * self.sampling.n} texts; the most is {MOST_SAMPLES}"
            )


def _check_stop(stop: tuple[object, ...]) -> None:
    if len(stop) > MOST_STOPS:
        raise Refusal(400, f"stop has {len(stop)} strings; the most is {MOST_STOPS}")
    for text in stop:
        if not isinstance(text, str) or not 1 <= len(text) <= LONGEST_STOP:
            raise Refusal(400, f"stop must be strings of 1 to {LONGEST_STOP} characters, and holds {str(text)[:40]!r}")


def from_v1(body: object) -> Ask:
    """Read {"instances": ["My dream is", {"prompt": "…"}, …], "parameters": {…}}. Raises Refusal (400)."""
    if not isinstance(body, dict):
        raise Refusal(400, 'send {"instances": ["My dream is"], "parameters": {"n": 1}}')
    for name in body:
        if name not in ("instances", "parameters"):
            raise Refusal(400, f"unknown field {str(name)[:80]!r}; {nearest(str(name), ('instances', 'parameters'))}")
    instances = body.get("instances")
    if not isinstance(instances, list):
        raise Refusal(400, 'instances must be a list of prompts, such as ["My dream is"]')
    texts = [_prompt_of(instance) for instance in instances]
    return asked(_prompts(texts, "instances"), body.get("parameters"))


def _prompt_of(instance: object) -> object:
    if not isinstance(instance, dict):
        return instance
    if set(instance) != {"prompt"}:
        raise Refusal(400, 'an instance that is an object has one field, "prompt"; parameters stand beside instances')
    return instance["prompt"]


def from_v2(request: Any) -> Ask:  # noqa: ANN401 - KServe's InferRequest, which is untyped
    """Read a v2 request with one input: "prompt", BYTES, of shape [k]. Raises Refusal (400)."""
    parameters = dict(request.parameters or {})
    if parameters.pop("binary_data_output", False):
        raise _no_binary()
    for output in request.request_outputs or ():
        if output.name != "text":
            raise Refusal(400, f"there is no output {output.name[:80]!r}; known: text")
        if output.binary_data:
            raise _no_binary()
    if [tensor.name for tensor in request.inputs] != ["prompt"]:
        raise Refusal(400, 'inputs must be one tensor named "prompt"')
    if request.id and not is_unicode(request.id):
        raise Refusal(400, "the request's id is not Unicode text: it holds half a surrogate pair")
    tensor = request.inputs[0]
    if tensor.datatype != "BYTES":
        raise Refusal(400, f"the input prompt has datatype {tensor.datatype[:20]!r}, and must be BYTES")
    if tensor.parameters:
        raise Refusal(400, "parameters belong to the request, beside inputs, and not to an input")
    prompts = _prompts(tensor.data, "the input prompt's data")
    if tensor.shape not in ([len(prompts)], [len(prompts), 1]):
        raise Refusal(400, f"the input prompt has {len(prompts)} elements, so its shape must be [{len(prompts)}]")
    return asked(prompts, parameters)


def _no_binary() -> Refusal:
    return Refusal(400, "the binary tensor extension is not served; ask for JSON")


def _prompts(values: object, where: str) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise Refusal(400, f"{where} must be a list of strings")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise Refusal(400, f"{where}[{number}] is not a string")
        if not is_unicode(value):
            raise Refusal(400, f"{where}[{number}] is not Unicode text: it holds half a surrogate pair")
    return tuple(values)


def asked(prompts: tuple[str, ...], parameters: object) -> Ask:
    """The Ask for `prompts` with `parameters` (a JSON object or nothing); no seed means a fresh random one.

    Raises Refusal (400) naming the parameter that is unknown, of the wrong type or out of range.
    """
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise Refusal(400, "parameters must be an object")
    for name in parameters:
        if name not in PARAMETERS:
            raise Refusal(400, f"unknown parameter {str(name)[:80]!r}; {nearest(str(name), PARAMETERS)}")
    sampling = read_sampling({name: value for name, value in parameters.items() if name in SAMPLING})
    return Ask(prompts, sampling, read_stop(parameters.get("stop", ())), parameters.get("repetition_penalty", 1.0))


def read_stop(value: object) -> tuple[str, ...]:
    """Stop strings, one or several. Raises Refusal (400)."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise Refusal(400, "stop must be a string or a list of strings")
    return tuple(value)


def read_sampling(values: Mapping[str, Any]) -> Sampling:
    """The Sampling of these fields, the others by default; no seed means a fresh random one. Raises Refusal (400)."""
    values = {"seed": secrets.randbelow(2**32), **values}
    if type(values.get("max_tokens")) is int:
        values.setdefault("min_tokens", fewest_tokens(values["max_tokens"]))
    try:
        sampling = Sampling(**values)
    except InputError as error:
        raise Refusal(400, error.problem) from error
    # JSON writes 2.0 as 2
    return replace(sampling, temperature=float(sampling.temperature), top_p=float(sampling.top_p))
