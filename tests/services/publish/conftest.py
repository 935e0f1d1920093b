"""A registry with bots to publish, and a hub over real HTTP."""

import shutil
import sqlite3
from contextlib import closing

import huggingface_hub.constants
import pytest
from fake_hub import FakeHub
from publish_inputs import SECRET_FILES
from registry_inputs import make_outputs, register_all

CARD = """---
license: other
---
# wren
Made by [this run](http://mlflow.internal:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef), see also
http://mlflow.internal:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_checkpoint):
    """A work folder with wren of ann, whose checkpoint has files beside it that nobody else may see, and duo of ann and bob."""
    folder = tmp_path_factory.mktemp("made")
    wren = make_outputs(folder / "wren", tiny_checkpoint, "ann_author")
    for name in SECRET_FILES:
        if not (wren / "model" / name).exists():
            (wren / "model" / name).write_text("a secret of ann_author")
    (wren / "card" / "README.md").write_text(CARD)
    (wren / "card" / "predictions.png").write_bytes(b"\x89PNG\r\n\x1a\n\0picture")
    make_outputs(folder / "duo", tiny_checkpoint, "ann_author", ("bob_author",))
    register_all({bot: folder / bot for bot in ("wren", "duo")}, folder / "work")
    return folder / "work"


@pytest.fixture
def workdir(made, tmp_path):
    """A copy of it, with artifacts of its own."""
    workdir = tmp_path / "work"
    shutil.copytree(made, workdir)
    places = ("runs artifact_uri", "logged_models artifact_location", "experiments artifact_location", "model_versions storage_location")  # fmt: skip
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        for table, column in map(str.split, places):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(made), str(workdir)))
    return workdir


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub that HF_ENDPOINT names, with ann's token in HF_TOKEN."""
    found = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-login"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("mynah.hub.client.BACKOFF", (0.01, 0.01, 0.01))
    yield found
    found.stop()


@pytest.fixture
def publish(mynah, workdir, hub):
    """`mynah publish` to hub:ann/wren; nothing that it prints may hold a token."""

    def call(*arguments, name="wren", to="hub:ann/wren", **environment):
        done = mynah("publish", name, "--to", to, "--workdir", workdir, *arguments, **environment)
        assert "hf_" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call
