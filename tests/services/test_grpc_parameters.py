"""Parameters of every kind over gRPC, as Triton's client sends them (KServe's messages lack two of them), and its pings."""

import time

import grpc
import httpx
import pytest

from serving.protocols.grpc_schema import SERVICE, message

PROMPT = {"name": "prompt", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"My dream is"]}}
KINDS = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}


def ask(channel, parameters, output=None):
    """Infer with parameters: Python values, or messages of InferParameter. The text; or the code and the words of the error."""
    values = {
        name: value if hasattr(value, "WhichOneof") else message("InferParameter")(**{KINDS[type(value)]: value})
        for name, value in parameters.items()
    }
    outputs = [{"name": "text", "parameters": {name: message("InferParameter")(int64_param=1) for name in output or ()}}]
    asked = message("ModelInferRequest")(model_name="wren", inputs=[PROMPT], parameters=values, outputs=outputs)
    infer = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=message("ModelInferResponse").FromString,
    )
    try:
        return infer(asked, timeout=60).outputs[0].contents.bytes_contents[0].decode()
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"


def over_http(server, **parameters):
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["My dream is"]}
    body = {"inputs": [tensor], "parameters": parameters}
    return httpx.post(f"{server.url}/v2/models/wren/infer", json=body).json()["outputs"][0]["data"][0]


def test_parameters_of_every_kind_mean_what_they_mean_over_http(server):
    young = message("InferParameter")
    with grpc.insecure_channel(server.grpc) as channel:
        for parameters in (
            {"temperature": 0.05}, {"temperature": 9.0}, {"top_p": 0.5}, {"repetition_penalty": 1.5}, {"top_k": 3}, {"stop": "e"},
        ):  # fmt: skip
            asked = {"seed": 1, "max_tokens": 20} | parameters
            assert ask(channel, asked) == over_http(server, **asked), parameters
            assert ask(channel, asked) != ask(channel, {"seed": 1, "max_tokens": 20}) or "stop" in parameters
        whole = {"seed": young(uint64_param=1), "max_tokens": young(uint64_param=20)}
        assert ask(channel, whole) == over_http(server, seed=1, max_tokens=20)
        assert ask(channel, {"temperature": young(uint64_param=2), **whole}) == over_http(
            server, seed=1, max_tokens=20, temperature=2
        )


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"temperature": 99.0}, "temperature is '99.0'"),
        ({"temperature": float("nan")}, "temperature is 'nan'"),
        ({"temperature": True}, "temperature is 'True'"),
        ({"tempratur": 0.5}, "did you mean 'temperature'"),
        ({"priority": 3}, "unknown parameter 'priority'"),
        ({"max_tokens": 5.5}, "max_tokens is '5.5'"),
        ({"seed": message("InferParameter")(uint64_param=2**64 - 1)}, "seed is '18446744073709551615'"),
        ({"temperature": message("InferParameter")()}, "'temperature' has no value of a known kind"),
        ({"tempratur": message("InferParameter")()}, "'tempratur' has no value"),
        # A kind that a later protocol may have: its field 6 is unknown here.
        ({"temperature": message("InferParameter").FromString(b"\x31" + bytes(8))}, "'temperature' has no value"),
    ],
)
def test_no_parameter_is_dropped_without_a_word(server, parameters, words):
    with grpc.insecure_channel(server.grpc) as channel:
        refused = ask(channel, {"max_tokens": 5, **parameters})
    assert refused.startswith("INVALID_ARGUMENT")
    assert words in refused


def test_an_outputs_parameters_are_not_dropped_either(server):
    with grpc.insecure_channel(server.grpc) as channel:
        assert "'classification'" in ask(channel, {"max_tokens": 5}, output=["classification"])


def test_clients_may_ping_as_often_as_they_like(server):
    """gRPC's own server disconnects a client at its third ping within five minutes: ENHANCE_YOUR_CALM, too_many_pings."""
    often = [
        ("grpc.keepalive_time_ms", 20), ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_time_between_pings_ms", 10), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1),
    ]  # fmt: skip
    states = []
    with grpc.insecure_channel(server.grpc, options=often) as channel:
        channel.subscribe(states.append)
        assert ask(channel, {"max_tokens": 5}).startswith("My dream is")
        time.sleep(0.6)
        assert ask(channel, {"max_tokens": 5}).startswith("My dream is")
    assert states.count(grpc.ChannelConnectivity.READY) == 1
    assert grpc.ChannelConnectivity.TRANSIENT_FAILURE not in states
