"""v2 over gRPC: KServe's own client, and a plain stub for what that client would never send."""

import contextlib
import subprocess
import sys
import textwrap

import httpx
import pytest

from serving.auth.api_keys import Limits, new_key
from serving.auth.key_file import add_key


def run(server, body):
    """Run the body of an async function in a process of its own, with `stub`, `pb` and makers of requests; what it printed, by lines."""
    code = f"""
import asyncio, grpc, numpy, sys
sys.argv = sys.argv[:1]
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb, grpc_predict_v2_pb2_grpc as stubs

def request(*prompts, name="wren", version="", **parameters):
    tensor = pb.ModelInferRequest.InferInputTensor(name="prompt", datatype="BYTES", shape=[len(prompts)])
    tensor.contents.bytes_contents.extend(p if isinstance(p, bytes) else p.encode() for p in prompts)
    made = pb.ModelInferRequest(model_name=name, model_version=version, inputs=[tensor])
    for key, value in parameters.items():
        kind = {{bool: "bool_param", int: "int64_param", str: "string_param"}}[type(value)]
        setattr(made.parameters[key], kind, value)
    return made

def raw(*contents):
    made = request("I")
    made.inputs[0].ClearField("contents")
    made.raw_input_contents.extend(contents)
    return made

def numbers():
    tensor = pb.ModelInferRequest.InferInputTensor(name="prompt", datatype="INT32", shape=[1])
    return pb.ModelInferRequest(model_name="wren", inputs=[tensor])

async def refused(call):
    try:
        await call
    except grpc.RpcError as error:
        print(error.code().name, error.details())
    else:
        print("ANSWERED")

async def main():
    async with grpc.aio.insecure_channel({server.grpc!r}) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
{textwrap.indent(textwrap.dedent(body), " " * 8)}
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


COMPARE = """
import sys
sys.argv = sys.argv[:1]
from google.protobuf import descriptor_pb2
from kserve.protocol.grpc import grpc_predict_v2_pb2 as theirs
from serving.protocols.grpc_schema import METHODS, SERVICE, describe

ours, file = describe(), descriptor_pb2.FileDescriptorProto()
theirs.DESCRIPTOR.CopyToProto(file)
assert (SERVICE, list(METHODS)) == (f"{file.package}.{file.service[0].name}", [method.name for method in file.service[0].method])
assert {one.name for one in ours.message_type} == {one.name for one in file.message_type}

def fields(message):
    for field in message.field:
        yield field.name, field.number, field.type, field.type_name, field.label, field.HasField("oneof_index")
    for nested in sorted(message.nested_type, key=lambda one: one.name):
        yield nested.name, nested.options.map_entry, *fields(nested)

found = {one.name: list(fields(one)) for one in ours.message_type}
# The protocol's two youngest kinds of parameters, which KServe 0.21 lacks:
# https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
number = descriptor_pb2.FieldDescriptorProto
young = found["InferParameter"][3:]
assert [one[:3] for one in young] == [("double_param", 4, number.TYPE_DOUBLE), ("uint64_param", 5, number.TYPE_UINT64)], young
found["InferParameter"] = found["InferParameter"][:3]
print(sum(map(len, found.values())))
for one in file.message_type:
    assert found[one.name] == list(fields(one)), one.name
"""


def test_the_messages_are_kserves_field_by_field():
    done = subprocess.run([sys.executable, "-c", COMPARE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_kserves_client(server):
    said = run(
        server,
        f"""
        client = InferenceGRPCClient({server.grpc!r})
        print(await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready("wren"))
        tensor = InferInput("prompt", [2], "BYTES", [b"My dream is", "naïve 🐦".encode()])
        answer = await client.infer(InferRequest("wren", [tensor], request_id="abc", parameters={{"n": 2, "seed": 7, "max_tokens": 12}}))
        print(answer.id, answer.model_name, answer.model_version, answer.outputs[0].shape, answer.parameters["seed"].int64_param)
        print([text.decode() for text in answer.outputs[0].data])
        raw = InferInput("prompt", [2], "BYTES")
        raw.set_data_from_numpy(numpy.array([b"My dream is", "naïve 🐦".encode()], dtype=object))
        answer = await client.infer(InferRequest("wren", [raw], parameters={{"n": 2, "seed": 7, "max_tokens": 12}}))
        print([text.decode() for text in answer.outputs[0].as_numpy()], answer.outputs[0].data)
        await client.close()
        """,
    )
    assert said[0] == "True True True"
    assert said[1] == "abc wren 3 [4] 7"
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [2], "data": ["My dream is", "naïve 🐦"]}
    body = {"inputs": [tensor], "parameters": {"n": 2, "seed": 7, "max_tokens": 12}}
    rest = httpx.post(f"{server.url}/v2/models/wren/infer", json=body).json()
    assert said[2] == str(rest["outputs"][0]["data"])
    assert said[3] == f"{said[2]} []"  # raw for raw, as Triton's clients have it


def test_the_stub(server):
    said = run(
        server,
        """
        about = await stub.ServerMetadata(pb.ServerMetadataRequest())
        print(about.name, list(about.extensions))
        bot = await stub.ModelMetadata(pb.ModelMetadataRequest(name="wren"))
        print(bot.name, list(bot.versions), bot.inputs[0].name, bot.outputs[0].datatype)
        print((await stub.ModelReady(pb.ModelReadyRequest(name="wren", version="3"))).ready)
        call = stub.ModelInfer(request("I", version="3", temperature="0.8", stop="x", repetition_penalty="1.1", max_tokens=4))
        answer = await call
        print(answer.model_version, dict(await call.trailing_metadata())["x-mynah-version"])
        first, second = [await stub.ModelInfer(request("I", seed=3, temperature=t, max_tokens=20)) for t in ("0.5", "0.5")]
        print(first.outputs == second.outputs)
        """,
    )
    assert said == ["mynah ['model_repository_extension']", "wren ['3'] prompt BYTES", "True", "3 wren:3", "True"]


REFUSALS = [
    ('stub.ModelInfer(request("I", name="wrem"))', "NOT_FOUND", "did you mean 'wren'"),
    ('stub.ModelInfer(request("I", version="9"))', "NOT_FOUND", "9"),
    ('stub.ModelInfer(request("I", name="../etc"))', "INVALID_ARGUMENT", "'../etc'"),
    ('stub.ModelMetadata(pb.ModelMetadataRequest(name="wrem"))', "NOT_FOUND", "did you mean 'wren'"),
    ('stub.ModelReady(pb.ModelReadyRequest(name="wrem"))', "NOT_FOUND", "did you mean 'wren'"),
    ('stub.ModelInfer(request("I", n=0))', "INVALID_ARGUMENT", "n is '0'"),
    ('stub.ModelInfer(request("I", temprature="1"))', "INVALID_ARGUMENT", "did you mean 'temperature'"),
    ('stub.ModelInfer(request("I", temperature="nan"))', "INVALID_ARGUMENT", "temperature is 'nan'"),
    ('stub.ModelInfer(request("I", temperature="hot"))', "INVALID_ARGUMENT", "temperature is 'hot'"),
    ('stub.ModelInfer(request("x " * 200))', "INVALID_ARGUMENT", "Shorten"),
    ("stub.ModelInfer(request(bytes([255, 254])))", "INVALID_ARGUMENT", "UTF-8"),
    ("stub.ModelInfer(request())", "INVALID_ARGUMENT", "1 to 64 prompts"),
    ('stub.ModelInfer(request(*["I"] * 65))', "INVALID_ARGUMENT", "1 to 64 prompts"),
    ('stub.ModelInfer(pb.ModelInferRequest(model_name="wren"))', "INVALID_ARGUMENT", 'one tensor named "prompt"'),
    ("stub.ModelInfer(numbers())", "INVALID_ARGUMENT", "must be BYTES"),
    ('stub.ModelInfer(raw(b"x"))', "INVALID_ARGUMENT", "ends within an element"),
    (r'stub.ModelInfer(raw(b"\x05\0\0\0I"))', "INVALID_ARGUMENT", "ends within an element"),
    (r'stub.ModelInfer(raw(b"\xff" * 4))', "INVALID_ARGUMENT", "ends within an element"),
    (r'stub.ModelInfer(raw(*[b"\x01\0\0\0I"] * 2))', "INVALID_ARGUMENT", "2 raw_input_contents for 1 inputs"),
    (r'stub.ModelInfer(raw(b"\x01\0\0\0\xff"))', "INVALID_ARGUMENT", "UTF-8"),
    ('stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="wren"))', "PERMISSION_DENIED", "admin"),
    ('stub.ModelInfer(request("x" * 2**20))', "RESOURCE_EXHAUSTED", "1048576"),
]


def test_refusals_have_the_right_codes_and_no_tracebacks(server):
    calls = [f"await refused({call})" for call, _, _ in REFUSALS]
    said = run(server, "\n".join([*calls, "print((await stub.ServerReady(pb.ServerReadyRequest())).ready)"]))
    assert len(said) == len(REFUSALS) + 1
    for line, (_, code, words) in zip(said, REFUSALS, strict=False):
        assert line.startswith(code + " "), line
        assert words in line
        assert "Traceback" not in line
    assert said[-1] == "True"


def test_who_leaves_or_is_late_is_no_longer_worked_for(start):
    held = 'request("I", n=5, seed=424242, min_tokens=20, max_tokens=40)'
    with start(grpc_port=0) as server:
        said = run(
            server,
            f"""
            call = stub.ModelInfer({held})
            await asyncio.sleep(1)
            call.cancel()
            await refused(stub.ModelInfer({held}, timeout=1))
            """,
        )
        assert said[0].startswith("DEADLINE_EXCEEDED")
        assert (server.holding / "started").exists()
        server.wait_until_idle()
        assert server.stop() == "returned\n"
    assert "Traceback" not in server.log


def test_keys(start, tmp_path):
    key, presented = new_key("ann", ["wren"], False, Limits(), "")
    boss, master = new_key("root", ["*"], True, Limits(), "")
    for one in (key, boss):
        add_key(tmp_path / "keys.json", one)
    with start(grpc_port=0, keys_file=tmp_path / "keys.json") as server:
        said = run(
            server,
            f"""
            mine, root = [("authorization", "Bearer {presented}")], [("authorization", "Bearer {master}")]
            await refused(stub.ModelInfer(request("I")))
            await refused(stub.ModelInfer(request("I"), metadata=[("authorization", "Bearer nonsense")]))
            await refused(stub.ModelInfer(request("I", max_tokens=2), metadata=mine))
            await refused(stub.ModelInfer(request("I", name="heron"), metadata=mine))
            await refused(stub.ModelReady(pb.ModelReadyRequest(name="wren")))
            await refused(stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="wren"), metadata=mine))
            await refused(stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="wren"), metadata=root))
            print((await stub.ModelReady(pb.ModelReadyRequest(name="wren"))).ready)
            await refused(stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="wren"), metadata=root))
            """,
        )
    assert [line.split()[0] for line in said] == [
        "UNAUTHENTICATED", "UNAUTHENTICATED", "ANSWERED", "PERMISSION_DENIED", "ANSWERED", "PERMISSION_DENIED", "ANSWERED", "False",
        "ANSWERED",
    ]  # fmt: skip


def test_draining(start):
    with start(grpc_port=0) as server, contextlib.ExitStack() as stack:
        release, answers = stack.enter_context(server.held_request())
        server.process.terminate()
        while httpx.get(f"{server.url}/v2/health/ready").status_code == 200:
            pass
        said = run(
            server,
            """
            print((await stub.ServerLive(pb.ServerLiveRequest())).live, (await stub.ServerReady(pb.ServerReadyRequest())).ready)
            await refused(stub.ModelInfer(request("I")))
            """,
        )
        release()
        stack.close()
        assert server.ended() == "returned\n"
    assert said[0] == "True False"
    assert said[1].startswith("UNAVAILABLE")
    assert answers[0].status_code == 200


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_whole_range_of_seeds(server, seed):
    assert run(
        server, f'print((await stub.ModelInfer(request("I", seed={seed}, max_tokens=2))).parameters["seed"].int64_param)'
    ) == [str(seed)]
