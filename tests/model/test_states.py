"""Training states in a folder: all or nothing, the newest two, and never a wrong one, whatever became of the files."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from mynah.core.errors import InputError, PlatformError
from mynah.training import state_store as module
from mynah.training.state_format import sha256_of
from mynah.training.state_store import State, States

IDENTITY = {"recipe": {"epochs": 2, "learning_rate": 1e-3}, "data_digest": "0" * 64}


def state(step):
    tensors = {
        "weight": torch.arange(40.0) * step,
        "step": torch.tensor(float(step)),
        "random": torch.arange(9, dtype=torch.uint8),
    }
    return State(step, tensors, {"progress": {"step": step, "losses": [0.1 * step, None]}, "authors": ["ann"]})


def same(found, expected):
    assert found.step == expected.step
    assert found.values == expected.values
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def names(folder):
    return sorted(path.name for path in folder.glob("*/*"))


@pytest.fixture
def states(tmp_path):
    return States(str(tmp_path / "kept"), IDENTITY)


def test_the_newest_two_are_kept_and_come_back_as_they_were(states, tmp_path):
    assert states.newest() is None
    states.require_space(1000)
    for step in (7, 80, 900):
        states.save(state(step))
    assert names(tmp_path / "kept") == [".lock", "step-000080", "step-000900"]
    same(States(str(tmp_path / "kept"), dict(reversed(IDENTITY.items()))).newest(), state(900))
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "kept").glob("*/step-*")] == [0, 0]
    states.clear()
    assert list(tmp_path.iterdir()) == []
    states.clear()


def test_another_trainings_states_are_not_used(states, tmp_path, capsys):
    states.save(state(7))
    others = States(str(tmp_path / "kept"), {**IDENTITY, "data_digest": "1" * 64})
    assert others.newest() is None
    assert "are states of another recipe, base model or data" in capsys.readouterr().err
    shutil.copytree(states.uri, others.uri)  # moved by somebody
    assert others.newest() is None
    assert "is not used: it is of another training" in capsys.readouterr().err


def test_a_training_that_begins_before_a_damaged_state_replaces_it(states, tmp_path):
    for step in (10, 20):
        states.save(state(step))
    (Path(states.uri) / "step-000020" / "state.json").write_text("{}")
    same(states.newest(), state(10))
    states.save(state(15))
    assert names(tmp_path / "kept") == [".lock", "step-000010", "step-000015"]
    (Path(states.uri) / "step-000015" / "state.safetensors").unlink()
    states.save(state(15))
    same(states.newest(), state(15))


def test_a_disk_that_is_full_leaves_the_earlier_ones(small_disk, capsys):
    disk = small_disk(600)
    states = States(str(disk), IDENTITY)
    large = State(30, {"weight": torch.zeros(50_000)}, {})
    with pytest.raises(PlatformError, match="keeping training states needs about 1 MB"):
        states.require_space(300_000)
    assert not list(disk.glob("*/step-*"))
    states.save(state(10))
    states.save(State(20, large.tensors, {}))
    states.save(large)  # 10 goes once it is written
    (disk / "ballast").write_bytes(b"x" * 100_000)
    with pytest.raises(PlatformError, match="no space left"):
        states.save(State(40, large.tensors, {}))
    assert names(disk) == [".lock", "step-000020", "step-000030"]
    assert States(str(disk), IDENTITY).newest().step == 30
    assert capsys.readouterr().err == ""


def test_what_a_process_that_was_killed_left_goes_with_the_next(states, tmp_path):
    states.save(state(7))
    half = Path(states.uri) / ".half-killed"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"x" * 100)
    same(states.newest(), state(7))
    states.save(state(8))
    assert names(tmp_path / "kept") == [".lock", "step-000007", "step-000008"]


@pytest.mark.parametrize("where", ["", "s3://", "gs://bucket/prefix", "https://x"])
def test_places_that_are_none(where):
    with pytest.raises(InputError, match="cannot be kept in"):
        States(where, IDENTITY)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="cannot be"):
        States(str(tmp_path / "file"), IDENTITY).require_space(10)
    with pytest.raises(PlatformError, match="cannot be"):
        States("/proc/mynah", IDENTITY).require_space(10)


def test_where_pipelines_keep_them(monkeypatch, tmp_path):
    for name in ("MYNAH_CHECKPOINTS", "MYNAH_S3_BUCKET", "MYNAH_CHECKPOINT_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    assert module.states_of("wren") == ""
    assert module.run_state_location(tmp_path, is_server=True) == str(tmp_path / "checkpoints")
    monkeypatch.setenv("MYNAH_S3_BUCKET", "birds")
    assert module.states_of("wren") == "s3://birds/checkpoints/wren"
    assert module.run_state_location(tmp_path, is_server=True) == "s3://birds/checkpoints"
    assert module.run_state_location(tmp_path, is_server=False) == str(tmp_path / "checkpoints")
    monkeypatch.setenv("MYNAH_CHECKPOINTS", "s3://other/place/")
    assert module.states_of("wren") == "s3://other/place/wren"
    assert module.run_state_location(tmp_path, is_server=False) == "s3://other/place"
    with pytest.raises(InputError, match="can't be a bot's name"):
        module.states_of("../wren")
    for name, value in (
        ("MYNAH_CHECKPOINTS", "gs://x"),
        ("MYNAH_CHECKPOINT_SECONDS", "often"),
        ("MYNAH_CHECKPOINT_SECONDS", "nan"),
    ):
        with monkeypatch.context() as patch, pytest.raises(InputError, match=value):
            patch.setenv(name, value)
            module.run_state_location(tmp_path, is_server=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with the states of step 10 and 20, to be damaged."""
    folder = tmp_path_factory.mktemp("two")
    for step in (10, 20):
        States(str(folder), IDENTITY).save(state(step))
    return folder


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**60, 2**80) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = [("step",), ("identity",), ("format",), ("tensors",), ("tensors", "size"), ("tensors", "sha256"), ("values",)]
files = st.sampled_from(["state.json", "state.safetensors"])
foreign = st.one_of(
    st.binary(max_size=300), anything.map(lambda value: json.dumps(value).encode()), st.sampled_from(
        [b"", b"[" * 100_000, b'{"sha256": ' + b"9" * 5000 + b"}", b"\xff\xfe", b'{"sha256": null}', save({"x": torch.ones(3)})]
    ),
)  # fmt: skip
damage = st.one_of(
    st.tuples(st.just("cut"), files, st.floats(0, 1, exclude_max=True)),
    st.tuples(st.just("flip"), files, st.floats(0, 1, exclude_max=True), st.integers(1, 255)),
    st.tuples(st.just("write"), files, foreign),
    st.tuples(st.just("gone"), files),
    st.tuples(st.just("folder"), files),
    st.tuples(st.just("swap"), files),
    st.tuples(st.just("forge"), st.sampled_from(KEYS), anything),
    st.tuples(st.just("forge tensors"), foreign),
)  # fmt: skip


def harm(folder, other, what, *how):
    """Damage the state in `folder`; a forgery has the right digest of its own."""
    if what in ("forge", "forge tensors"):
        path = folder / "state.json"
        try:
            record = json.loads(path.read_bytes())
            record.pop("sha256")
            if what == "forge":
                *above, key = how[0]
                inner = record[above[0]] if above else record
                inner[key] = how[1] if key != "values" else 5  # other values could not be told from real ones
            else:
                import hashlib

                (folder / "state.safetensors").write_bytes(how[0])
                record["tensors"] = {"size": len(how[0]), "sha256": hashlib.sha256(how[0]).hexdigest()}
                record["values"] = None if how[0] == (other / "state.safetensors").read_bytes() else record["values"]
            path.write_text(json.dumps({**record, "sha256": sha256_of(record)}))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return  # it was damaged before
        return
    path = folder / how[0]
    if not path.is_file():
        return
    data = path.read_bytes()
    if what == "cut":
        path.write_bytes(data[: int(how[1] * len(data))])
    elif what == "flip" and data:
        place = int(how[1] * len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ how[2]]) + data[place + 1 :])
    elif what == "write":
        path.write_bytes(how[1])
    elif what in ("gone", "folder"):
        path.unlink()
        if what == "folder":
            path.mkdir()
    elif what == "swap" and (other / how[0]).is_file():
        path.write_bytes((other / how[0]).read_bytes())
        (other / how[0]).write_bytes(data)


@settings(max_examples=300)
@given(newest=st.lists(damage, max_size=2), before=st.lists(damage, max_size=1))
def test_whatever_became_of_the_files_never_a_wrong_state(two, newest, before):
    memory = Path("/dev/shm")  # where a disk's fsync takes no time
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        copy = Path(scratch) / "copy"
        shutil.copytree(two, copy)
        states = States(str(copy), IDENTITY)
        ten, twenty = (Path(states.uri) / f"step-{step:06d}" for step in (10, 20))
        for each in newest:
            harm(twenty, ten, *each)
        for each in before:
            harm(ten, twenty, *each)
        found = states.newest()
        if not newest and not before:
            assert found.step == 20
        if found and not any(each[0] == "forge tensors" for each in (*newest, *before)):
            same(found, state(found.step))
        states.save(state(30))  # and it goes on
        same(states.newest(), state(30))
