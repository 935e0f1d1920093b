"""A request and response of KServe's v2 protocol, independent of HTTP and gRPC.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class InferTensor:
    """A tensor of a request or a response."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output tensor that a request names."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """An inference request; `id` is "" where the client sent none."""

    inputs: list[InferTensor]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: list[RequestedOutput] = field(default_factory=list)
    id: str = ""


@dataclass(frozen=True, slots=True)
class InferResponse:
    """An inference response, with the name and version of the bot that answered."""

    id: str
    model_name: str
    model_version: str
    outputs: list[InferTensor]
    parameters: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the body of the response over HTTP."""
        outputs = [
            {
                "name": output.name,
                "shape": output.shape,
                "datatype": output.datatype,
                "parameters": output.parameters,
                "data": output.data,
            }
            for output in self.outputs
        ]
        return {
            "id": self.id,
            "model_name": self.model_name,
            "model_version": self.model_version,
            "outputs": outputs,
            "parameters": self.parameters,
        }
