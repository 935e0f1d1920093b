"""A work folder made before the packages had the layout of today still opens: see make.py."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

PACKED = Path(__file__).with_name("work.tar.xz")
MADE_IN = "/tmp/mynah-earlier/work"
ADDRESSES = {"runs": "artifact_uri", "logged_models": "artifact_location", "model_versions": "storage_location"}


@pytest.fixture
def workdir(tmp_path):
    with tarfile.open(PACKED) as packed:
        packed.extractall(tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        for table, column in ADDRESSES.items():
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (MADE_IN, str(tmp_path)))
    return tmp_path


@pytest.fixture
def answer(mynah, workdir):
    """What a command prints as JSON."""

    def call(*arguments):
        done = mynah(*arguments, "--workdir", workdir, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_its_bots_versions_and_decisions_are_read(answer):
    [bot] = answer("bots")
    assert (bot["name"], bot["champion"]) == ("wren", 1)
    shown = answer("show", "wren")
    [version] = shown["versions"]
    assert (version["version"], version["verdict"], version["aliases"]) == (1, "failed: style_auc", ["challenger", "champion"])
    assert [event["forced"] for event in shown["history"]] == ["", "an example of an earlier store"]  # refused, then forced


def test_all_that_the_registry_promises_is_there(answer):
    assert [found["problem"] for found in answer("doctor", "--deep") if not found["is_well"]] == []


def test_another_sample_can_be_chosen_for_its_card(mynah, workdir):
    done = mynah("card", "wren", "--workdir", workdir)
    assert (done.returncode, done.stderr) == (0, "")
    assert "My dream is" in done.stdout
    done = mynah("card", "wren", "--choose", "2", "--workdir", workdir)
    assert done.returncode == 0, done.stderr


def test_it_writes(answer):
    assert len(answer("generate", "wren", "The sea", "-n", "2", "--max-tokens", "5")["texts"]) == 2


def test_it_is_served(workdir):
    log = workdir / "log"
    command = [sys.executable, "-m", "pipelines", "serve", "--workdir", workdir, "--port", "0"]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 120
        while not (said := re.search(r"Serving .* on (http://\S+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        body = {"model": "wren", "prompt": "The sea", "max_tokens": 5}
        answered = httpx.post(f"{said[1]}/openai/v1/completions", json=body, timeout=60)
        assert answered.status_code == 200, answered.text
    finally:
        process.kill()
        process.wait(30)
