"""Adapters in S3, directly and through MLflow's proxy: the base model is stored and fetched once, verified, and found offline."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from registry_inputs import FOLDERS, command, register_all, unique

from mynah.core.errors import InputError, PlatformError
from mynah.models.adapter_base import base_folder
from mynah.models.base_models import BaseModel
from mynah.registry.base_store import open_base
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.services.adapters.adapter_inputs import expected, make_adapter_outputs, make_base

LOAD = """
import json, sys, mlflow, mlflow.transformers, transformers
from tests.services.adapters.adapter_inputs import greedy
uri, fetched, base = sys.argv[1:]
pipe = mlflow.transformers.load_model(uri, base_model_path=base)
plain = transformers.pipeline("text-generation", model=fetched)
print(json.dumps([greedy(pipe.model, pipe.tokenizer), greedy(plain.model, plain.tokenizer)]))
"""


def digest_of(folder):
    return BaseModel("", folder).weights_digest


def objects(s3, store, base_digest):
    """The base model's objects in the bucket of `on_server`, with the time of each."""
    source = open_base(store, base_digest)
    with closing(s3.client()) as client:
        listed = client.list_objects_v2(Bucket=source.bucket, Prefix=source.prefix).get("Contents", [])
    return {each["Key"].removeprefix(source.prefix): each["LastModified"] for each in listed}


@pytest.fixture
def base(tmp_path, tiny_checkpoint):
    """A base model that no other test stores: the servers outlive a test."""
    return make_base(tmp_path / "my-base", tiny_checkpoint)


@pytest.fixture
def outputs(tmp_path, base):
    return [make_adapter_outputs(tmp_path / str(seed), base, seed=seed) for seed in (0, 1)]


def test_two_adapters_share_a_base_model_in_s3_and_on_this_machine(on_server, s3, tmp_path, base, outputs):
    one, other, workdir = unique("wren"), unique("heron"), tmp_path / "work"
    store = open_store(workdir)
    register_all({one: outputs[0]}, workdir, promoted=False)
    before = objects(s3, store, digest_of(base))
    assert {"model.safetensors", "manifest.json"} <= set(before)
    register_all({other: outputs[1]}, workdir, promoted=False)
    assert objects(s3, store, digest_of(base)) == before  # not stored again
    registry = Registry(store)
    folders = [registry.checkpoint(registry.head(name, 1).versions[0]) for name in (one, other)]
    assert {base_folder(folder) for folder in folders} == {workdir / "cache" / "bases" / digest_of(base)}
    arguments = [f"models:/{one}/1", str(folders[0]), str(base_folder(folders[0]))]
    found = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "tests/services"}
    done = subprocess.run([sys.executable, "-c", LOAD, *arguments], capture_output=True, text=True, check=False, env=found)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [expected(base, outputs[0] / "model")] * 2


def test_two_that_register_at_once_store_one_whole_base_model(on_server, tmp_path, base, outputs):
    store = open_store(tmp_path / "work")
    names = [unique("wren"), unique("heron")]

    def register(name, made):
        folders = [made / each for each in FOLDERS]
        return subprocess.run(
            command("register", "--name", name, *folders, "--workdir", tmp_path / "work"), capture_output=True, text=True
        )

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(register, names, outputs):
            assert done.returncode == 0, done.stderr
    registry = Registry(store)
    for name in names:
        assert registry.faults(registry.head(name, 1).versions[0]) == []


def test_a_base_model_that_was_changed_or_is_gone_is_said_to_be(on_server, s3, tmp_path, base, outputs):
    name, store = unique("wren"), open_store(tmp_path / "work")
    register_all({name: outputs[0]}, tmp_path / "work", promoted=False)
    registry = Registry(store)
    version, source = registry.head(name, 1).versions[0], open_base(store, digest_of(base))
    weights = base / "model.safetensors"
    with closing(s3.client()) as client:
        key = f"{source.prefix}model.safetensors"
        client.put_object(Bucket=source.bucket, Key=key, Body=bytes(weights.stat().st_size))
        with pytest.raises(PlatformError, match="another digest"):
            registry.checkpoint(version)
        client.delete_object(Bucket=source.bucket, Key=key)
        with pytest.raises(InputError, match=r"model\.safetensors is missing"):
            registry.checkpoint(version)
    register_all({unique("heron"): outputs[1]}, tmp_path / "work", promoted=False)  # stores it again
    assert base_folder(registry.checkpoint(version)).is_dir()


def test_through_mlflows_proxy(on_proxied, tmp_path, base, outputs):
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs[0]}, workdir, promoted=False)
    registry = Registry(open_store(workdir))
    folder = registry.checkpoint(registry.head(name, 1).versions[0])
    assert base_folder(folder) == workdir / "cache" / "bases" / digest_of(base)
