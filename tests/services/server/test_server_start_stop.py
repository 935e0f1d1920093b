"""How the server starts and stops: signals, requests that outlast them, ports and addresses that cannot be had."""

import errno
import signal
import subprocess
import sys
import time

import httpx
import pytest

from mynah.core.errors import PlatformError
from serving.sockets import address_errors, listening_socket
from tests.services.serving_requests import V1, V2, assert_refused, v2_body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_request_finish(start, number):
    with start(grpc_port=0) as server:
        with server.held_request(n=4) as (release, answers):
            server.process.send_signal(number)
            while httpx.get(server.url + "/v2/health/ready").status_code == 200:
                time.sleep(0.02)
            assert httpx.get(server.url + "/v2/health/live").status_code == 200
            for path, body in ((V1, {"instances": ["I"]}), (V2, v2_body("I"))):
                refused = httpx.post(server.url + path, json=body)
                assert_refused(refused, 503, "stopping")
                assert int(refused.headers["Retry-After"]) > 0
            refused = httpx.post(server.url + "/openai/v1/completions", json={"model": "wren", "prompt": "I"})
            assert (refused.status_code, refused.json()["error"]["type"]) == (503, "server_error")
            assert server.process.poll() is None
            release()
        said = server.ended()
    assert answers[0].status_code == 200
    assert len(answers[0].json()["outputs"][0]["data"]) == 4
    assert server.process.returncode == 0
    assert said == "returned\n"


def test_an_idle_server_stops_at_once(start):
    with start() as server, httpx.Client() as client:
        client.get(server.url + "/v2/health/live")  # and keeps its connection
        assert server.stop(within=10) == "returned\n"
    assert server.process.returncode == 0


def test_a_request_that_outlasts_the_grace_is_given_up(start):
    with start(grace=1.0) as server:
        with server.held_request() as (_, answers):
            assert server.stop() == "returned\n"  # and nobody released the request
        assert server.process.returncode == 0
    assert_refused(answers[0], 503, "stopping")
    assert "Traceback" not in server.log


def test_a_second_signal_ends_it_at_once(start):
    with start(grace=600.0) as server, server.held_request():
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(server.url + "/v2/health/ready").status_code == 200:
            time.sleep(0.02)
        assert server.stop(within=20) == "returned\n"


def test_a_port_in_use(server, tiny_checkpoint):
    port = int(server.url.rsplit(":", 1)[1])
    grpc = int(server.grpc.rsplit(":", 1)[1])
    code = """
from pathlib import Path
from mynah.core.errors import PlatformError
from serving.server import serve
from serving.config import Settings
from serving.models.sources import FolderSource, ServedBot
for settings in (Settings(port={port}), Settings(port=0, grpc_port={grpc})):
    try:
        serve(FolderSource([ServedBot("wren", "1", Path({folder!r}))]), settings)
    except PlatformError as error:
        print(error.problem, error.fix)
"""
    code = code.format(port=port, grpc=grpc, folder=str(tiny_checkpoint))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    http, grpc_said = done.stdout.splitlines()
    assert f"port {port} on 127.0.0.1 is in use" in http
    assert "--port" in http
    assert f"port {grpc} on 127.0.0.1" in grpc_said
    assert "--grpc-port" in grpc_said


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", -1, ["-1 is no port", "--port"]),
        ("127.0.0.1", 65536, ["65536 is no port", "--port"]),
        ("no.such.host.invalid", 0, ["unknown", "--host"]),
        ("192.0.2.1", 0, ["no address of this machine", "--host"]),  # TEST-NET-1, RFC 5737
    ],
)
def test_addresses_that_cannot_be_had(host, port, words):
    with pytest.raises(PlatformError) as raised:
        listening_socket(host, port)
    for word in words:
        assert word in str(raised.value)


def test_a_privileged_port():
    """Raised here by hand: whether port 80 needs privileges is up to the machine."""
    with pytest.raises(PlatformError, match=r"port 80 .* needs privileges\n.*1024.*--port"), address_errors("127.0.0.1", 80):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_bots_that_cannot_be_served(tiny_checkpoint, tmp_path):
    code = f"""
from pathlib import Path
from mynah.core.errors import InputError
from serving.server import serve
from serving.config import Settings
from serving.models.sources import FolderSource, ServedBot
good, none = Path({str(tiny_checkpoint)!r}), Path({str(tmp_path / "none")!r})
makers = [lambda: FolderSource([]), lambda: FolderSource([ServedBot("a", "1", good)] * 2),
          lambda: serve(FolderSource([ServedBot("a", "1", none)]), Settings(port=0)), lambda: ServedBot("../a", "1", good)]
for make in makers:
    try:
        make()
    except InputError as error:
        print(error.problem)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for line, words in zip(done.stdout.splitlines(), ("no bot", "share a name", "no folder", "'../a'"), strict=True):
        assert words in line


def test_importing_the_package_is_light():
    code = "import sys, serving, serving.server; print({'torch', 'kserve', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
