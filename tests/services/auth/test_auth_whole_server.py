"""Keys, limits and MLflow's signatures at the whole server, in every protocol."""

import socket
import time

import httpx
import pytest

from serving.protocols.webhook import is_signed
from tests.services.auth.auth_keys import after
from tests.services.small_server import whole_server


def signed_by_mlflow(secret):
    """A delivery as MLflow's own sender makes it, to be posted by httpx."""
    from mlflow.webhooks.constants import WEBHOOK_DELIVERY_ID_HEADER, WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER
    from mlflow.webhooks.delivery import _generate_hmac_signature

    body, moment = '{"entity": "model_version_alias", "action": "created"}', str(int(time.time()))
    signature = _generate_hmac_signature(secret, "delivery-1", moment, body)
    headers = {WEBHOOK_DELIVERY_ID_HEADER: "delivery-1", WEBHOOK_TIMESTAMP_HEADER: moment, WEBHOOK_SIGNATURE_HEADER: signature}
    return {"content": body, "headers": headers | {"Content-Type": "application/json"}}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True), ({"body": b"{}"}, False), ({"secret": "other"}, False), ({"secret": ""}, False), ({"later": 301}, False),
        ({"later": -301}, False), ({"x-mlflow-timestamp": "soon"}, False), ({"x-mlflow-timestamp": "9" * 40}, False),
        ({"x-mlflow-signature": ""}, False), ({"x-mlflow-signature": "v1,\xe9"}, False), ({"x-mlflow-delivery-id": "2"}, False),
    ],
)  # fmt: skip
def test_what_mlflow_signed(change, good):
    sent = signed_by_mlflow("s")
    headers = {name.lower(): value for name, value in sent["headers"].items()}
    headers |= {name: value for name, value in change.items() if name.startswith("x-")}
    now = int(sent["headers"]["X-MLflow-Timestamp"]) + change.get("later", 0)
    assert is_signed(headers, change.get("body", sent["content"].encode()), change.get("secret", "s"), now) is good


def check_http(server, key, other, admin):
    """v1 and v2 answer `key` alone, and only `admin` manages."""
    for presented, status in (("", 401), ("mynah_ffffffff_x", 401), (other, 403), (key, 200)):
        headers = {"Authorization": f"Bearer {presented}"} if presented else {}
        assert server.infer("I", headers).status_code == status
        predicted = httpx.post(f"{server.url}/v1/models/wren:predict", json={"instances": ["I"]}, headers=headers, timeout=60)
        assert predicted.status_code == status
        for action in ("load", "unload"):
            managed = httpx.post(f"{server.url}/v2/repository/models/wren/{action}", headers=headers)
            assert managed.status_code == (status, 403)[status == 200]
    assert httpx.post(f"{server.url}/v2/repository/models/wren/load", headers={"X-API-Key": admin}).status_code == 200


def check_openai_client(server, key, other):
    import openai

    for presented, error in ((other, openai.PermissionDeniedError), ("none", openai.AuthenticationError)):
        with (
            openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key=presented, max_retries=0) as client,
            pytest.raises(error),
        ):
            client.completions.create(model="wren", prompt="I")
    with openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key=key, max_retries=0) as client:
        assert client.completions.create(model="wren", prompt="I", max_tokens=3).usage.completion_tokens == 3


def check_metrics(server, metrics_port, key, admin):
    assert "mynah_tokens_total" in httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text  # for who reaches that port
    assert [httpx.get(f"{server.url}/metrics", headers={"X-API-Key": one}).status_code for one in (key, admin)] == [403, 200]


def check_hint(server, key, secret):
    """Hints are taken when MLflow has signed them with `secret`."""
    hint = f"{server.url}/v2/repository/hint"
    assert httpx.post(hint, headers={"X-API-Key": key}).status_code == 403
    assert httpx.post(hint, **signed_by_mlflow(secret)).json() == {"hint": True}
    assert httpx.post(hint, **signed_by_mlflow("another")).status_code == 403


def check_grpc(server, key, other):
    import grpc
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

    with grpc.insecure_channel(server.grpc) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelReady(messages.ModelReadyRequest(name="wrem"), timeout=60)
        assert "wren" not in refused.value.details()
        tensor = messages.ModelInferRequest.InferInputTensor(
            name="prompt", datatype="BYTES", shape=[1], contents=messages.InferTensorContents(bytes_contents=[b"I"])
        )
        asked = messages.ModelInferRequest(model_name="wren", inputs=[tensor])
        for presented, code in (("", grpc.StatusCode.UNAUTHENTICATED), (other, grpc.StatusCode.PERMISSION_DENIED)):
            metadata = [("authorization", f"Bearer {presented}")] if presented else []
            with pytest.raises(grpc.RpcError) as refused:
                stub.ModelInfer(asked, metadata=metadata, timeout=60)
            assert refused.value.code() is code
        assert stub.ModelInfer(asked, metadata=[("authorization", f"Bearer {key}")], timeout=60).model_version == "3"


def test_the_whole_server_asks_for_keys_in_every_protocol(add, key_file, tmp_path, tiny_checkpoint):
    key, other, admin = add("--bot", "w*"), add("--bot", "heron"), add("--admin", tenant="ops")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        metrics_port = listener.getsockname()[1]
    options = ["--keys", str(key_file), "--metrics-port", str(metrics_port)]
    with whole_server(tiny_checkpoint, tmp_path, *options, MYNAH_WEBHOOK_SECRET="s3cret-of-mlflow") as server:
        check_http(server, key, other, admin)
        check_openai_client(server, key, other)
        check_metrics(server, metrics_port, key, admin)
        check_hint(server, key, "s3cret-of-mlflow")
        check_grpc(server, key, other)
        said = server.end()
    for presented in (key, other, admin):
        assert presented.split("_", 2)[2] not in said


def test_the_whole_server_counts_tokens_and_comes_back(add, key_file, tmp_path, tiny_checkpoint):
    key = add("--bot", "wren", "--tokens-per-minute", "300")
    with whole_server(tiny_checkpoint, tmp_path, "--keys", str(key_file)) as server:
        headers = {"Authorization": f"Bearer {key}"}
        answers = []
        while not answers or answers[-1].status_code == 200:
            assert len(answers) < 60
            answers.append(server.infer("I", headers, max_tokens=20))
        assert len(answers) > 10
        after(answers[-1])
        assert server.infer("I", headers).status_code == 200
