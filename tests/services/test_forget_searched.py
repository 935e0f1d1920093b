"""What is searched and erased in a work folder, and that the receipt names what is not: links, folders that cannot be listed, other folders."""

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from components.forget import step as forgetting
from components.forget.reach import Reach
from components.forget.subject import Subject
from mynah.core.errors import InputError, PlatformError
from mynah.registry.forgotten_authors import forgotten_since
from mynah.tracking.open import open_store

PACKED = Path(__file__).with_name("earlier") / "work.tar.xz"
POST = json.dumps({"id": "1", "author": "ann", "text": "a letter from home"}) + "\n"


@pytest.fixture(scope="module")
def adopted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adopted") / "work"
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter="data")
    open_store(folder)
    return folder


@pytest.fixture
def work(adopted, tmp_path):
    """A work folder with the bot wren of ann, and beside it the folder `other`, in which nothing may change."""
    shutil.copytree(adopted, tmp_path / "work")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "posts.jsonl").write_text(POST)
    before = tree(tmp_path / "other")
    yield tmp_path / "work"
    assert tree(tmp_path / "other") == before


def tree(folder):
    """Every file with its digest, and each folder with its mode."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path.stat().st_mode
        for path in (folder, *folder.rglob("*"))
    }


def forget(work, subject="@ann"):
    done = forgetting.forget(Subject.parse(subject), open_store(work), Reach(), "")
    record = json.loads(done.receipt.read_text())
    assert list(done.not_searched) == record["not_searched"]
    return record["not_searched"]


def late_run(work):
    """The folder of a run that was killed before it was recorded."""
    run = work / "runs" / "20261201-000000-late"
    (run / "raw").mkdir(parents=True)
    return run


def test_all_of_a_plain_work_folder_is_searched(work):
    assert forget(work) == []


def test_a_link_that_leads_out_is_named_and_not_followed(work, capsys):
    run, other = late_run(work), work.parent / "other"
    (run / "raw").rmdir()
    (run / "raw").symlink_to(other)
    (work / "cards").mkdir()
    (work / "cards" / "posts.jsonl").symlink_to(other / "posts.jsonl")
    (work / "cards" / "inside").symlink_to(work / "runs")
    out = "a link that leads out of the work folder"
    assert forget(work) == [f"{work}/cards/posts.jsonl, {out}", f"{run}/raw, {out}"]
    assert f"not searched, and not erased: {run}/raw" in capsys.readouterr().err


def test_what_lies_in_the_folder_and_is_not_of_it_is_named(adopted, work):
    shutil.copytree(adopted, work / "backup")
    shutil.copytree(adopted, work / "runs" / "older")
    (work / "data").mkdir()
    (work / "data" / "train.jsonl").write_text(POST)
    assert forget(work) == [
        f"{work}/backup, another work folder: name it with --workdir",
        f"{work}/data, which is no part of the work folder",
        f"{work}/runs/older, another work folder: name it with --workdir",
    ]
    assert list((work / "backup" / "mlartifacts").rglob("model.safetensors"))


def test_a_part_that_is_elsewhere_in_the_folder_is_searched_there(work):
    (work / "runs").rename(work / "all runs")
    (work / "runs").symlink_to("all runs")
    assert forget(work) == []
    assert list((work / "all runs").iterdir()) == []


def test_files_that_a_restored_database_does_not_know_are_named(work):
    [model] = (work / "mlartifacts" / "models").iterdir()
    shutil.copytree(model, model.with_name("m-later"))
    (work / "mlartifacts" / "0123").mkdir()
    named = "which no run and no model of the store names"
    assert forget(work) == [f"{work}/mlartifacts/0123, {named}", f"{model.with_name('m-later')}, {named}"]


def test_a_preview_names_what_is_not_searched(adopted, work, mynah):
    shutil.copytree(adopted, work / "backup")
    done = mynah("forget", "wren", "--dry-run", "--json", "--workdir", work)
    assert json.loads(done.stdout)["not_searched"] == [f"{work}/backup, another work folder: name it with --workdir"], done.stderr


@pytest.mark.parametrize(
    "place", ["runs", "runs/*/raw", "mlartifacts/models/*", "checkpoints", ".unsent", "runs/*/raw/posts.jsonl"]
)
def test_a_place_that_cannot_be_read_is_not_taken_as_empty(work, monkeypatch, place):
    for part in ("checkpoints", ".unsent"):
        (work / part).mkdir(exist_ok=True)
    (late_run(work) / "raw" / "posts.jsonl").write_text(POST)
    [closed, *_] = sorted(work.glob(place))
    before = tree(work / "mlartifacts")
    refuse_reading(monkeypatch, closed)
    with pytest.raises(PlatformError, match=f"{closed} cannot be searched: Permission denied"):
        forget(work)
    monkeypatch.undo()
    assert (list(work.glob("receipts/*")), tree(work / "mlartifacts")) == ([], before)


def test_what_only_root_may_list_beside_the_parts_stops_nothing(work, monkeypatch):
    (work / "lost+found").mkdir()
    with monkeypatch.context() as patch:
        refuse_reading(patch, work / "lost+found")
        assert forget(work) == [f"{work}/lost+found, which is no part of the work folder"]


def refuse_reading(monkeypatch, closed):
    """Let the operating system refuse one place: permissions do not stop root, who runs tests in a container."""

    def refusing(real):
        def call(path, *arguments, **options):
            if not isinstance(path, int) and Path(path) == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *arguments, **options)

        return call

    for module, name in ((os, "listdir"), (os, "scandir"), (Path, "open")):
        monkeypatch.setattr(module, name, refusing(getattr(module, name)))


PARTS = ["mlartifacts", "mlflow.db", "runs", "cards", "receipts", ".forgetting"]


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_written_through_a_link_that_leads_out(work, mynah, part):
    if (work / part).exists():
        (work / part).rename(work.parent / "aside")
    target = work.parent / ("aside" if (work.parent / "aside").exists() else "other")
    (work / part).symlink_to(target)
    before = tree(target) if target.is_dir() else hashlib.sha256(target.read_bytes()).hexdigest()
    told = f"{work / part} is a link that leads out of the work folder"
    [run] = (work / "runs").iterdir()
    folders = [run / each for each in ("model", "data", "report", "card")]
    for command in (
        ["register", "--name", "wren", *folders], ["promote", "wren", "--force", "to try"], ["rollback", "wren"],
        ["card", "wren", "--choose", "2"], ["forget", "@ann", "--yes"], ["forget", "@zoe", "--tombstone-only"], ["remember", "@ann"],
    ):  # fmt: skip
        done = mynah(*command, "--workdir", work)
        assert (done.returncode, told in done.stderr) == (2, True), (command, done.stderr)
    assert (tree(target) if target.is_dir() else hashlib.sha256(target.read_bytes()).hexdigest()) == before
    assert mynah("bots", "--workdir", work).returncode == 0


def test_artifacts_are_not_stored_through_a_link_of_one_run(work):
    from mynah.storage.open import open_artifact_store

    (work / "mlartifacts" / "0123").symlink_to(work.parent / "other")
    place = open_artifact_store(f"file://{work}/mlartifacts/0123/artifacts", f"sqlite:///{work}/mlflow.db")
    with pytest.raises(InputError, match="a link leads out of"):
        place.put("raw/posts.jsonl", work.parent / "other" / "posts.jsonl")


def test_an_author_is_barred_before_the_first_run(mynah, tmp_path):
    work = tmp_path / "new" / "work"
    done = mynah("forget", "zoe", "--tombstone-only", "--workdir", work)
    assert (done.returncode, "zoe is a bot" in done.stderr, work.exists()) == (2, True, False), done.stderr
    done = mynah("forget", "@zoe", "--tombstone-only", "--workdir", work)
    assert (done.returncode, "@zoe is barred since" in done.stdout) == (0, True), done.stderr
    assert forgotten_since(open_store(work), "zoe")
    assert mynah("bots", "--workdir", work, "--json").stdout == "[]\n"
    posts = tmp_path / "zoe.csv"
    posts.write_text("text\n" + "a post of several words\n" * 30)
    done = mynah("run", "--name", "zoe", "--from", posts, "--basis", "permission", "--base-model", "fledgling", "--workdir", work)
    assert "must not be fetched again" in done.stderr, done.stderr


def test_a_link_to_no_database_makes_none(mynah, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mlflow.db").symlink_to(tmp_path / "elsewhere.db")
    done = mynah("forget", "@zoe", "--tombstone-only", "--workdir", tmp_path / "work")
    assert (done.returncode, "is a link that leads out" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "elsewhere.db").exists()
