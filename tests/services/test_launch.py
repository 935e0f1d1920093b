"""`mynah run` where things go wrong around the steps: foreign text on a terminal, killed processes, unusable paths."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.services.pipeline_runs import command, on_a_terminal, statuses, wait_until

WINDOWS_TITLE = "\x1b]0;owned\x07"
HOSTILE = f"[bold red]it's {WINDOWS_TITLE}"  # rich's markup, a quote, and a command to the terminal


def processes_naming(folder):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(folder) in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def hostile_sources(tmp_path):
    """A file without posts, which is warned of by name, and one with too few, which ends the run at the second step."""
    empty, few = tmp_path / f"{HOSTILE}.csv", tmp_path / "few.csv"
    empty.write_text("text\n")
    few.write_text("text\n" + f"{HOSTILE} is what this post says\n" * 50)
    return ["--from", empty, "--from", few, "--basis", "permission"]


def test_a_terminal_gets_bars_and_foreign_text_as_it_is(tmp_path, hostile_sources):
    code, said = on_a_terminal("run", "--name", "wren", *hostile_sources, "--workdir", tmp_path / "work")
    assert code == 2
    assert "✓ Fetching posts" in said
    assert "━" in said
    assert "[bold red]it's" in said
    assert WINDOWS_TITLE not in said
    assert "needs 6,000 at the least" in said


def test_a_short_wait_shows_on_a_terminal_alone(tmp_path, mynah):
    code, said = on_a_terminal("compile", "--out", tmp_path / "one.yaml")
    assert (code, "Compiling" in said) == (0, True)
    piped = mynah("compile", "--out", tmp_path / "two.yaml")
    assert (piped.returncode, piped.stdout) == (0, f"{tmp_path / 'two.yaml'}\n")
    assert piped.stderr in ("", "Compiling …\n")  # said where it takes long


def test_a_pipe_gets_lines_without_any_command_to_a_terminal(tmp_path, hostile_sources, mynah):
    found = mynah("run", "--name", "wren", *hostile_sources, "--workdir", tmp_path / "work")
    assert found.returncode == 2
    assert "[bold red]it's" in found.stderr
    assert "\x1b" not in found.stderr + found.stdout
    assert "━" not in found.stderr
    assert statuses(tmp_path / "work") == {"wren": "FAILED", "fetch": "FINISHED", "filter": "FAILED"}


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/none"])
def test_a_work_folder_that_cannot_be_made(tmp_path, folder, mynah):
    (tmp_path / "file").touch()
    found = mynah("run", "--name", "wren", "--from", "sample", "--workdir", tmp_path / folder)
    assert (found.returncode, found.stdout) == (3, "")
    assert str(tmp_path / folder) in found.stderr
    assert len(found.stderr.splitlines()) == 2


def test_a_path_that_kubeflow_would_misread_is_refused(tmp_path, mynah):
    found = mynah("run", "--name", "wren", "--from", "sample", "--workdir", tmp_path / "{{$.inputs}}")
    assert found.returncode == 2
    assert "'{{$'" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_source_may_hold_what_kubeflows_runner_would_replace(tmp_path, mynah):
    folder = tmp_path / "{{$.inputs}} python3 $(HOME)"
    folder.mkdir()
    (folder / "few.csv").write_text("text\n" + "what this post says\n" * 50)
    found = mynah("run", "--name", "wren", "--from", folder / "few.csv", "--basis", "permission", "--workdir", tmp_path / "work")
    assert found.returncode == 2
    assert "needs 6,000 at the least" in found.stderr  # of the step after the one that read it
    assert statuses(tmp_path / "work") == {"wren": "FAILED", "fetch": "FINISHED", "filter": "FAILED"}
    [run] = (tmp_path / "work" / "runs").iterdir()
    assert sorted(path.name for path in run.iterdir()) == ["order.json", "pipeline.log", "raw", "run.json"]


def start_finetuning(workdir, **popen):
    arguments = ["run", "--name", "wren", "--from", "sample", "--workdir", workdir, "--set", "epochs=100"]
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, **popen)
    wait_until(lambda: (workdir / "mlflow.db").exists() and statuses(workdir).get("finetune") == "RUNNING", within=90)
    return process


@pytest.mark.own_python  # processes are found by their command lines
def test_a_step_that_is_killed_is_named_with_its_log(tmp_path):
    """As the kernel does when memory runs out."""
    process = start_finetuning(tmp_path / "work")
    for pid in set(processes_naming(tmp_path)) & set(processes_naming("--executor_input")):  # a shell, and Python in it
        os.kill(pid, signal.SIGKILL)
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert "the pipeline stopped in the step finetune" in said
    log = said[said.index("See ") + 4 :].strip().removesuffix(".")
    assert "finetune" in Path(log).read_text()
    assert statuses(tmp_path / "work") == {"wren": "FAILED", "fetch": "FINISHED", "filter": "FINISHED", "finetune": "FAILED"}


@pytest.mark.own_python
def test_when_mynah_is_killed_its_steps_end_too_and_nothing_is_left(tmp_path):
    """Even where SIGINT is ignored, as in a background job of a script."""
    workdir = tmp_path / "work"
    process = start_finetuning(workdir, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.kill()
    process.wait()
    process.stderr.close()
    wait_until(lambda: not processes_naming(workdir))
    assert list((workdir / "runs").iterdir()) == []
    assert statuses(workdir) == {"wren": "KILLED", "fetch": "FINISHED", "filter": "FINISHED", "finetune": "KILLED"}
