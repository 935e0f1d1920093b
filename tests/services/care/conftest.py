"""A registry with one bot."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from registry_inputs import make_outputs, register_all


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_checkpoint):
    """A work folder with wren, whose version 1 is the champion."""
    folder = tmp_path_factory.mktemp("made")
    register_all({"wren": make_outputs(folder / "wren", tiny_checkpoint)}, folder / "work")
    return folder / "work"


@pytest.fixture
def workdir(made, tmp_path):
    """A copy with artifacts of its own."""
    shutil.copytree(made, tmp_path / "work")
    with closing(sqlite3.connect(tmp_path / "work" / "mlflow.db")) as database, database:
        for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location"), ("experiments", "artifact_location"),
                              ("model_versions", "storage_location")):  # fmt: skip
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(made), str(tmp_path / "work")))
    return tmp_path / "work"
