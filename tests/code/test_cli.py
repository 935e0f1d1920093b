"""The command line where it needs no model: help, errors, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.code.cli_commands import mynah, refused

HEAVY = ("torch", "transformers", "mlflow", "kfp", "kserve", "fastapi", "PIL", "huggingface_hub", "yaml")


def imported(code):
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


def test_help_imports_nothing_heavy():
    found = imported(
        "import sys; sys.argv = ['mynah', '--help']\nfrom pipelines.cli.main import main\ntry:\n    main()\nexcept SystemExit: pass"
    )
    assert not found & set(HEAVY)
    done = mynah("--help")
    assert done.returncode == 0
    for command in (
        "run",
        "fetch",
        "filter",
        "finetune",
        "evaluate",
        "card",
        "register",
        "promote",
        "generate",
        "serve",
        "bots",
        "compile",
    ):
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("module", ["components.fetch.step", "components.filter.step", "components.card.step", "serving"])
def test_light_steps_import_no_heavy_library(module):
    assert not imported(f"import {module}") & {"torch", "transformers", "mlflow", "kfp", "kserve", "pandas", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "--name", "Wren!", "--from", "sample"], 2, ["'Wren!' can't be a bot's name", "Try 'wren'"]),
        (["run", "--name", "wren", "--from", "none.zip"], 2, ["none.zip"]),
        (["run", "--name", "wren", "--from", "x://wren"], 2, ["x://wren"]),
        (["run", "--name", "wren", "--from", "sample", "--base-model", "/none"], 2, ["'/none'", "fledgling"]),
        (["run", "--name", "wren", "--from", "sample", "--set", "epoch=1"], 2, ["'epoch'", "'epochs'"]),
        (["run", "--name", "wren", "--from", "sample", "--rules", "best"], 2, ["'best'", "huggingtweets"]),
        (["filter", "none", "--out", "data"], 2, ["posts.jsonl", "mynah fetch"]),
        (["finetune", "none", "--out", "model"], 2, ["train.jsonl", "mynah filter"]),
        (["evaluate", "none", "none", "--out", "report"], 2, ["held_out.jsonl", "mynah filter"]),
        (["card", "--name", "wren", "none", "none", "none", "--out", "card"], 2, ["mynah"]),
        (["register", "--name", "wren", "none", "none", "none", "none"], 2, ["none"]),
        (["show", "wren"], 2, ["there are no bots in"]),
        (["rollback", "wren"], 2, ["there are no bots in"]),
        (["prune"], 2, ["there are no bots in"]),
        (["doctor"], 2, ["there are no bots in"]),
        (["forget", "wren"], 2, ["there are no bots in"]),
        (["forget", "@"], 2, ["names no author"]),
        (["forget", "@ann", "--blends", "keep"], 2, ["'keep'", "retrain or remove"]),
        (["receipt", "none.json"], 2, ["none.json", "No such file"]),
        (["promote", "wren"], 2, ["there are no bots in", "mynah run"]),
        (["generate", "wren"], 2, ["there are no bots in"]),
        (["generate", "wren", "x", "-n", "0"], 2, ["n is '0'"]),
        (["generate", "wren", "x", "--temperature", "nan"], 2, ["temperature is 'nan'"]),
        (["generate", "w" * 300], 2, ["there are no bots in"]),
        (["generate", "wren", "--workdir", "w" * 300], 2, ["there are no bots in"]),
        (["serve"], 2, ["there are no bots in"]),
        (["fetch", "--from", "sample", "--out", "."], 2, ["is the folder you are in"]),
        (["compile", "--out", "pipeline.json"], 2, ["does not end with .yaml"]),
    ],
)
def test_bad_input_is_told_in_two_lines_and_makes_nothing(mynah, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    refused(mynah(*arguments, MYNAH_WORKDIR=str(tmp_path / "work")), code, *said)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path):
    done = mynah("filter", tmp_path / "none", "--out", tmp_path / "data", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_a_usage_error_is_the_command_lines_own():
    assert mynah("run").returncode == 2
    assert mynah("fly").returncode == 2


def test_no_bots_yet(mynah, tmp_path):
    assert f"No bots in {tmp_path / 'work'} yet" in mynah("bots", "--workdir", tmp_path / "work").stdout
    assert json.loads(mynah("bots", "--workdir", tmp_path / "work", "--json").stdout) == []
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_fetch_and_filter_by_hand(tmp_path):
    done = mynah("fetch", "--from", "sample", "--out", tmp_path / "raw", "--json")
    assert json.loads(done.stdout)[0]["posts"] == 1620
    done = mynah("filter", tmp_path / "raw", "--out", tmp_path / "data", "--rules", "huggingtweets")
    table = {cells[1].strip(): cells[2].strip() for line in done.stdout.splitlines() if len(cells := line.split("│")) == 4}
    assert table["Tweets downloaded"] == "1,620"
    assert table["Tweets kept"] == "1,410"
    record = json.loads(mynah("filter", tmp_path / "raw", "--out", tmp_path / "data", "--limit", "1000", "--json").stdout)
    assert record["authors"][0]["downloaded"] == 1000


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp437"])
def test_a_terminal_that_is_not_utf8_shows_what_it_can(tmp_path, encoding):
    done = mynah("fetch", "--from", "sample", "--out", tmp_path / "raw", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1,620 posts from archive:groundling.zip ? ")


def test_a_link_to_nothing_is_refused_before_the_work(mynah, tmp_path):
    (tmp_path / "raw").symlink_to(tmp_path / "none")
    refused(mynah("fetch", "--from", "sample", "--out", tmp_path / "raw"), 2, "is a link to nothing")


def test_a_pipeline_is_no_folder(mynah, tmp_path):
    (tmp_path / "dir.yaml").mkdir()
    refused(mynah("compile", "--out", tmp_path / "dir.yaml"), 2, "is a folder")


def test_a_source_whose_name_is_not_utf8(tmp_path):
    """A step by itself reads it; a run refuses it before anything is made, for Kubeflow's parameters are JSON."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")
    Path(path).write_text("text\na post of words\n")
    assert mynah("fetch", "--from", path, "--basis", "permission", "--out", tmp_path / "raw").returncode == 0
    run = ("run", "--name", "wren", "--from", path, "--basis", "permission", "--workdir", tmp_path / "work")
    refused(mynah(*run), 2, "is not a name in UTF-8")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("line", ["[1]", '{"text": "half \\ud800"}', '{"text": ""}', "{}"])
def test_texts_that_are_none(mynah, tmp_path, line):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(line + "\n")
    refused(
        mynah("finetune", tmp_path / "data", "--out", tmp_path / "model"), 2, "train.jsonl has no texts, or a line without one"
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_step_that_is_interrupted_leaves_nothing(tmp_path, how):
    (tmp_path / "big.csv").write_text("text\n" + "a post of a few words\n" * 1_000_000)
    step = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pipelines",
            "fetch",
            "--from",
            tmp_path / "big.csv",
            "--basis",
            "permission",
            "--out",
            tmp_path / "raw",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".raw.tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    step.send_signal(how)
    assert "interrupted" in step.communicate(timeout=60)[1]
    assert step.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["big.csv"]
