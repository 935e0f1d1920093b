"""Files and folders replace the old ones whole or not at all, whatever the disk does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import atomic_folder, digest, read_json, read_lines, require_space, write_lines, write_text


def test_atomic_folder_replaces_whole_or_not_at_all(tmp_path):
    out = tmp_path / "out"
    with atomic_folder(out) as folder:
        (folder / "a").write_text("1")
    with atomic_folder(out) as folder:
        (folder / "b").write_text("2")
    assert sorted(path.name for path in out.iterdir()) == [".mynah", "b"]
    with pytest.raises(RuntimeError), atomic_folder(out) as folder:
        (folder / "c").write_text("3")
        raise RuntimeError
    assert sorted(path.name for path in out.iterdir()) == [".mynah", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_atomic_folder_survives_a_kill(tmp_path):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom mynah.core.files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as folder:\n    (folder / 'half').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", code, out]).returncode == -9
    assert not out.exists()
    with atomic_folder(out) as folder:
        (folder / "whole").write_text("x")
    assert (out / "whole").exists()


def test_unwritable_and_too_little_space(tmp_path):
    with pytest.raises(PlatformError, match="cannot be written"), atomic_folder(tmp_path / "x") as folder:
        raise PermissionError(13, "Permission denied", str(folder))
    with pytest.raises(PlatformError, match=r"needs about .* MB and .* MB free"):
        require_space(tmp_path / "not" / "there" / "yet", 10**18, "training")


def test_write_text_leaves_the_old_when_the_disk_is_full(small_disk):
    disk = small_disk(16)
    write_text(disk / "a.txt", "old")
    with pytest.raises(PlatformError, match=r"no space left while writing .*a\.txt"):
        write_text(disk / "a.txt", "new" * 10_000)
    assert [path.name for path in disk.iterdir()] == ["a.txt"]
    assert (disk / "a.txt").read_text() == "old"


def test_half_a_surrogate_pair_does_not_stop_a_run(tmp_path):
    write_lines(tmp_path / "x.jsonl", [{"text": json.loads('"\\ud83d broken"')}])
    assert list(read_lines(tmp_path / "x.jsonl", "fetch")) == [{"text": "? broken"}]


def test_digest_of_a_folder_tells_names_and_contents_apart(tmp_path):
    def made(**files):
        folder = tmp_path / f"f{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return digest(folder)

    assert made(a="1", b="2") == made(b="2", a="1")
    assert len({made(a="1", b="2"), made(a="12"), made(a="2", b="1"), made(a="1", c="2")}) == 4


def test_a_folder_that_cannot_be_replaced_stays_as_it_was(small_disk):
    disk = small_disk(64)  # the root of a disk can be filled, and not renamed
    with pytest.raises(PlatformError, match="cannot be written"), atomic_folder(disk) as folder:
        (folder / "a").write_text("1")
    assert list(disk.iterdir()) == []
    assert [path.name for path in disk.parent.iterdir()] == [disk.name]


def test_the_old_output_survives_when_the_new_cannot_take_its_place(tmp_path):
    out = tmp_path / "out"
    with atomic_folder(out) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(FileNotFoundError), atomic_folder(out) as folder:
        (folder / "b").write_text("2")
        folder.rename(tmp_path / "taken away")
        folder.mkdir()
        (folder / ".mynah").mkdir()  # a folder where the marker should be written
        raise FileNotFoundError
    assert (out / "a").read_text() == "1"


def test_output_in_the_current_folder_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the folder you are in"), atomic_folder(Path()) as folder:
        (folder / "a").write_text("1")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_the_finder_showed_is_empty(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").write_bytes(b"Bud1")
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".mynah", "a"]


@pytest.mark.parametrize("name", ["x" * 300, "file/data"])
def test_a_name_that_cannot_be_made(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PlatformError), atomic_folder(tmp_path / name):
        pytest.fail("it began")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("data", [b"\xff", b"[" * 100_000, b"1" * 5000, b"{", b""])
def test_json_that_is_none_is_refused(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(InputError, match="is not valid JSON"):
        read_json(tmp_path / "x.json", "fetch")


def test_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "x.json", "fetch")
    with pytest.raises(InputError, match="cannot be read"):
        list(read_lines(tmp_path / "x.json", "fetch"))
