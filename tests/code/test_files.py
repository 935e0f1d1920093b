"""The small modules that the steps share: names, files, posts, events."""

import io
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import InputError, PlatformError
from components.events import progress, say, waiting
from components.files import atomic_folder, digest, read_json, read_lines, require_space, write_lines, write_text
from components.machine import cores_to_use
from components.names import BOT_NAME, author_name, bot_name, suggested_name
from components.posts import Kind, Post, newest


@pytest.mark.parametrize("name", ["wren", "a", "a1", "my-bot-2", "x" * 40, "x" + "9" * 39])
def test_good_bot_names(name):
    assert bot_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a b", "../etc", "a/b", "x" * 41, "é", "a\n", "wren.", "%2e", "1", "7up"]
)
def test_bad_bot_names(name):
    with pytest.raises(InputError, match="can't be a bot's name"):
        bot_name(name)


@given(st.text(max_size=80))
def test_what_is_suggested_is_valid(text):
    assert BOT_NAME.fullmatch(suggested_name(text))


@given(st.text(max_size=200))
def test_author_names_are_safe_in_paths(text):
    name = author_name(text)
    assert name
    assert len(name) <= 64
    assert not set(name) & set("/\\\0\n<>|\"' ")
    assert not name.startswith(".")


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
        "import os, signal, sys\nfrom pathlib import Path\nfrom components.files import atomic_folder\n"
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


posts = st.builds(
    Post,
    id=st.text(max_size=20),
    author=st.text(max_size=20),
    text=st.text(),
    created_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    kind=st.sampled_from(list(Kind)),
    language=st.sampled_from(["", "en"]),
)


@given(posts)
def test_a_post_survives_its_record(post):
    assert Post.from_record(json.loads(json.dumps(post.to_record()))) == post


def test_newest_by_number_time_or_place():
    def made(*pairs):
        return [Post(identity, "a", "x", when) for identity, when in pairs]

    day = [datetime(2020, 1, n, tzinfo=UTC) for n in range(1, 4)]
    assert [p.id for p in newest(made(("9", day[0]), ("10", day[1]), ("8", day[2])), 2)] == ["9", "10"]
    assert [p.id for p in newest(made(("c", day[2]), ("a", day[0]), ("b", day[1])), 2)] == ["c", "b"]
    assert [p.id for p in newest(made(("c", None), ("a", day[0]), ("b", None)), 2)] == ["a", "b"]
    assert len(newest(made(("1", None), ("2", None)), 0)) == 2


def test_progress_without_a_terminal_is_plain_lines(capsys):
    with progress("Counting", 3, "sheep") as advance:
        for _ in range(3):
            advance(1, "loss 1.0")
    assert capsys.readouterr().err.splitlines() == ["Counting: 1 of 3 sheep, loss 1.0", "Counting: 3 of 3 sheep, loss 1.0"]


def test_plain_lines_tell_the_time_left_by_what_was_done_since_the_first(capsys, monkeypatch):
    clock = iter([1000.0, 1000.0, 1010.0, 1010.0, 1030.0, 1030.0])  # asked once for each line that is due, and once in it
    monkeypatch.setattr("components.events.time.monotonic", lambda: next(clock))
    with progress("Counting", 300, "sheep") as advance:
        for amount in (100, 20, 180):  # a hundred were counted before
            advance(amount)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Counting: 100 of 300 sheep", "Counting: 120 of 300 sheep, 1:30 left", "Counting: 300 of 300 sheep"]


def test_progress_on_a_terminal_is_a_bar_and_markup_is_text(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress("[red]Counting[/red]", 1) as advance:
        advance(1, "[bold]x[/bold]")
    assert "[red]Counting[/red]" in screen.getvalue()
    assert "100%" in screen.getvalue()


def test_a_wait_without_a_terminal_is_told_only_when_it_is_long(monkeypatch):
    told = io.StringIO()  # capsys may lose what another thread prints while it is read
    monkeypatch.setattr("sys.stderr", told)
    with waiting("Thinking"):
        pass
    monkeypatch.setattr("components.events.SECONDS_BETWEEN_LINES", 0.01)
    deadline = time.monotonic() + 30
    with waiting("Thinking hard"):
        while not told.getvalue().endswith("\n") and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told.getvalue() == "Thinking hard …\n"


def test_events_go_to_the_launcher(tmp_path, monkeypatch, capsys):
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv("MYNAH_EVENTS", str(events))
    with progress("Counting", 2) as advance:
        advance(2)
    say("few posts", "warning")
    found = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["event"] for event in found] == ["progress", "progress", "message"]
    assert found[1]["done"] == 2
    assert capsys.readouterr().err == ""
    assert os.environ["MYNAH_EVENTS"]


@pytest.mark.parametrize("text", ["7up", "2", "é", "", "--", "Ann Smith", "9" * 80, "ﬁnch"])
def test_a_suggestion_keeps_what_it_can(text):
    name = suggested_name(text)
    assert bot_name(name) == name == suggested_name(name)
    assert name == {"7up": "bot-7up", "Ann Smith": "ann-smith", "": "my-bot", "--": "my-bot", "é": "e", "ﬁnch": "finch"}.get(
        text, name
    )


def test_newest_takes_numbers_of_any_length_and_leading_zeros():
    posts = [Post(identity, "a", "x") for identity in ("9" * 5000, "0010", "9")]
    assert [post.id for post in newest(posts, 2)] == ["9" * 5000, "0010"]


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


def test_news_that_cannot_be_written_does_not_stop_the_work(small_disk, monkeypatch):
    disk = small_disk(16)
    (disk / "events.jsonl").write_text("")
    (disk / "ballast").write_bytes(b"x" * 8192)
    monkeypatch.setenv("MYNAH_EVENTS", str(disk / "events.jsonl"))
    for _ in range(20):
        say("x" * 1000)
    assert 0 < (disk / "events.jsonl").stat().st_size < 20_000  # the disk did fill


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu.max": "100 0"}, 8),
        ({}, 8),
    ],
)
def test_no_more_threads_than_the_containers_cpu_limit(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores_to_use(8, tmp_path) == cores
