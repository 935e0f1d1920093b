"""A work folder that was moved or copied: every command works on what is in it, and the original keeps every byte."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest
from registry_inputs import FOLDERS

from components.deploy.version_to_deploy import serving_of
from components.finetune.parent_model import parent_from_champion
from components.forget import step as forgetting
from components.forget.reach import Reach
from components.forget.subject import Subject
from components.register.step import register_folders
from mynah.core.errors import InputError
from mynah.maintenance.doctor import examine
from mynah.mlflow_client.client import client
from mynah.mlflow_client.store import Store
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from mynah.tracking.outbox import save_unsent
from mynah.tracking.runs import start_parent
from serving.models.sources import RegistrySource

PACKED = Path(__file__).with_name("earlier") / "work.tar.xz"  # a work folder made by the code of before: see earlier/make.py


def tree(folder: Path) -> dict[str, str]:
    """Every file with its digest, and every link and folder; not the lock, which opening a store touches."""
    found = {}
    for path in sorted(folder.rglob("*")):
        what = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = str(path.readlink()) if path.is_symlink() else what
    return {name: what for name, what in found.items() if not name.endswith(".lock")}


@pytest.fixture(scope="module")
def adopted(tmp_path_factory):
    """A work folder of the earlier code whose addresses name where it lies."""
    folder = tmp_path_factory.mktemp("adopted") / "work"
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter="data")
    open_store(folder)
    return folder


@pytest.fixture
def original(adopted, tmp_path):
    """A work folder that lives on while its copy is used: no command may change a byte of it."""
    shutil.copytree(adopted, tmp_path / "original")
    open_store(tmp_path / "original")
    before = tree(tmp_path / "original")
    yield tmp_path / "original"
    assert tree(tmp_path / "original") == before


@pytest.fixture
def copy(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "a copy"))


@pytest.fixture
def moved(adopted, tmp_path):
    """A work folder whose database names a folder that is gone."""
    shutil.copytree(adopted, tmp_path / "before")
    open_store(tmp_path / "before")
    return (tmp_path / "before").rename(tmp_path / "moved")


@pytest.fixture
def answer(mynah, original):
    """What a command prints as JSON; the original is compared after each."""
    before = tree(original)

    def call(*arguments):
        done = mynah(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert tree(original) == before, arguments
        return json.loads(done.stdout)

    return call


def files_below(folder):
    return [path for path in folder.rglob("*") if not path.is_dir()]


def problems(folder):
    return [finding.problem for finding in examine(open_store(folder), None, deep=True) if not finding.is_well]


def forget(subject, workdir):
    """The receipt of what was forgotten."""
    return forgetting.forget(Subject.parse(subject), open_store(workdir), Reach(), "").receipt


def register(workdir):
    """The run's own folders once more, as the next version."""
    [run] = (workdir / "runs").iterdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's and transformers' own
        return register_folders("wren", *(run / each for each in FOLDERS), workdir).version


def test_a_copy_is_read(answer, copy, tmp_path):
    (copy / "mlartifacts").rename(tmp_path / "aside")
    assert len(problems(copy)) == 2  # champion and challenger, although the original has the files
    (tmp_path / "aside").rename(copy / "mlartifacts")
    assert problems(copy) == []
    assert [bot["champion"] for bot in answer("bots", "--workdir", copy)] == [1]
    assert len(answer("card", "wren", "--workdir", copy)["samples"]) > 1
    assert len(answer("generate", "wren", "The sea", "--max-tokens", "3", "--workdir", copy)["texts"]) == 1
    assert Path(answer("card", "wren", "--choose", "2", "--workdir", copy)["card"]).is_relative_to(copy)
    assert answer("export", "wren", "--to", "folder", "--out", tmp_path / "out", "--workdir", copy)["version"] == 1


def test_a_copy_that_nothing_has_opened_is_served(copy):
    source = RegistrySource(Store.in_folder(copy))
    assert source.fetch("wren", "1").folder.is_relative_to(copy)
    assert source.card_folder("wren", "1").is_relative_to(copy)
    assert parent_from_champion("wren", Store.in_folder(copy)).folder.is_relative_to(copy)
    with pytest.raises(InputError, match=r"a%20copy/mlartifacts.* which no cluster can read"):
        serving_of("wren", Store.in_folder(copy), force="to see where it is")


def test_a_copy_is_written_and_pruned(answer, copy, original):
    before = tree(copy / "mlartifacts")
    assert register(copy) == 2
    registry = Registry(open_store(copy))
    assert answer("diff", "wren", "1", "2", "--workdir", copy)["data"]["same"]
    assert (problems(copy), before.items() < tree(copy / "mlartifacts").items()) == ([], True)
    registry.client.set_registered_model_alias("wren", "challenger", "1")
    removed = answer("prune", "--keep", "0", "--no-cluster", "--workdir", copy)
    assert [(each["kind"], each["name"]) for each in removed] == [("version", "wren 2")]
    assert len(list(copy.rglob("mlartifacts/**/model.safetensors"))) == 1
    assert problems(copy) == problems(original) == []


@pytest.mark.parametrize("subject", ["wren", "@ann"])
def test_a_copy_is_forgotten_in_and_the_original_stays(mynah, answer, copy, original, subject):
    words = (b"a letter from home", b"wren") if subject == "wren" else (b"a letter from home",)
    receipt = forget(subject, copy)
    left = [
        path
        for path in copy.rglob("*")
        if path.is_file() and path != receipt and any(word in path.read_bytes() for word in words)
    ]
    assert (left, files_below(copy / "mlartifacts")) == ([], [])
    record = json.loads(receipt.read_text())
    assert all(Path(item["address"]).is_relative_to(copy) for item in record["items"] if item["kind"] == "file")
    assert answer("receipt", receipt, "--workdir", copy)["back"] == []
    found = mynah("receipt", receipt, "--workdir", original)
    assert (found.returncode, "are there again" in found.stderr) == (3, True)


def test_a_receipt_is_checked_where_the_folder_is_now(mynah, moved):
    backup = shutil.copytree(moved, moved.with_name("backup"))
    receipt = forget("wren", moved).name
    assert files_below(moved / "mlartifacts") == []
    moved.rename(moved.with_name("later"))
    receipt = moved.with_name("later") / "receipts" / receipt
    assert mynah("receipt", receipt, "--workdir", moved.with_name("later")).returncode == 0
    weights = next(Path(backup).rglob("mlartifacts/**/model.safetensors")).relative_to(backup)
    (moved.with_name("later") / weights).parent.mkdir(parents=True)
    shutil.copyfile(backup / weights, moved.with_name("later") / weights)
    found = mynah("receipt", receipt, "--workdir", moved.with_name("later"))
    assert (found.returncode, str(moved.with_name("later") / weights.parent) in found.stderr) == (3, True)


def test_the_journal_of_a_copied_folder_names_its_own_files(original, copy):
    """A copy made while `mynah forget` was interrupted; earlier versions noted no folder in the journal."""
    items = [asdict(item) for item in forgetting.preview(Subject.parse("wren"), open_store(original), Reach()).items]
    journal = copy / ".forgetting" / f"{Subject.parse('wren').key}.json"
    journal.parent.mkdir()
    journal.write_text(json.dumps({"begun": "2026-01-01T00:00:00+00:00", "items": items, "blends": []}))
    receipt = forget("wren", copy)
    record = json.loads(receipt.read_text())
    assert (record["begun"], len(record["items"]) >= len(items)) == ("2026-01-01T00:00:00+00:00", True)
    assert str(original) not in receipt.read_text()


def test_records_that_waited_are_sent_from_the_copy_into_it(adopted, tmp_path):
    original = shutil.copytree(adopted, tmp_path / "original")
    store, posts = open_store(original), tmp_path / "posts.jsonl"
    posts.write_text("{}\n")
    run = start_parent(store, "wren", {})
    uri = client(store.tracking_uri).get_run(run).info.artifact_uri
    save_unsent(
        original / ".unsent", run, [{"run": run, "do": "artifacts", "uri": f"{uri}/raw", "files": {"a.jsonl": str(posts)}}]
    )
    copy = shutil.copytree(original, tmp_path / "copy")
    [earlier] = (copy / ".unsent").glob("*/operations.jsonl")
    [kept] = (original / ".unsent").glob("*/0-*")
    earlier.write_text(earlier.read_text().replace(kept.name, str(kept)))  # as earlier versions wrote it
    before = tree(original)
    open_store(copy)
    assert tree(original) == before
    assert (copy / "mlartifacts" / run / "artifacts" / "raw" / "a.jsonl").read_text() == "{}\n"
    assert list((copy / ".unsent").glob("*-*")) == []


@pytest.mark.parametrize("part", ["mlartifacts", "runs", "mlflow.db"])
def test_what_a_copy_shares_with_the_original_is_not_erased(mynah, original, copy, part):
    shutil.rmtree(copy / part) if (copy / part).is_dir() else (copy / part).unlink()
    (copy / part).symlink_to(original / part)
    refused = f"{copy / part} is a link that leads out of the work folder"
    for subject in ("wren", "@ann"):
        with pytest.raises(InputError, match=refused):
            forget(subject, copy)
    done = mynah("prune", "--keep", "0", "--no-cluster", "--workdir", copy)
    assert (done.returncode, refused in done.stderr) == (2, True), done.stderr
    assert not (copy / "receipts").exists()
    assert mynah("bots", "--workdir", copy).returncode == 0


@pytest.mark.parametrize("bot", ["../../other", "{}/other", "../../../other/dear"])
def test_a_tag_that_leads_out_erases_and_writes_nothing_there(moved, tmp_path, bot):
    """Anybody can write tags, and a bot's cards and lock are called as it is."""
    for name in (tmp_path / "other", moved / "cards"):
        name.mkdir()
    (tmp_path / "other" / "dear").write_text("mine")
    registry = Registry(open_store(moved))
    run = registry.client.get_run(registry.bot("wren").champion.run_id)
    registry.client.set_tag(run.data.tags["mlflow.parentRunId"], "mynah.bot", bot.format(tmp_path))
    forget("@ann", moved)
    assert (files_below(tmp_path / "other"), sorted(tmp_path.iterdir())) == (
        [tmp_path / "other" / "dear"],
        [moved, tmp_path / "other"],
    )
    assert files_below(moved / "mlartifacts") == []


def test_what_an_earlier_version_left_behind_is_named(capsys, moved, tmp_path):
    """It registered a moved folder's next version where the folder had been."""
    [model] = (moved / "mlartifacts" / "models").iterdir()
    behind = tmp_path / "before" / model.relative_to(moved)
    behind.parent.mkdir(parents=True)
    model.rename(behind)
    [finding, _] = [finding for finding in examine(open_store(moved), None) if not finding.is_well]
    assert finding.fix == f"Its files are still where the work folder was: cp -r {behind}/artifacts/. {model}/artifacts/"
    receipt = forget("wren", moved)
    assert f"{behind}/artifacts is of wren too" in capsys.readouterr().err
    assert json.loads(receipt.read_text())["not_searched"][0] == f"{behind}/artifacts"
    assert (behind / "artifacts" / "MLmodel").exists()


READ_ONLY = """
import sys
from pathlib import Path
from mynah.core.errors import PlatformError
from mynah.mlflow_client.store import Store
from mynah.tracking.open import check_artifacts, open_store
from mynah.tracking.runs import start_parent
from pipelines.cli.main import main
from serving.models.sources import RegistrySource

folder = sys.argv[1]
for command in {commands!r}:
    sys.argv = ["mynah", *command, "--workdir", folder]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, command
assert RegistrySource(Store.in_folder(Path(folder))).fetch("wren", "1").folder.is_relative_to(folder)
for write in (lambda store: start_parent(store, "wren", {{}}), check_artifacts):
    try:
        write(open_store(Path(folder)))
        raise SystemExit("it was written")
    except PlatformError as error:
        assert "cannot be written" in str(error), error
sys.argv = ["mynah", "promote", "wren", "--version", "1", "--workdir", folder]
main()
"""


def test_a_read_only_folder_is_read(moved):
    """On a disk that nobody may write: in a process with mounts of its own, which end with it."""
    commands = (["bots"], ["show", "wren"], ["card", "wren"], ["costs"], ["generate", "wren", "--max-tokens", "3"],
                ["forget", "wren", "--dry-run"], ["prune", "--dry-run"])  # fmt: skip
    mounted = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 77; exec "$2" -c "$3" "$1"'
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, "sh", moved, sys.executable]
    before = tree(moved)
    done = subprocess.run([*shell, READ_ONLY.format(commands=commands)], capture_output=True, text=True)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("mounting needs root")
    assert (done.returncode, "cannot be written" in done.stderr, "Traceback" in done.stderr) == (3, True, False), done.stderr
    assert tree(moved) == before
