"""KServe's names, imported safely: `import kserve` parses `sys.argv` as its own, and may print its usage and exit.

Everything of KServe that the server uses comes from here, so that no other module has to know.
"""

import sys

_argv, sys.argv = sys.argv, sys.argv[:1]
try:
    from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelRepository
    from kserve.errors import InvalidInput
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
    from kserve.protocol.infer_type import RequestedOutput
    from kserve.protocol.rest import v2_datamodels
finally:
    sys.argv = _argv

__all__ = [
    "DataPlane",
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "InvalidInput",
    "Model",
    "ModelRepository",
    "RequestedOutput",
    "messages",
    "stubs",
    "v2_datamodels",
]
