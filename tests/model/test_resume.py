"""Fine-tuning that is ended in the middle, with and without warning, and goes on where it stood: real processes on tiny data."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import digest
from mynah.training.recipe import build

SETS = {"epochs": 8, "patience": 0, "learning_rate": 3e-3, "batch_tokens": 256}  # 8 epochs of some 40 steps
RECIPE = build("default", {**SETS, "epochs": 2})
SECONDS = 120  # for a process to come as far as it shall
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # two would wait for one another where the machine has other work


def command(checkpoint, data, out, *more):
    sets = [f"--set={key}={value}" for key, value in SETS.items()]
    arguments = ["finetune", data, "--out", out, "--base-model", checkpoint, *sets, "--json", *more]
    return [sys.executable, "-m", "pipelines", *map(str, arguments)]


def steps(states):
    found = (path.parent.name for path in states.glob("*/step-*/state.json"))
    return max((int(name.removeprefix("step-")) for name in found), default=0)


def end_at(arguments, states, step, how):
    """Start a process, end it by the signal `how` once it has saved the state of `step`; its exit code and what it said."""
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ONE_THREAD) as process:
        deadline = time.monotonic() + SECONDS
        while steps(states) < step and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(how)
        out, told = process.communicate(timeout=SECONDS)
    assert process.returncode != 0, (out, told)
    return process.returncode, told


@pytest.fixture(scope="module")
def whole(tiny_checkpoint, data, tmp_path_factory):
    """The training that nobody ended: its record and its folder."""
    out = tmp_path_factory.mktemp("whole") / "model"
    finetune(data, out, FinetuneSettings(str(tiny_checkpoint), build("default", SETS)))
    return json.loads((out / "training.json").read_text()), out


def test_killed_again_and_again_it_ends_as_if_nobody_had(whole, tiny_checkpoint, data, tmp_path):
    expected, model = whole
    out, states = tmp_path / "model", tmp_path / "states"
    arguments = command(tiny_checkpoint, data, out, "--checkpoints", states)
    seed = random.SystemRandom().randrange(2**32)
    rng = random.Random(seed)
    at, told, resumed = 0, "", []
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        at = rng.randrange(at + 1, at + expected["steps"] // 5)
        code, told = end_at([*arguments, "--every", "0"], states, at, how)
        if resumed:
            assert f"resuming at step {resumed[-1]} of {expected['steps']}, where" in told, (seed, told)
        at = steps(states)
        resumed.append(at)
        if how == signal.SIGKILL:
            assert code == -how
        else:
            assert code == 130, (seed, told)
            assert told.splitlines()[-2:] == [
                f"saved at step {at} of {expected['steps']}: the same command resumes there",
                "interrupted; nothing half-written is left",
            ]
        assert not out.exists()
    done = subprocess.run(arguments, capture_output=True, text=True, env=ONE_THREAD)
    assert done.returncode == 0, (seed, done.stderr)
    record = json.loads(done.stdout)
    assert record["resumed_at"] == resumed, seed
    assert (record["steps"], record["tokens"], record["best_epoch"]) == (
        expected["steps"], expected["tokens"], expected["best_epoch"],
    )  # fmt: skip
    losses = [[epoch["held_out_loss"] for epoch in each["history"]] for each in (record, expected)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3), seed
    print(f"the same weights to the bit: {digest(out / 'model.safetensors') == digest(model / 'model.safetensors')}")
    assert not states.exists()  # nothing of them stays
    curves = [[json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()] for folder in (out, model)]
    assert [line["step"] for line in curves[0]] == [line["step"] for line in curves[1]]  # the whole of it, each step once


def interrupted(checkpoint, data, states, step=30):
    """A training that was ended after `step`, in this process, with a state of every step."""

    def interrupt(at, _metrics):
        if at > step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(data, states.parent / "never", FinetuneSettings(str(checkpoint), RECIPE, None, str(states), 0.0), interrupt)
    [training] = states.iterdir()
    assert sorted(path.name for path in training.iterdir()) == [".lock", f"step-{step - 1:06d}", f"step-{step:06d}"]
    return training


@pytest.fixture(scope="module")
def ended(tiny_checkpoint, data, tmp_path_factory):
    states = tmp_path_factory.mktemp("ended") / "states"
    interrupted(tiny_checkpoint, data, states)
    return states


@pytest.fixture
def states(ended, tmp_path):
    """States of the steps 29 and 30, to be damaged."""
    return shutil.copytree(ended, tmp_path / "states")


def go_on(checkpoint, data, states, recipe=RECIPE):
    return finetune(data, states.parent / "model", FinetuneSettings(str(checkpoint), recipe, None, str(states)))


@pytest.fixture(scope="module")
def short(tiny_checkpoint, data, tmp_path_factory):
    return finetune(data, tmp_path_factory.mktemp("short") / "model", FinetuneSettings(str(tiny_checkpoint), RECIPE))


def losses(record):
    return [epoch.held_out_loss for epoch in record.history]


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_state_is_told_and_the_one_before_it_used(tiny_checkpoint, data, states, short, capsys, damaged):
    for step in (30, 29)[:damaged]:
        path = next(states.glob(f"*/step-{step:06d}/state.safetensors"))
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    record = go_on(tiny_checkpoint, data, states)
    told = capsys.readouterr().err
    assert told.count("is not used: the digest of its state.safetensors differs") == damaged
    assert record.resumed_at == ((30,), (29,), ())[damaged]
    assert losses(record) == pytest.approx(losses(short), abs=1e-3)
    assert not states.exists()


@pytest.mark.parametrize("other", ["recipe", "data"])
def test_a_state_of_another_recipe_or_of_other_texts_is_not_used(tiny_checkpoint, data, states, tmp_path, capsys, other):
    recipe = build("default", {**RECIPE.to_record(), "learning_rate": 2e-3}) if other == "recipe" else RECIPE
    if other == "data":
        data = shutil.copytree(data, tmp_path / "data")
        lines = (data / "train.jsonl").read_text().splitlines(keepends=True)
        (data / "train.jsonl").write_text("".join(lines[:-1]))
    record = go_on(tiny_checkpoint, data, states, recipe)
    assert record.resumed_at == ()
    assert "are states of another recipe, base model or data" in capsys.readouterr().err
    assert steps(states) == 30  # theirs stay


def test_too_little_space_for_states_is_known_before_the_first_step(tiny_checkpoint, data, tmp_path, small_disk):
    disk = small_disk(200)
    settings = FinetuneSettings(str(tiny_checkpoint), RECIPE, None, str(disk / "states"))
    with pytest.raises(PlatformError, match="keeping training states needs about"):
        finetune(data, tmp_path / "model", settings, lambda *_: pytest.fail("it trained"))
    assert not list(disk.rglob("step-*"))
    assert not (tmp_path / "model").exists()
    with pytest.raises(InputError, match="cannot be kept in"):
        finetune(data, tmp_path / "model", FinetuneSettings(str(tiny_checkpoint), RECIPE, None, "gs://bucket"))


def test_a_disk_that_fills_up_costs_the_state_and_not_the_training(tiny_checkpoint, data, tmp_path, small_disk, capsys):
    disk = small_disk(4000)

    def fill(step, _metrics):
        if step == 5:
            with contextlib.suppress(OSError), (disk / "ballast").open("wb") as file:
                while True:
                    file.write(bytes(4096))
        if step == 15:
            (disk / "ballast").unlink()

    settings = FinetuneSettings(str(tiny_checkpoint), RECIPE, None, str(disk / "states"), 0.0)
    record = finetune(data, tmp_path / "model", settings, fill)
    assert record.best_epoch == 2
    assert "the training state of step" in capsys.readouterr().err
    assert [path.name for path in disk.iterdir()] == []


@pytest.mark.timeout(600)  # three runs, where other tests have one
def test_a_run_killed_in_any_step_goes_on_when_it_is_run_again(tmp_path):
    """`mynah run`, killed with all that it started, as a machine that goes away does; then with the same arguments, to the end."""
    workdir = tmp_path / "work"
    states = workdir / "checkpoints" / "wren"
    arguments = ["run", "--name", "wren", "--from", "sample", "--limit", "500", "--set", "epochs=2", "--workdir", workdir]
    process = [sys.executable, "-m", "pipelines", *map(str, arguments)]
    environment = ONE_THREAD | {"MYNAH_CHECKPOINT_SECONDS": "1"}
    with subprocess.Popen(process, stderr=subprocess.PIPE, text=True, env=environment) as run:
        next(line for line in run.stderr if line.startswith("Filtering"))
        kill_all(run, workdir)
    with subprocess.Popen(process, stderr=subprocess.PIPE, text=True, env=environment) as run:
        deadline = time.monotonic() + SECONDS
        while steps(states) < 5 and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        told = kill_all(run, workdir)
    at = steps(states)
    assert at >= 5, told
    done = subprocess.run(process, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"resuming at step {at} of " in done.stderr
    assert list((workdir / "checkpoints").iterdir()) == []


def kill_all(run, folder):
    """Kill a run with all that it started, and give what it still had to say."""
    family = [str(process.pid) for process in psutil.Process(run.pid).children(recursive=True)]
    for pid in [str(run.pid), *family, *processes_of(folder)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    return run.stderr.read()


def processes_of(folder):
    """Those that name the folder in their command line or environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (path / "cmdline").read_bytes() + (path / "environ").read_bytes():
                found.append(path.name)
    return found
