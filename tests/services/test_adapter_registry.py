"""Adapters in the registry: their base model is stored once, found again, verified, and removed when nothing needs it."""

import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from adapter_inputs import make_adapter_outputs
from registry_inputs import FOLDERS, make_outputs, register, register_all, unique

from components.register.step import register_folders
from mynah.core.errors import InputError
from mynah.models.adapter_base import base_folder
from mynah.models.base_models import BaseModel
from mynah.registry.base_store import bases_uri, open_base, stored_bases, used_bases
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_checkpoint):
    """A base model in a folder of its own, with a file that is none of a checkpoint's."""
    folder = tmp_path_factory.mktemp("bases") / "my-base"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "LICENSE").write_text("Do as you like.\n")
    (folder / "posts.jsonl").write_text("private\n")
    return folder


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, base):
    return {seed: make_adapter_outputs(tmp_path_factory.mktemp("adapter"), base, seed=seed) for seed in (0, 1)}


@pytest.fixture(scope="module")
def registered(tmp_path_factory, outputs):
    """A work folder with the adapter wren version 1."""
    workdir = tmp_path_factory.mktemp("registry") / "work"
    register_all({"wren": outputs[0]}, workdir)
    return workdir


@pytest.fixture
def workdir(registered, tmp_path):
    shutil.copytree(registered, tmp_path / "work")
    return tmp_path / "work"


def digest_of(folder):
    return BaseModel("", folder).weights_digest


def test_a_version_names_its_base_model_and_the_store_has_it_once(registered, base):
    store = open_store(registered)
    [version] = Registry(store).bot("wren").versions
    assert (version.tags["mynah.base_digest"], version.tags["mynah.adapter_rank"]) == (digest_of(base), "4")
    files = open_base(store, digest_of(base)).files()
    assert {"config.json", "model.safetensors", "tokenizer.json", "LICENSE", "manifest.json"} <= set(files)
    assert "posts.jsonl" not in files
    assert used_bases(store) == {digest_of(base): 1}
    print(version.tags, stored_bases(store), [ (n,f.size) for n,f in Registry(store).files(version).files().items()])
