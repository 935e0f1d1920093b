"""The base model: every way a folder can be wrong, and the hub, faked over real HTTP since it cannot be reached."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mynah.core.errors import InputError
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING_FOLDER, resolve
from tests.http_fake import Answer, HttpFake

COMMIT = "607a30d783dfa663caf39e06633721c8d4cfcd7e"


def spoilt(tiny_checkpoint, tmp_path, what):
    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "config is a list":
        (folder / "config.json").write_text("[]")
    elif what == "config is no JSON":
        (folder / "config.json").write_text("{")
    elif what == "another family":
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    elif what == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif what == "pickled weights":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif what == "truncated weights":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    elif what == "another tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(FLEDGLING_FOLDER / name, folder / name)
    elif what == "tokenizer is noise":
        (folder / "tokenizer.json").write_bytes(os.urandom(300))
    return folder


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no config", "has no config.json"),
        ("config is a list", "config.json is no object"),
        ("config is no JSON", "is not valid JSON"),
        (
            "another family",
            "'mamba', which is not supported\\nUse a model of one of these types: gpt2, llama, qwen2, qwen3, gemma3_text",
        ),
        ("no tokenizer", "has no tokenizer files"),
        ("pickled weights", "no \\*.safetensors weights"),
        ("truncated weights", "cannot be loaded"),
        ("another tokenizer", "does not fit the model"),
        ("tokenizer is noise", "cannot be loaded"),
    ],
)
def test_a_folder_that_is_no_whole_checkpoint(tiny_checkpoint, tmp_path, what, said):
    folder = spoilt(tiny_checkpoint, tmp_path, what)
    with pytest.raises(InputError, match=said):
        checkpoint.load(resolve(str(folder)).folder)


@pytest.mark.parametrize("name", ["/no/such/folder", "../up", "a b", "org/name/more", "", "x" * 200, "-gpt2", "gpt2\n"])
def test_names_that_can_be_nothing(name):
    with pytest.raises(InputError, match="there is no base model"):
        resolve(name)


def test_the_real_gpt2_tokenizer_folder_is_not_an_empty_tokenizer(shared, tiny_checkpoint, tmp_path):
    folder = tmp_path / "gpt2"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(shared / "data/gpt2-tokenizer" / name, folder / name)
    checkpoint.check_folder(folder)
    with pytest.raises(InputError, match="50257 tokens\\) does not fit"):
        checkpoint.load(folder)


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


def reconfigured(tiny_checkpoint, tmp_path, name, **changes):
    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize("tensor", ["transformer.h.0.mlp.c_fc.weight", "transformer.wte.weight", "transformer.ln_f.bias"])
def test_weights_that_lack_a_tensor_are_never_filled_with_noise(tiny_checkpoint, tmp_path, tensor):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    del weights[tensor]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks [12] of its weights"):
        checkpoint.load(folder)


def test_a_config_that_asks_for_more_layers_than_there_are(tiny_checkpoint, tmp_path):
    with pytest.raises(InputError, match="lacks 24 of its weights"):
        checkpoint.load(reconfigured(tiny_checkpoint, tmp_path, "config.json", n_layer=3))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_embd": "x"},
        {"n_embd": -1},
        {"n_positions": "12"},
        {"dtype": "evil"},
        {"vocab_size": 10},
        {"n_head": 5},
        {"eos_token_id": None},
    ],
)
def test_a_config_that_is_nonsense(tiny_checkpoint, tmp_path, changes):
    folder = reconfigured(tiny_checkpoint, tmp_path, "config.json", **changes)
    with pytest.raises(InputError):
        checkpoint.load(folder)


class Bomb:
    """What unpickling would run."""

    def __reduce__(self):
        return (os.mkdir, ("bomb-went-off",))


def test_nothing_is_unpickled_beside_other_safetensors(tiny_checkpoint, tmp_path, monkeypatch):
    import torch
    from safetensors.torch import load_file

    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_checkpoint, "model")
    torch.save(load_file("model/model.safetensors") | {"bomb": Bomb()}, "model/pytorch_model.bin")
    Path("model/model.safetensors").rename("model/adapter.safetensors")
    with pytest.raises(InputError, match=r"no file named model\.safetensors"):
        checkpoint.load(Path("model"))
    torch.save(load_file("model/adapter.safetensors"), "model/pytorch_model.bin")  # harmless, and still a pickle
    with pytest.raises(InputError, match=r"no file named model\.safetensors"):
        checkpoint.load(Path("model"))
    assert not Path("bomb-went-off").exists()


def test_no_code_of_a_model_is_run(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = {"auto_map": {"AutoTokenizer": [None, "evil.Evil"]}, "tokenizer_class": "Evil"}
    folder = reconfigured(tiny_checkpoint, tmp_path, "tokenizer_config.json", **code)
    (folder / "evil.py").write_text("import os\nos.mkdir('evil-was-here')\nclass Evil: pass\n")
    with contextlib.suppress(InputError):  # whether its tokenizer.json is still of use is transformers' to say
        checkpoint.load(folder)
    assert not Path("evil-was-here").exists()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"[" * 100_000])
def test_a_tokenizer_file_that_is_none(tiny_checkpoint, tmp_path, data):
    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "tokenizer.json").write_bytes(data)
    with pytest.raises(InputError, match="cannot be loaded"):
        checkpoint.load(folder)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "modèle", "org/modèle"])
def test_names_that_no_file_system_takes(name):
    with pytest.raises(InputError, match="there is no base model"):
        resolve(name)


@pytest.mark.slow
def test_a_hub_that_breaks_off_gives_a_clear_error_and_no_half_model(hub, tmp_path):
    hub.broken = True
    kind, problem, fix = resolved(hub, tmp_path, "org/wren")
    assert (kind, "'org/wren'" in problem, "fledgling" in fix) == ("PlatformError", True, True)
    hub.broken = False
    assert resolved(hub, tmp_path, "org/wren")[0] == "org/wren"


def test_what_macos_puts_beside_files_is_no_weights(tiny_checkpoint, tmp_path):
    """AppleDouble: on exFAT, SMB and the like, `._NAME` holds the extended attributes of NAME."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "wren"))
    before = resolve(str(folder)).weights_digest
    (folder / "._model.safetensors").write_bytes(b"\0\5\x16\7")
    assert resolve(str(folder)).weights_digest == before
    assert checkpoint.weight_files(folder) == [folder / "model.safetensors"]
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no \*\.safetensors weights"):
        checkpoint.check_folder(folder)
