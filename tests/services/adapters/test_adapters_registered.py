"""Registering adapters in a work folder: what a version says and holds, how other programs load it, and what is refused."""

import json
import math
import os
import shutil
import subprocess
import sys

import pytest
from registry_inputs import FOLDERS, aliases, make_outputs, register_all

from components.promote.step import promote
from components.register.step import register_folders
from mynah.core.errors import InputError
from mynah.models.adapter_base import base_folder
from mynah.models.base_models import BaseModel
from mynah.registry.base_store import open_base, stored_bases
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.services.adapters.adapter_inputs import expected

LOAD = """
import json, sys, mlflow, mlflow.transformers, transformers
sys.path.insert(0, sys.argv[3])
from tests.services.adapters.adapter_inputs import greedy
mlflow.set_tracking_uri(sys.argv[1])
pipe = mlflow.transformers.load_model("models:/wren/1")
answer = mlflow.pyfunc.load_model("models:/wren/1").predict(["My dream"])
plain = transformers.pipeline("text-generation", model=sys.argv[2])
print(json.dumps([greedy(pipe.model, pipe.tokenizer), greedy(plain.model, plain.tokenizer), list(answer)]))
"""


def digest_of(folder):
    return BaseModel("", folder).weights_digest


def version_1(workdir):
    return Registry(open_store(workdir)).head("wren", 1).versions[0]


def test_a_version_names_its_base_model_which_is_stored_without_what_else_is_in_its_folder(registered, base, outputs):
    store = open_store(registered)
    version = version_1(registered)
    told = {name: version.tags[f"mynah.{name}"] for name in ("base_digest", "adapter_rank", "base_model", "base_license")}
    assert told == {"base_digest": digest_of(base), "adapter_rank": "4", "base_model": "my-base", "base_license": "apache-2.0"}
    assert "peft==" in version.tags["mynah.requirements"]
    stored = open_base(store, digest_of(base)).files()
    assert {"config.json", "model.safetensors", "tokenizer.json", "LICENSE", "manifest.json"} <= set(stored)
    assert "posts.jsonl" not in stored
    files = Registry(store).files(version).files()
    assert int(version.tags["mynah.bytes"]) == sum(file.size for file in files.values())
    own = {name.removeprefix("model/") for name in files if name.startswith("model/")}
    assert own == {"README.md", "adapter_config.json", "adapter_model.safetensors", "base_model.json", "training.json"}


def test_people_see_that_it_is_an_adapter_of_which_model_and_how_large(registered, base, mynah):
    shown = mynah("show", "wren", "--workdir", registered).stdout
    assert all(word in shown for word in ("my-base", "adapter", "rank 4", "MB"))
    [record] = json.loads(mynah("show", "wren", "--workdir", registered, "--json").stdout)["versions"]
    assert (record["adapter_rank"], record["base_digest"], record["bytes"] > 9_000) == (4, digest_of(base), True)
    folder = mynah("bases", "--of", "wren", "--workdir", registered).stdout.strip()
    assert folder == str(open_base(open_store(registered), digest_of(base)).folder)


def test_a_second_adapter_does_not_store_the_base_model_again(workdir, base, outputs):
    store = open_store(workdir)
    weights = open_base(store, digest_of(base)).folder / "model.safetensors"
    before = weights.stat().st_mtime_ns
    register_all({"heron": outputs[1]}, workdir)
    assert (weights.stat().st_mtime_ns, list(stored_bases(store))) == (before, [digest_of(base)])
    (weights.parent / "tokenizer.json").unlink()  # not whole: the next one mends it
    register_all({"crane": outputs[1]}, workdir)
    assert (weights.parent / "tokenizer.json").is_file()


def test_mlflow_and_transformers_load_a_version_without_the_folder_that_it_was_trained_on(tmp_path, base, outputs):
    """Offline: the only base model that is left is the store's."""
    own, workdir = tmp_path / "own", tmp_path / "work"
    shutil.copytree(base, own)
    shutil.copytree(outputs[0], tmp_path / "outputs")
    config = tmp_path / "outputs" / "model" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(own)}))
    register_all({"wren": tmp_path / "outputs"}, workdir)
    shutil.rmtree(own)
    store = open_store(workdir)
    folder = Registry(store).checkpoint(version_1(workdir))
    assert base_folder(folder) == open_base(store, digest_of(base)).folder
    code = [sys.executable, "-c", LOAD, store.tracking_uri, str(folder), "."]
    done = subprocess.run(code, capture_output=True, text=True, check=False, env=offline())
    assert done.returncode == 0, done.stderr
    mlflows, transformers, answer = json.loads(done.stdout.splitlines()[-1])
    assert mlflows == transformers == expected(base, outputs[0] / "model")
    assert answer


def offline():
    return os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "tests/services"}


def test_a_moved_work_folder_still_finds_the_base_model(registered, tmp_path, base):
    shutil.copytree(registered, tmp_path / "elsewhere")
    shutil.copytree(registered, tmp_path / "gone")
    found = base_folder(Registry(open_store(tmp_path / "elsewhere")).checkpoint(version_1(tmp_path / "elsewhere")))
    assert digest_of(found) == digest_of(base)


@pytest.mark.parametrize("harm", ["another base", "shape", "nan", "rank", "both", "record", "no lock"])
def test_a_broken_adapter_is_refused_and_the_champion_stays(workdir, outputs, base, tmp_path, monkeypatch, harm):
    broken = tmp_path / "broken"
    shutil.copytree(outputs[1], broken)
    words = HARM[harm](broken / "model", base, monkeypatch)
    with pytest.raises(InputError, match=words):
        register_folders("wren", *(broken / each for each in FOLDERS), workdir)
    assert aliases(workdir) == {"challenger": 1, "champion": 1}
    assert [version.version for version in Registry(open_store(workdir)).bot("wren").versions] == [1]


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def another_base(model, base, monkeypatch):
    change_json(model / "base_model.json", digest="0" * 32)
    return "which is not on this machine"


def change_weights(model, change):
    from safetensors.torch import load_file, save_file

    path = model / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    tensors[name] = change(tensors[name])
    save_file(tensors, path)


def shape(model, base, monkeypatch):
    change_weights(model, lambda tensor: tensor[:, :-1].contiguous())
    return "has the shape"


def nan(model, base, monkeypatch):
    change_weights(model, lambda tensor: tensor * math.nan)
    return "not finite"


def rank(model, base, monkeypatch):
    change_json(model / "adapter_config.json", r=0)
    return "the rank is 0"


def both(model, base, monkeypatch):
    shutil.copy(base / "model.safetensors", model)
    return "both an adapter and full weights"


def record(model, base, monkeypatch):
    training = json.loads((model / "training.json").read_text())
    change_json(model / "training.json", base_model=training["base_model"] | {"digest": "1" * 32})
    return "training.json names"


def no_lock(model, base, monkeypatch):
    monkeypatch.setenv("MYNAH_LOCK", "nowhere")
    return "MYNAH_LOCK is"


HARM = {
    "another base": another_base,
    "shape": shape,
    "nan": nan,
    "rank": rank,
    "both": both,
    "record": record,
    "no lock": no_lock,
}


def test_another_tokenizer_of_the_same_weights_is_refused(workdir, outputs, base, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(base, other)
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + "\n")
    shutil.copytree(outputs[1], tmp_path / "outputs")
    change_json(tmp_path / "outputs" / "model" / "adapter_config.json", base_model_name_or_path=str(other))
    with pytest.raises(InputError, match=r"the same weights and another tokenizer\.json"):
        register_folders("wren", *(tmp_path / "outputs" / each for each in FOLDERS), workdir)


@pytest.mark.parametrize("harm", ["gone", "other digest"])
def test_a_version_whose_base_model_is_damaged_is_not_promoted_and_the_old_one_serves_on(
    tmp_path, outputs, base, tiny_checkpoint, harm
):
    workdir = tmp_path / "work"
    register_all({"wren": make_outputs(tmp_path / "whole", tiny_checkpoint)}, workdir)
    register_all({"wren": outputs[1]}, workdir, promoted=False)
    store = open_store(workdir)
    before, folder = aliases(workdir), open_base(store, digest_of(base)).folder
    if harm == "gone":
        shutil.rmtree(folder)
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["model.safetensors"]["sha256"] = "0" * 64
        (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="its base model"):
        promote("wren", store, 2)
    registry = Registry(store)
    assert aliases(workdir) == before
    assert registry.checkpoint(registry.bot("wren").champion)
    with pytest.raises(InputError, match="the base model of wren version 2, with the digest"):
        registry.checkpoint(registry.bot("wren").at(2))
