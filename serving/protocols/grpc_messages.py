"""Converts v2 requests and responses between gRPC messages and InferRequest and InferResponse.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from serving.errors import ApiError
from serving.infer_types import InferRequest, InferResponse, InferTensor, RequestedOutput
from serving.protocols.grpc_schema import MESSAGES, message

FRACTIONS = (
    "temperature",
    "top_p",
    "repetition_penalty",
)  # KServe's client has no floating-point parameters; "0.8" as a string is the number
KINDS = tuple(declared.split()[-1] for declared in MESSAGES["InferParameter"])
LENGTH = struct.Struct("<I")  # precedes each element of a raw BYTES tensor, as Triton's clients send it


def address_of(name: str, version: str) -> str:
    """Return the address of the bot that a message names."""
    return f"{name}:{version}" if version else name


def from_message(request: Any) -> InferRequest:  # noqa: ANN401 - a ModelInferRequest
    """Convert a ModelInferRequest. Raises ApiError (400)."""
    tensors = [
        InferTensor(tensor.name, list(tensor.shape), tensor.datatype, _texts(contents), _tensor_parameters(tensor))
        for tensor, contents in zip(request.inputs, _contents(request), strict=True)
    ]
    parameters = {name: _number(value) if name in FRACTIONS else value for name, value in _to_dict(request.parameters).items()}
    outputs = [RequestedOutput(output.name, _to_dict(output.parameters)) for output in request.outputs]
    return InferRequest(tensors, parameters, outputs, request.id)


def _tensor_parameters(tensor: Any) -> dict[str, Any]:  # noqa: ANN401 - an InferInputTensor
    """Return a tensor's parameters without binary_data_size, which clients add for raw contents and which is redundant."""
    return {name: value for name, value in _to_dict(tensor.parameters).items() if name != "binary_data_size"}


def to_message(response_data: InferResponse, raw: bool) -> Any:  # noqa: ANN401 - a ModelInferResponse
    """Convert a response to a ModelInferResponse.

    Args:
        response_data: the response.
        raw: whether texts become raw contents, for requests that used them.
    """
    names = {"id": response_data.id, "model_name": response_data.model_name, "model_version": response_data.model_version}
    response = message("ModelInferResponse")(**names, parameters=_parameters(response_data.parameters))
    for output in response_data.outputs:
        tensor = response.outputs.add(
            name=output.name, datatype=output.datatype, shape=output.shape, parameters=_parameters(output.parameters)
        )
        texts = [text.encode() for text in output.data]
        if raw:
            response.raw_output_contents.append(b"".join(LENGTH.pack(len(text)) + text for text in texts))
        else:
            tensor.contents.bytes_contents.extend(texts)
    return response


def _parameters(values: Mapping[str, int]) -> dict[str, Any]:
    """Convert the parameters of a response, which are all integers."""
    return {name: message("InferParameter")(int64_param=value) for name, value in values.items()}


def _contents(request: Any) -> list[Sequence[bytes]]:  # noqa: ANN401 - a ModelInferRequest
    """Return the elements of each input, from its contents or from the raw contents. Raises ApiError (400)."""
    if not request.raw_input_contents:
        return [tensor.contents.bytes_contents for tensor in request.inputs]
    if len(request.raw_input_contents) != len(request.inputs):
        raise ApiError(400, f"there are {len(request.raw_input_contents)} raw_input_contents for {len(request.inputs)} inputs")
    return [_elements(raw) for raw in request.raw_input_contents]


def _elements(raw: bytes) -> list[bytes]:
    elements, position = [], 0
    while position < len(raw):
        start = position + LENGTH.size
        position = start + LENGTH.unpack_from(raw, position)[0] if start <= len(raw) else len(raw) + 1
        if position > len(raw):
            raise ApiError(
                400, "raw_input_contents ends within an element; each is its length (4 bytes, little-endian) and its bytes"
            )
        elements.append(raw[start:position])
    return elements


def _texts(contents: Sequence[bytes]) -> list[str]:
    try:
        return [text.decode("utf-8") for text in contents]
    except UnicodeDecodeError as error:
        raise ApiError(400, f"a prompt is not valid UTF-8 (byte {error.start})") from error


def _to_dict(parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - a map of InferParameter
    """Convert a map of InferParameter to a dict. Raises ApiError (400) for a parameter without a value of a kind that there is."""
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        kind = value.WhichOneof("parameter_choice")
        if not kind:
            raise ApiError(400, f"the parameter {name[:80]!r} has no value of a known kind; known: {', '.join(KINDS)}")
        values[name] = getattr(value, kind)
    return values


def _number(value: object) -> object:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value  # rejected where parameters are parsed, with its name
