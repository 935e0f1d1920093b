"""Real file systems that are not Linux's own: exFAT without permissions, NTFS that takes A for a, and a FAT driver that loses files."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from registry_inputs import aliases, make_outputs, register_all

from mynah.core.errors import InputError, PlatformError
from mynah.core.file_system import require_file_system
from mynah.core.files import atomic_folder, refuse_foreign_folder, set_mode, storage_errors, sync, write_text
from mynah.training.state_format import State
from mynah.training.state_store import States
from serving.auth.api_keys import Key, Limits
from serving.auth.key_file import add_key, read_keys

MEGABYTES = 64
NOBODY = 65534


def _run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{command[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    return done.stdout.strip()


@pytest.fixture
def disk():
    """A function that makes a disk of a kind and gives the folder that it is mounted on, which everybody may enter."""
    undo, base = [], Path(tempfile.mkdtemp())
    base.chmod(0o755)

    def mount(kind: str) -> Path:
        programs = {"exfat": ("mkfs.exfat", "mount.exfat-fuse", "losetup"), "ntfs": ("mkfs.ntfs", "lowntfs-3g"),
                    "fat": ("mkfs.vfat", "fusefat")}[kind]  # fmt: skip
        if missing := [name for name in (*programs, "umount") if not shutil.which(name)]:
            pytest.skip(f"not installed: {', '.join(missing)}; apt-get install exfat-fuse exfatprogs ntfs-3g fusefat dosfstools")
        if os.geteuid() or not Path("/dev/fuse").exists():
            pytest.skip("mounting by FUSE needs root and /dev/fuse")
        image, folder = base / f"{kind}.img", base / kind
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(MEGABYTES << 20)
        if kind == "exfat":
            _run("mkfs.exfat", image)
            device = _run("losetup", "-f", "--show", image)
            undo.append(("losetup", "-d", device))
            _run("mount.exfat-fuse", device, folder)
        elif kind == "ntfs":
            _run("mkfs.ntfs", "-F", "-Q", "-q", image)
            _run("lowntfs-3g", "-o", "ignore_case,windows_names", image, folder)
        else:
            _run("mkfs.vfat", "-F", "32", image)
            _run("fusefat", "-o", "rw+", image, folder)
        undo.append(("umount", "--lazy", folder))
        return folder

    yield mount
    for command in reversed(undo):
        subprocess.run(command, check=False)
    shutil.rmtree(base, ignore_errors=True)


def test_a_bots_life_on_exfat(disk, tiny_checkpoint, tmp_path, mynah, capsys):
    work = disk("exfat") / "Work"
    register_all({"wren": make_outputs(tmp_path / "wren", tiny_checkpoint)}, work)
    assert "keeps no permissions" in capsys.readouterr().err
    assert aliases(work)["champion"] == 1
    assert mynah("doctor", "--deep", "--workdir", work).returncode == 0
    weights = next(work.rglob("model.safetensors"))
    with weights.open("rb"):  # FUSE and NFS keep it under another name meanwhile
        done = mynah("forget", "--yes", "wren", "--no-cluster", "--workdir", work)
        assert (done.returncode, "Stop the process that has a file in it open" in done.stderr) == (3, True)
    assert mynah("forget", "--yes", "wren", "--no-cluster", "--workdir", work).returncode == 0
    [receipt] = (work / "receipts").iterdir()
    assert mynah("receipt", receipt, "--workdir", work).returncode == 0
    assert not [path for path in work.rglob("*") if path.suffix == ".safetensors"]


def test_states_and_keys_on_exfat(disk):
    import torch

    folder = disk("exfat")
    states = States(str(folder / "states"), {"recipe": 1})
    for step in (1, 2, 3):
        states.save(State(step, {"weight": torch.full((2,), float(step))}, {}))
    assert States(str(folder / "states"), {"recipe": 1}).newest().step == 3
    states.clear()
    assert not (folder / "states").exists()
    add_key(folder / "keys.json", Key("3f2a91c0", f"sha256:{'0' * 64}", "ann", ("wren",), False, Limits(), "2026-11-24"))
    assert set(read_keys(folder / "keys.json").keys) == {"3f2a91c0"}


def test_permissions_that_the_disk_refuses_are_left_as_they_are(disk):
    """As Windows' disks under WSL and many network disks do: who did not mount the disk owns no file on it."""
    folder = disk("exfat")
    os.seteuid(NOBODY)
    try:
        (folder / "file").touch()
        with pytest.raises(PermissionError):
            (folder / "file").chmod(0o600)
        set_mode(folder / "file", 0o600)
        write_text(folder / "text", "words")
        with atomic_folder(folder / "out") as out:
            write_text(out / "text", "words")
    finally:
        os.seteuid(0)
    assert (folder / "out" / "text").read_text() == (folder / "text").read_text() == "words"


@pytest.mark.parametrize("kind", ["exfat", "ntfs"])
def test_a_name_that_windows_does_not_take(disk, kind):
    folder = disk(kind)
    with pytest.raises(PlatformError, match=r"cannot be (created|written)"), atomic_folder(folder / "wren: a bot"):
        pass
    assert not list(folder.iterdir())


def test_the_current_folder_by_another_spelling_is_not_replaced(disk, monkeypatch):
    folder = disk("ntfs")
    with atomic_folder(folder / "data"):
        pass
    monkeypatch.chdir(folder / "data")
    with pytest.raises(InputError, match="the folder you are in"):
        refuse_foreign_folder(folder / "DATA")


def test_a_disk_that_changes_names_is_refused(disk):
    with pytest.raises(PlatformError, match=r"cannot keep names as they are: .*'mlmodel'|\.half-"):
        require_file_system(disk("ntfs"))


def test_a_disk_that_loses_files_is_refused_by_name(disk, mynah):
    folder = disk("fat")
    done = mynah("run", "--name", "wren", "--from", "sample", "--workdir", folder / "work")
    assert (done.returncode, "(fuse.fusefat) that cannot rename folders" in done.stderr, done.stderr.count("\n")) == (3, True, 2)
    assert not (folder / "work" / "mlflow.db").exists()
    with pytest.raises(PlatformError, match=r"\(fuse\.fusefat\) that cannot do what is needed"), storage_errors(folder):
        (folder / "link").symlink_to("nowhere")


def test_a_plain_disk_is_good_enough(tmp_path, capsys):
    require_file_system(tmp_path)
    sync(tmp_path)
    assert capsys.readouterr().err == ""
    assert not list(tmp_path.iterdir())
