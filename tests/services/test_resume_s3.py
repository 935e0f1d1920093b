"""Training states in S3: fine-tuning that is ended goes on from there, and what a process that was killed left is tidied up."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from mynah.core.errors import PlatformError, StoreRefused
from mynah.storage.s3 import S3ArtifactStore
from mynah.training.state_store import State, States
from tests.model.conftest import data  # noqa: F401 - a fixture

IDENTITY = {"data_digest": "0" * 64}
SECONDS = 120
SETS = ["--set=epochs=8", "--set=patience=0", "--set=learning_rate=3e-3", "--set=batch_tokens=256"]


@pytest.fixture
def place(s3, bucket, monkeypatch, tmp_path):
    """A fresh bucket that this process and its children reach, and a folder of their own for what is on its way."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield bucket
    monkeypatch.setattr("tempfile.tempdir", None)


def keys(place):
    client, name = place
    return sorted(item["Key"] for item in client.list_objects_v2(Bucket=name).get("Contents", []))


def states_in(place):
    return sorted({key.split("/")[-2] for key in keys(place) if key.endswith("state.json")})


def state(step, size=40):
    return State(step, {"weight": torch.arange(float(size)) * step}, {"progress": {"step": step}, "authors": ["ann"]})


def test_fine_tuning_that_is_ended_goes_on_from_s3(place, tiny_checkpoint, data, tmp_path):  # noqa: F811
    where = f"s3://{place[1]}/checkpoints/wren"
    arguments = [sys.executable, "-m", "pipelines", "finetune", data, "--out", tmp_path / "model", "--base-model", tiny_checkpoint,
                 *SETS, "--checkpoints", where, "--json"]  # fmt: skip
    command, environment = list(map(str, arguments)), os.environ | {"OMP_NUM_THREADS": "1"}
    for how, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)):
        before = states_in(place)[-1:]
        with subprocess.Popen([*command, "--every", "0"], stderr=subprocess.PIPE, text=True, env=environment) as process:
            deadline = time.monotonic() + SECONDS
            while states_in(place)[-1:] <= before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(how)
            told = process.stderr.read()
        assert process.returncode == code, told
    at = int(states_in(place)[-1].removeprefix("step-"))
    [announced] = re.findall(rf"saved at step {at} of (\d+)", told)
    assert "resuming at step" in told
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert len(record["resumed_at"]) == 2
    assert record["resumed_at"][-1] == at
    assert record["steps"] == int(announced) > at
    assert keys(place) == []
    assert list((tmp_path / "tmp").rglob("state*")) == []


def test_the_newest_two_stay_and_damaged_ones_are_skipped(place, tmp_path, capsys):
    client, name = place
    states = States(f"s3://{name}/kept/", IDENTITY)
    states.require_space(1000)
    assert keys(place) == []
    assert states.newest() is None
    for step in (7, 80, 900):
        states.save(state(step))
    assert states_in(place) == ["step-000080", "step-000900"]
    assert torch.equal(states.newest().tensors["weight"], state(900).tensors["weight"])
    files = {key.rpartition("/")[2]: key for key in keys(place) if "900" in key}
    client.put_object(Bucket=name, Key=files["state.safetensors"], Body=b"short")
    assert states.newest().step == 80
    client.delete_object(Bucket=name, Key=files["state.safetensors"])
    assert states.newest().step == 80
    client.put_object(Bucket=name, Key=files["state.json"], Body=b"[" * 100_000)
    assert states.newest().step == 80
    assert capsys.readouterr().err.count("step-000900 is not used") == 3
    other = States(f"s3://{name}/kept", {**IDENTITY, "more": 1})
    assert other.newest() is None
    assert "are states of another recipe, base model or data" in capsys.readouterr().err
    states.save(state(81))
    assert states_in(place) == ["step-000080", "step-000081"]
    other.clear()
    states.clear()
    assert keys(place) == []
    assert [path.name for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []


def test_what_a_process_that_was_killed_left_goes_with_the_next_state(place, tmp_path):
    client, name = place
    states = States(f"s3://{name}", IDENTITY)
    states.save(state(1))
    prefix = states.uri.removeprefix(f"s3://{name}/")
    client.create_multipart_upload(Bucket=name, Key=f"{prefix}/step-000002/state.safetensors")
    client.put_object(Bucket=name, Key=f"{prefix}/step-000003/state.safetensors", Body=b"half")
    [workspace] = (tmp_path / "tmp").glob("*/*")
    (workspace / ".half-killed").mkdir()
    again = States(f"s3://{name}", IDENTITY)
    assert again.newest().step == 1
    again.save(state(4))
    assert states_in(place) == ["step-000001", "step-000004"]
    assert len(keys(place)) == 4
    assert list(S3ArtifactStore(name, "").uploads()) == []
    assert [path.name for path in workspace.iterdir()] == [".lock"]


def test_a_store_that_is_away_or_refuses(place, s3, monkeypatch):
    _, name = place
    states = States(f"s3://{name}/x", IDENTITY)
    states.save(state(1))
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        for call in (lambda: states.require_space(10), states.newest, lambda: states.save(state(2))):
            with pytest.raises(StoreRefused, match="secret key is wrong"):
                call()
    with pytest.raises(StoreRefused, match="NoSuchBucket"):
        States("s3://no-such-bucket/x", IDENTITY).require_space(10)
    s3.gateway.stop()
    try:
        with pytest.raises(PlatformError, match="S3 failed"):
            states.save(state(2))
    finally:
        s3.start_gateway()
    assert states.newest().step == 1
