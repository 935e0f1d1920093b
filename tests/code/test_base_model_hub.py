"""A base model from the hub, which is faked over real HTTP since it cannot be reached."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mynah.models import checkpoint
from tests.http_fake import Answer, HttpFake

COMMIT = "607a30d783dfa663caf39e06633721c8d4cfcd7e"


class FakeHub(HttpFake):
    """The hub's routes that a download asks, with its headers. While `broken`, weights break off half-way."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.broken = folder, False

    def respond(self, request):
        path = request.path
        if path.startswith("/api/models/org/wren/tree/"):
            return Answer(
                200,
                [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40} for p in self.folder.iterdir()],
            )
        if path.startswith("/api/models/org/wren/"):
            files = [{"rfilename": p.name} for p in sorted(self.folder.iterdir())]
            return Answer(200, {"id": "org/wren", "sha": COMMIT, "siblings": files, "private": False})
        if path.startswith("/api/models/org/refused"):
            return Answer(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        if path.startswith("/api/models/org/gated"):
            return Answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        file = self.folder / path.rsplit("/", 1)[1]
        if not file.is_file():
            return Answer(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        data = file.read_bytes()
        cut = len(data) - len(data) // 2 if self.broken and "safetensors" in path else 0
        return Answer(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{hash(path) & 0xFFFFFFFF:x}"'}, cut)


@pytest.fixture
def hub(tiny_checkpoint, tmp_path):
    folder = tmp_path / "hub"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "modeling_wren.py").write_text("raise SystemExit('executed')")
    found = FakeHub(folder)
    yield found
    with contextlib.suppress(Exception):
        found.stop()


def resolved(hub, tmp_path, name, **environment):
    """`resolve(name)` in a process of its own (huggingface_hub reads its environment when imported)."""
    code = (
        "import sys\nfrom mynah.core.errors import MynahError\nfrom mynah.models.base_models import resolve\n"
        "try:\n    base = resolve(sys.argv[1])\n    print(base.name, base.revision, base.folder, base.license, sep='\\n')\n"
        "except MynahError as error:\n    print(type(error).__name__, error, sep='\\n')\n"
    )
    surroundings = (
        os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"} | environment
    )
    done = subprocess.run([sys.executable, "-c", code, name], env=surroundings, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def test_a_hub_model_is_downloaded_once_and_then_needs_no_network(hub, tmp_path):
    name, revision, folder, license_id = resolved(hub, tmp_path, "org/wren")
    assert (name, revision) == ("org/wren", COMMIT)
    assert not [path for path in (each.target for each in hub.requests) if "pytorch_model" in path or ".py" in path]
    assert checkpoint.load(Path(folder)).context == 64
    hub.stop()
    assert resolved(hub, tmp_path, "org/wren", HF_HUB_OFFLINE="1") == [name, revision, folder, "unknown"]
    assert license_id == "unknown"


def test_a_name_that_the_hub_does_not_know(hub, tmp_path):
    kind, problem, fix = resolved(hub, tmp_path, "org/wrenn")
    assert kind == "InputError"
    assert "'org/wrenn'" in problem
    assert "--base-model fledgling" in fix


def test_a_model_behind_a_gate(hub, tmp_path):
    kind, problem, fix = resolved(hub, tmp_path, "org/gated")
    assert (kind, "GatedRepoError" in problem, "HF_TOKEN" in fix) == ("InputError", True, True)
    assert "Accept it at https://huggingface.co/org/gated" in fix


def test_the_licence_comes_with_the_model(hub, tmp_path):
    (hub.folder / "README.md").write_text("---\nlicense: cc-by-sa-4.0\n---\n")
    (hub.folder / "LICENSE.txt").write_text("the licence's text")
    *_, folder, license_id = resolved(hub, tmp_path, "org/wren")
    assert (license_id, (Path(folder) / "LICENSE.txt").read_text()) == ("cc-by-sa-4.0", "the licence's text")


def test_a_name_of_the_hub_that_is_nearly_one_of_the_catalogues(hub, tmp_path):
    kind, _, fix = resolved(hub, tmp_path, "Qwen/Qwen3-0.6-Base")
    assert (kind, fix.endswith("Did you mean Qwen/Qwen3-0.6B-Base?")) == ("InputError", True)


def test_a_token_that_the_hub_refuses(hub, tmp_path):
    kind, problem, fix = resolved(hub, tmp_path, "org/refused")
    assert (kind, "'org/refused' (401)" in problem, "HF_TOKEN" in fix) == ("InputError", True, True)


@pytest.mark.slow
def test_a_hub_that_stays_silent_is_not_waited_for(hub, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and never answers
        began = time.monotonic()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        kind, problem, fix = resolved(hub, tmp_path, "org/wren", HF_ENDPOINT=address)
    assert (kind, "'org/wren'" in problem, "fledgling" in fix) == ("PlatformError", True, True)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("offline", ["0", "1"])
def test_no_hub_and_no_cache(hub, tmp_path, offline):
    hub.stop()
    kind, problem, fix = resolved(hub, tmp_path, "gpt2", HF_HUB_OFFLINE=offline)
    assert kind == "PlatformError"
    assert "'gpt2'" in problem
    assert "fledgling" in fix


@pytest.mark.slow
def test_a_hub_that_breaks_off_gives_a_clear_error_and_no_half_model(hub, tmp_path):
    hub.broken = True
    kind, problem, fix = resolved(hub, tmp_path, "org/wren")
    assert (kind, "'org/wren'" in problem, "fledgling" in fix) == ("PlatformError", True, True)
    hub.broken = False
    assert resolved(hub, tmp_path, "org/wren")[0] == "org/wren"
