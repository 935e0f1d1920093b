"""The base model: every way a folder can be wrong."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from mynah.core.errors import InputError
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING_FOLDER, resolve
from mynah.models.checkpoint_files import weight_files

pytestmark = pytest.mark.slow  # loads models by transformers, which takes seconds to import


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


def test_what_macos_puts_beside_files_is_no_weights(tiny_checkpoint, tmp_path):
    """AppleDouble: on exFAT, SMB and the like, `._NAME` holds the extended attributes of NAME."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "wren"))
    before = resolve(str(folder)).weights_digest
    (folder / "._model.safetensors").write_bytes(b"\0\5\x16\7")
    assert resolve(str(folder)).weights_digest == before
    assert weight_files(folder) == [folder / "model.safetensors"]
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no \*\.safetensors weights"):
        checkpoint.check_folder(folder)
