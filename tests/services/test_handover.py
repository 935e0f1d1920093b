"""What steps hand on through a bucket: whole, verified, and nothing that another wrote there."""

import json

import pytest

from components.fetch.component import fetch
from components.handover import Handover, handover, publish_file, read_file, remove_handed_on
from components.run_inputs import RunInputs, read_inputs
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import atomic_folder
from mynah.storage.run_files import RunFiles, new_id
from mynah.storage.s3 import S3ArtifactStore
from tests.services.cluster_runs import keys_of

RUN = "0c5a2b0e-0000-0000-0000-000000000001"
FILES = {"train.jsonl": "one\n", "sub/ünï code.txt": "two", "empty": ""}


@pytest.fixture
def own(bucket, s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return RunFiles(bucket[1], new_id())


@pytest.fixture
def spec(own, tmp_path):
    RunInputs("wren", ["sample"], "fledgling").write(tmp_path / "spec.json")
    return publish_file(own.spec, tmp_path / "spec.json")


def write(files, name, texts):
    with atomic_folder(files.new(name)) as folder:
        for file, text in texts.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)
    return files.hand_on(name)


def texts_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_handed_on_whole(own, spec, bucket):
    with handover(spec, RUN) as files:
        data = write(files, "data", FILES)
    assert data.startswith(f"{own.of(RUN)}/data#sha256=")
    with handover(spec, RUN) as files:
        folder = files.open(data)
        assert texts_of(folder) == FILES
    assert not folder.exists()  # a step leaves nothing in its container
    assert read_inputs(spec).name == "wren"
    assert S3ArtifactStore(bucket[1], "runs").folders() == [own.id]


def test_a_second_attempt_takes_the_place_of_the_first(spec):
    with handover(spec, RUN) as files:
        first = write(files, "data", FILES)
    with handover(spec, RUN) as files:
        second = write(files, "data", {"train.jsonl": "other"})
    with handover(spec, RUN) as files:
        assert texts_of(files.open(second)) == {"train.jsonl": "other"}
        with pytest.raises(PlatformError, match="was changed after it was handed on"):
            files.open(first)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda put, _: put("data/train.jsonl", b"evil"), "data/train.jsonl was changed after it was handed on"),
        (lambda put, _: put("data/train.jsonl", b"longer than it was"), "data/train.jsonl was changed"),
        (lambda _, delete: delete("data/empty"), "data/empty is missing"),
        (lambda put, _: put("data/more.py", b"evil"), "data/more.py was added after the folder was handed on"),
        (lambda put, _: put("data/../../up", b"evil"), "holds '../../up', which is no safe file name"),
        (lambda _, delete: delete("data/.handed-on.json"), "data/.handed-on.json is missing"),
        (lambda put, _: put("data/.handed-on.json", b'{"files": {}}'), "data/.handed-on.json was changed"),
    ],
    ids=["changed", "longer", "missing", "added", "unsafe", "no manifest", "another manifest"],
)
def test_what_another_wrote_there_is_refused_by_name(own, spec, bucket, change, said):
    client, name = bucket
    with handover(spec, RUN) as files:
        data = write(files, "data", FILES)
    home = f"{own.prefix}/{RUN}/"
    change(
        lambda key, body: client.put_object(Bucket=name, Key=home + key, Body=body),
        lambda key: client.delete_object(Bucket=name, Key=home + key),
    )
    with handover(spec, RUN) as files, pytest.raises(PlatformError, match=said):
        files.open(data)


@pytest.mark.parametrize("unsafe", ["../up", "/etc/passwd", "a/../../b", "..", ".", "a//b", "a\\b", ""])
def test_a_manifest_with_an_unsafe_name_is_refused(own, spec, tmp_path, unsafe):
    entry = {"size": 1, "sha256": "0" * 64}
    (tmp_path / "manifest").write_text(json.dumps({"files": {unsafe: entry}}))
    reference = publish_file(f"{own.of(RUN)}/data/.handed-on.json", tmp_path / "manifest")
    with handover(spec, RUN) as files, pytest.raises(PlatformError, match="no safe file name"):
        files.open(reference.replace("/.handed-on.json", ""))


def test_a_changed_or_missing_specification_is_refused(own, spec, bucket):
    client, name = bucket
    client.put_object(Bucket=name, Key=f"{own.prefix}/spec.json", Body=b"{}")
    with pytest.raises(PlatformError, match=r"spec.json was changed"):
        read_file(spec)
    client.delete_object(Bucket=name, Key=f"{own.prefix}/spec.json")
    with pytest.raises(PlatformError, match=r"spec.json is missing"):
        fetch.python_func(spec=spec, kfp_run=RUN, parent_run="")


def test_only_what_was_handed_on_is_removed_at_the_end(own, spec, bucket):
    client, name = bucket
    with handover(spec, RUN) as files:
        write(files, "raw", FILES)
        write(files, "model", FILES)
    client.put_object(Bucket=name, Key=f"{own.prefix}/{RUN}/logs/fetch-1.log", Body=b"said")
    client.put_object(Bucket=name, Key=f"{own.prefix}/another-run/raw/posts.jsonl", Body=b"{}")
    remove_handed_on(spec, RUN)
    left = sorted(key.removeprefix(own.prefix) for key in keys_of(client, name))
    assert left == [f"/{RUN}/logs/fetch-1.log", "/another-run/raw/posts.jsonl", "/spec.json"]


def test_on_this_machine_nothing_is_copied(tmp_path):
    spec = RunInputs("wren", ["sample"], "fledgling").write(tmp_path / "run.json")
    with handover(spec, "") as files:
        data = write(files, "data", FILES)
        assert files.open(data) == tmp_path / "data"
    assert data == str(tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run.json"]
    with pytest.raises(InputError, match=r"none.json cannot be read"):
        read_file(str(tmp_path / "none.json"))


def test_a_reference_without_a_digest_is_none(own, tmp_path):
    with pytest.raises(PlatformError, match="is no reference"):
        Handover(own.of(RUN), tmp_path).open(f"{own.of(RUN)}/data")
    with pytest.raises(PlatformError, match="is no reference"):
        read_file(own.spec)
