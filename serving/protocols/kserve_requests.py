"""Parses generation requests of KServe's protocols v1 and v2."""

from collections.abc import Mapping

from mynah.core.names import is_unicode
from mynah.decoding.request import GenerationRequest
from serving.engine.request import PARAMETERS, SAMPLING, check_limits, read_sampling, read_stop
from serving.errors import ApiError, nearest
from serving.infer_types import InferRequest, RequestedOutput


def from_v1(body: object) -> GenerationRequest:
    """Parse {"instances": ["My dream is", {"prompt": "…"}, …], "parameters": {…}}. Raises ApiError (400) or InvalidParameter."""
    if not isinstance(body, dict):
        raise ApiError(400, 'send {"instances": ["My dream is"], "parameters": {"n": 1}}')
    for name in body:
        if name not in ("instances", "parameters"):
            raise ApiError(400, f"unknown field {str(name)[:80]!r}; {nearest(str(name), ('instances', 'parameters'))}")
    instances = body.get("instances")
    if not isinstance(instances, list):
        raise ApiError(400, 'instances must be a list of prompts, such as ["My dream is"]')
    texts = [_prompt_of(instance) for instance in instances]
    return parse_parameters(_prompts(texts, "instances"), body.get("parameters"))


def _prompt_of(instance: object) -> object:
    if not isinstance(instance, dict):
        return instance
    if set(instance) != {"prompt"}:
        raise ApiError(400, 'an instance that is an object has one field, "prompt"; parameters go next to instances')
    return instance["prompt"]


def from_v2(request: InferRequest) -> GenerationRequest:
    """Parse a v2 request with one input: "prompt", BYTES, of shape [k] or [k, 1]. Raises ApiError (400) or InvalidParameter."""
    parameters = dict(request.parameters)
    if parameters.pop("binary_data_output", False):
        raise _no_binary()
    for output in request.outputs:
        _check_output(output)
    if [tensor.name for tensor in request.inputs] != ["prompt"]:
        raise ApiError(400, 'inputs must be one tensor named "prompt"')
    if not is_unicode(request.id):
        raise ApiError(400, "the request's id is not Unicode text: it holds half a surrogate pair")
    tensor = request.inputs[0]
    if tensor.datatype != "BYTES":
        raise ApiError(400, f"the input prompt has datatype {tensor.datatype[:20]!r}, and must be BYTES")
    if tensor.parameters:
        raise ApiError(400, "parameters belong to the request, next to inputs, not to an input")
    prompts = _prompts(_flat(tensor.data) if len(tensor.shape) == 2 else tensor.data, "the input prompt's data")
    if tensor.shape not in ([len(prompts)], [len(prompts), 1]):
        raise ApiError(400, f"the input prompt has {len(prompts)} elements, so its shape must be [{len(prompts)}]")
    return parse_parameters(prompts, parameters)


def _flat(data: list[object]) -> list[object]:
    """Return the elements of a tensor of the shape [k, 1], whose data may be flat or nested. Raises ApiError (400)."""
    if not any(isinstance(row, list) for row in data):
        return data
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != 1:
            raise ApiError(400, f"the input prompt's data[{number}] is not a list of one string, as in every other row")
    return [row[0] for row in data if isinstance(row, list)]


def _check_output(output: RequestedOutput) -> None:
    if output.name != "text":
        raise ApiError(400, f"there is no output {output.name[:80]!r}; known: text")
    if output.parameters.get("binary_data"):
        raise _no_binary()
    for name in output.parameters:
        if name != "binary_data":
            raise ApiError(400, f"the output text has the unknown parameter {name[:80]!r}; known: binary_data")


def _no_binary() -> ApiError:
    return ApiError(400, "the binary tensor extension is not supported; use JSON")


def _prompts(values: object, where: str) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ApiError(400, f"{where} must be a list of strings")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise ApiError(400, f"{where}[{number}] is not a string")
        if not is_unicode(value):
            raise ApiError(400, f"{where}[{number}] is not Unicode text: it holds half a surrogate pair")
    return tuple(values)


def parse_parameters(prompts: tuple[str, ...], parameters: object) -> GenerationRequest:
    """Return the generation request for prompts with parameters.

    Args:
        prompts: the prompts to continue.
        parameters: a JSON object or None; without a seed, a random one is chosen.

    Raises:
        ApiError: (400) a parameter is unknown, or the parameters are not an object.
        InvalidParameter: a value has the wrong type or is out of range; the message names the parameter.
    """
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise ApiError(400, "parameters must be an object")
    for name in parameters:
        if name not in PARAMETERS:
            raise ApiError(400, f"unknown parameter {str(name)[:80]!r}; {nearest(str(name), PARAMETERS)}")
    sampling = read_sampling({name: value for name, value in parameters.items() if name in SAMPLING})
    stop, penalty = read_stop(parameters.get("stop", ())), parameters.get("repetition_penalty", 1.0)
    return check_limits(GenerationRequest(prompts, sampling, stop, penalty, seeded="seed" in parameters))
