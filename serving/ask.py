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
PARAMETERS = tuple(field.name for field in fields(Sampling))


@dataclass(frozen=True, slots=True)
class Ask:
    """Prompts to continue, and how; at most 64 prompts and 100 texts. Refuses nonsense when it is built."""

    prompts: tuple[str, ...]
    sampling: Sampling

    def __post_init__(self) -> None:
        count = len(self.prompts)
        if not 1 <= count <= MOST_PROMPTS:
            raise Refusal(400, f"a request takes 1 to {MOST_PROMPTS} prompts, and this one has {count}")
        if count * self.sampling.n > MOST_SAMPLES:
            raise Refusal(
                400, f"{count} prompts x n = {self.sampling.n} are {count * self.sampling.n} texts; the most is {MOST_SAMPLES}"
            )


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
    return Ask(_prompts(texts, "instances"), read_sampling(body.get("parameters")))


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
    return Ask(prompts, read_sampling(parameters))


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


def read_sampling(parameters: object) -> Sampling:
    """Build the Sampling that `parameters` (a JSON object or nothing) ask for; no seed means a fresh random one.

    Raises Refusal (400) naming the parameter that is unknown, of the wrong type or out of range.
    """
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise Refusal(400, "parameters must be an object")
    for name in parameters:
        if name not in PARAMETERS:
            raise Refusal(400, f"unknown parameter {str(name)[:80]!r}; {nearest(str(name), PARAMETERS)}")
    values = {"seed": secrets.randbelow(2**32), **parameters}
    if type(values.get("max_tokens")) is int:
        values.setdefault("min_tokens", fewest_tokens(values["max_tokens"]))
    try:
        sampling = Sampling(**values)
    except InputError as error:
        raise Refusal(400, error.problem) from error
    # JSON writes 2.0 as 2, and transformers refuses a temperature that is an int.
    return replace(sampling, temperature=float(sampling.temperature), top_p=float(sampling.top_p))
