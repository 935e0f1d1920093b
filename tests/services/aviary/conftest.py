"""A registry with three bots."""

import shutil

import pytest
from registry_inputs import make_outputs, register_all

from mynah.decoding.model import load_model
from tests.services.aviary.aviary_repository import BOTS


@pytest.fixture(scope="session")
def registered(tmp_path_factory, tiny_checkpoint):
    """A work folder with three bots, each of one version, which is champion."""
    workdir = tmp_path_factory.mktemp("aviary") / "work"
    outputs = make_outputs(tmp_path_factory.mktemp("outputs"), tiny_checkpoint)
    register_all(dict.fromkeys(BOTS, outputs), workdir)
    return workdir


@pytest.fixture
def workdir(registered, tmp_path):
    """A copy of that folder, for one test alone."""
    shutil.copytree(registered, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(scope="session")
def size(tiny_checkpoint):
    """Bytes that one of these bots takes in memory."""
    return load_model(tiny_checkpoint).nbytes
