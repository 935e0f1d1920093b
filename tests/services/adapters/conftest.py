"""What the tests of adapters in the registry share: a base model in a folder, adapters of it, and a work folder with one registered."""

import json
import shutil

import pytest
from registry_inputs import register_all

from tests.services.adapters.adapter_inputs import make_adapter_outputs


@pytest.fixture(scope="session")
def base(tmp_path_factory, tiny_checkpoint):
    """A base model in a folder of the user, with a licence, and with a file that is none of a checkpoint's."""
    folder = tmp_path_factory.mktemp("bases") / "my-base"
    shutil.copytree(tiny_checkpoint, folder)
    generation = json.loads((folder / "generation_config.json").read_text()) | {"max_new_tokens": 5}
    (folder / "generation_config.json").write_text(json.dumps(generation))  # MLflow's loader asks for 256 else
    (folder / "LICENSE").write_text("Do as you like.\n")
    (folder / "posts.jsonl").write_text("private\n")
    return folder


@pytest.fixture(scope="session")
def outputs(tmp_path_factory, base):
    """What the steps before `register` leave, of two adapters of one base model."""
    return [make_adapter_outputs(tmp_path_factory.mktemp("adapter") / str(seed), base, seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="session")
def registered(tmp_path_factory, outputs):
    """A work folder with the adapter wren version 1, its champion."""
    workdir = tmp_path_factory.mktemp("registry") / "work"
    register_all({"wren": outputs[0]}, workdir)
    return workdir


@pytest.fixture
def workdir(registered, tmp_path):
    """A copy of it, for one test alone."""
    shutil.copytree(registered, tmp_path / "work")
    return tmp_path / "work"
