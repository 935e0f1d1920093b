"""The messages and methods of inference.GRPCInferenceService (KServe's v2 over gRPC), without generated code and KServe's SDK.

Names and numbers are those of the protocol and of KServe's model repository extension, as KServe's clients send them
(tests/services/test_grpc.py compares every field; KServe's own InferParameter lacks the protocol's two youngest kinds):
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
"""

from collections.abc import Iterator
from typing import Any

import grpc  # type: ignore[import-untyped] # has no types
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped] # has no types

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)
TENSOR = ("string name", "string datatype", "repeated int64 shape")
# The fields of each message, in the order of their numbers, which start at 1. A.B is nested in A.
MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": ("string name", "string version"),
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name", "string version", "repeated string extensions"),
    "ModelMetadataRequest": ("string name", "string version"),
    "ModelMetadataResponse": (
        "string name",
        "repeated string versions",
        "string platform",
        "repeated ModelMetadataResponse.TensorMetadata inputs",
        "repeated ModelMetadataResponse.TensorMetadata outputs",
    ),
    "ModelMetadataResponse.TensorMetadata": TENSOR,
    "ModelInferRequest": (
        "string model_name",
        "string model_version",
        "string id",
        "parameters",
        "repeated ModelInferRequest.InferInputTensor inputs",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "repeated bytes raw_input_contents",
    ),
    "ModelInferRequest.InferInputTensor": (*TENSOR, "parameters", "InferTensorContents contents"),
    "ModelInferRequest.InferRequestedOutputTensor": ("string name", "parameters"),
    "ModelInferResponse": (
        "string model_name",
        "string model_version",
        "string id",
        "parameters",
        "repeated ModelInferResponse.InferOutputTensor outputs",
        "repeated bytes raw_output_contents",
    ),
    "ModelInferResponse.InferOutputTensor": (*TENSOR, "parameters", "InferTensorContents contents"),
    "InferParameter": (
        "oneof bool bool_param",
        "oneof int64 int64_param",
        "oneof string string_param",
        "oneof double double_param",
        "oneof uint64 uint64_param",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents",
        "repeated int32 int_contents",
        "repeated int64 int64_contents",
        "repeated uint32 uint_contents",
        "repeated uint64 uint64_contents",
        "repeated float fp32_contents",
        "repeated double fp64_contents",
        "repeated bytes bytes_contents",
    ),
    "RepositoryModelLoadRequest": ("string model_name",),
    "RepositoryModelLoadResponse": ("string model_name", "bool isLoaded"),
    "RepositoryModelUnloadRequest": ("string model_name",),
    "RepositoryModelUnloadResponse": ("string model_name", "bool isUnloaded"),
}
_Field = descriptor_pb2.FieldDescriptorProto


def describe() -> descriptor_pb2.FileDescriptorProto:
    """Return MESSAGES as a protobuf file descriptor."""
    file = descriptor_pb2.FileDescriptorProto(name="open_inference_grpc.proto", package=PACKAGE, syntax="proto3")
    described: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in MESSAGES.items():
        outer, _, name = path.rpartition(".")
        message = described[outer].nested_type.add(name=name) if outer else file.message_type.add(name=name)
        described[path] = message
        for number, declared in enumerate(fields, 1):
            _add_field(path, message, number, declared)
    return file


def _add_field(path: str, described: descriptor_pb2.DescriptorProto, number: int, declared: str) -> None:
    """Add a field to a message.

    Args:
        path: the message's name.
        described: the message.
        number: the field's number.
        declared: the field's declaration. "parameters" alone is a map, which protobuf encodes as a list of entry messages.
    """
    if declared == "parameters":
        entry = described.nested_type.add(name="ParametersEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
        _add_field(f"{path}.ParametersEntry", entry, 1, "string key")
        _add_field(f"{path}.ParametersEntry", entry, 2, "InferParameter value")
        declared = f"repeated {path}.ParametersEntry parameters"
    *label, kind, name = declared.split()
    field = described.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if label == ["repeated"]:
        field.label = _Field.LABEL_REPEATED
    if label == ["oneof"]:
        if not described.oneof_decl:
            described.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if kind[0].isupper():
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


# A separate pool: protobuf's default pool rejects a second file with these names, which KServe's SDK registers there.
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(describe())


def message(name: str) -> Any:  # noqa: ANN401 - a class that protobuf creates at run time
    """Return the class of a message, such as ModelInferRequest or ModelInferRequest.InferInputTensor."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def handlers(servicer: object) -> Any:  # noqa: ANN401 - grpc is untyped
    """Return the handler for a gRPC server: each method of the service calls the servicer's method of that name."""
    return grpc.method_handlers_generic_handler(SERVICE, dict(_methods(servicer)))


def _methods(servicer: object) -> Iterator[tuple[str, Any]]:
    for name in METHODS:
        yield (
            name,
            grpc.unary_unary_rpc_method_handler(
                getattr(servicer, name),
                request_deserializer=message(f"{name}Request").FromString,
                response_serializer=message(f"{name}Response").SerializeToString,
            ),
        )
