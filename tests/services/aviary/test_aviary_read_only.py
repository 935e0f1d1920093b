"""A work folder on a disk that is read-only, such as a backup: whoever reads it works, whoever writes is told why it cannot."""

import shutil
import subprocess

import pytest

from tests.services.aviary.aviary_repository import BOTS, asked, on_loop, started

READING = (
    ("bots",), ("show", "wren"), ("diff", "wren", "1", "champion"), ("costs",), ("generate", "wren@challenger", "I like"),
)  # fmt: skip


@pytest.fixture
def read_only(registered, small_disk):
    """A copy of the work folder with three bots, on a disk of its own that nobody can write any more."""
    disk = small_disk(32_000)
    shutil.copytree(registered, disk / "work")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return disk / "work"


def test_reading_commands_work(mynah, read_only, tmp_path):
    for command in READING:
        done = mynah(*command, "--workdir", read_only)
        assert (done.returncode, done.stdout != "", "Traceback" in done.stderr) == (0, True, False), (command, done.stderr)
    assert all(bot in mynah("bots", "--workdir", read_only).stdout for bot in BOTS)
    examined = mynah("doctor", "--deep", "--workdir", read_only)
    assert (examined.returncode, "read-only" in examined.stdout) == (0, True), examined.stdout
    done = mynah("export", "wren", "--to", "folder", "--out", tmp_path / "out", "--workdir", read_only)
    assert (done.returncode, (tmp_path / "out" / "config.json").is_file()) == (0, True), done.stderr


@on_loop
async def test_the_server_serves_it(read_only):
    async with started(read_only) as repository:
        assert await asked(repository, "wren@challenger") == ("wren", "1", "challenger")


@pytest.mark.parametrize("command", [("promote", "wren"), ("rollback", "wren"), ("forget", "wren", "--no-cluster")])
def test_writing_commands_say_why_they_cannot(mynah, read_only, command):
    done = mynah(*command, "--workdir", read_only)
    assert done.returncode in (2, 3), (command, done.stdout, done.stderr)
    assert ("Traceback" in done.stderr, "bug" in done.stderr) == (False, False)
