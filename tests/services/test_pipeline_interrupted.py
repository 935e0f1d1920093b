"""Runs that are interrupted, whose step fails, or whose disk is full; tests/model/test_resume.py kills them."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.services.pipeline_runs import command, run_in


def children_of(folder):
    """Processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def start_until(workdir, line):
    arguments = ["run", "--name", "wren", "--from", "sample", "--workdir", workdir, "--set", "epochs=50"]
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, start_new_session=True)
    for said in process.stderr:
        if said.startswith(line):
            break
    return process


@pytest.mark.own_python  # processes are found by their command lines
@pytest.mark.parametrize("how", ["SIGINT to the group", "SIGTERM"])
def test_an_interrupted_run_leaves_nothing(tmp_path, how):
    from mlflow import MlflowClient

    workdir = tmp_path / "work"
    process = start_until(workdir, "  Fine-tuning")
    if how == "SIGINT to the group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(getattr(signal, how))
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 130
    assert "Traceback" not in told
    assert told.endswith("interrupted; nothing half-written is left\n")
    assert list((workdir / "runs").iterdir()) == []
    assert children_of(workdir) == []
    client = MlflowClient(tracking_uri=f"sqlite:///{workdir}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("mynah").experiment_id])
    assert {run.data.tags.get("mynah.step", "parent"): run.info.status for run in runs} == {
        "parent": "KILLED", "fetch": "FINISHED", "filter": "FINISHED", "finetune": "KILLED",
    }  # fmt: skip


def test_a_failing_step_tells_its_own_error(tmp_path, mynah):
    posts = tmp_path / "few.csv"
    posts.write_text("text\n" + "\n".join(f"this is post number {n} of a few" for n in range(50)))
    found = mynah("run", "--name", "few", "--from", posts, "--basis", "permission", "--workdir", tmp_path / "work")
    assert found.returncode == 2
    assert "needs 6,000 at the least" in found.stderr
    assert "Traceback" not in found.stderr
    assert mynah("bots", "--workdir", tmp_path / "work", "--json").stdout.strip() == "[]"


def test_a_full_disk_ends_a_run_with_its_cause(small_disk):
    disk = small_disk(2500)
    found = run_in(disk / "work")
    assert found.returncode == 3, found.stderr
    assert "Traceback" not in found.stderr
    assert "space" in found.stderr
