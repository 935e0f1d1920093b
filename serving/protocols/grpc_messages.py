"""A v2 request and its answer as gRPC's messages, and as KServe's InferRequest and InferResponse.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md
"""

import struct
from collections.abc import Sequence
from typing import Any

from serving.protocols.kserve_import import InferInput, InferRequest, RequestedOutput
from serving.refusals import Refusal

FRACTIONS = ("temperature", "top_p", "repetition_penalty")  # gRPC's parameters have no fractions: "0.8" is the number here
LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor that is sent raw, as Triton's clients do


def address_of(name: str, version: str) -> str:
    """How the repository names what a message asks for."""
    return f"{name}:{version}" if version else name


def read(request: Any, address: str) -> Any:  # noqa: ANN401 - a ModelInferRequest
    """KServe's InferRequest of a message. Raises Refusal (400)."""
    tensors = [
        InferInput(tensor.name, list(tensor.shape), tensor.datatype, _texts(contents), _told(tensor))
        for tensor, contents in zip(request.inputs, _contents(request), strict=True)
    ]
    parameters = {name: _number(value) if name in FRACTIONS else value for name, value in _plain(request.parameters).items()}
    outputs = [RequestedOutput(output.name, _plain(output.parameters)) for output in request.outputs]
    return InferRequest(address, tensors, request.id or None, parameters=parameters, request_outputs=outputs)


def _told(tensor: Any) -> dict[str, Any]:  # noqa: ANN401 - an InferInputTensor
    """A tensor's parameters, but for the size of raw contents, which clients add to them and their length tells."""
    return {name: value for name, value in _plain(tensor.parameters).items() if name != "binary_data_size"}


def written(answer: Any, raw: bool) -> Any:  # noqa: ANN401 - an InferResponse
    """The ModelInferResponse of an answer, with raw contents for who asked with raw contents."""
    message = answer.to_grpc()
    for output in message.outputs if raw else ():
        texts = output.contents.bytes_contents
        message.raw_output_contents.append(b"".join(LENGTH.pack(len(text)) + text for text in texts))
        output.ClearField("contents")
    return message


def _contents(request: Any) -> list[Sequence[bytes]]:  # noqa: ANN401 - a ModelInferRequest
    """The elements of each input, wherever the message holds them. Raises Refusal (400)."""
    if not request.raw_input_contents:
        return [tensor.contents.bytes_contents for tensor in request.inputs]
    if len(request.raw_input_contents) != len(request.inputs):
        raise Refusal(400, f"there are {len(request.raw_input_contents)} raw_input_contents for {len(request.inputs)} inputs")
    return [_elements(raw) for raw in request.raw_input_contents]


def _elements(raw: bytes) -> list[bytes]:
    found, place = [], 0
    while place < len(raw):
        begin = place + LENGTH.size
        place = begin + LENGTH.unpack_from(raw, place)[0] if begin <= len(raw) else len(raw) + 1
        if place > len(raw):
            raise Refusal(
                400, "raw_input_contents ends within an element; each is its length (4 bytes, little-endian) and its bytes"
            )
        found.append(raw[begin:place])
    return found


def _texts(contents: Sequence[bytes]) -> list[str]:
    try:
        return [text.decode("utf-8") for text in contents]
    except UnicodeDecodeError as error:
        raise Refusal(400, f"a prompt is not valid UTF-8 (byte {error.start})") from error


def _plain(parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - a map of InferParameter
    """Parameters as JSON would have them; one without a value is left out."""
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in parameters.items()}
    return {name: getattr(parameters[name], kind) for name, kind in chosen.items() if kind}


def _number(value: object) -> object:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value  # refused where parameters are read, by name
