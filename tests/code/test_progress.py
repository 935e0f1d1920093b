"""Progress as bars and plain lines, and events for the launcher."""

import io
import json
import os
import sys
import time

from mynah.core.progress import notify, progress, waiting


def test_progress_without_a_terminal_is_plain_lines(capsys):
    with progress("Counting", 3, "sheep") as advance:
        for _ in range(3):
            advance(1, "loss 1.0")
    assert capsys.readouterr().err.splitlines() == ["Counting: 1 of 3 sheep, loss 1.0", "Counting: 3 of 3 sheep, loss 1.0"]


def test_plain_lines_tell_the_time_left_by_what_was_done_since_the_first(capsys, monkeypatch):
    clock = iter([1000.0, 1000.0, 1010.0, 1010.0, 1030.0, 1030.0])  # asked once for each line that is due, and once in it
    monkeypatch.setattr("mynah.core.progress.time.monotonic", lambda: next(clock))
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
    monkeypatch.setattr("mynah.core.progress.SECONDS_BETWEEN_LINES", 0.01)
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
    notify("few posts", "warning")
    found = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["event"] for event in found] == ["progress", "progress", "message"]
    assert found[1]["done"] == 2
    assert capsys.readouterr().err == ""
    assert os.environ["MYNAH_EVENTS"]


def test_news_that_cannot_be_written_does_not_stop_the_work(small_disk, monkeypatch):
    disk = small_disk(16)
    (disk / "events.jsonl").write_text("")
    (disk / "ballast").write_bytes(b"x" * 8192)
    monkeypatch.setenv("MYNAH_EVENTS", str(disk / "events.jsonl"))
    for _ in range(20):
        notify("x" * 1000)
    assert 0 < (disk / "events.jsonl").stat().st_size < 20_000  # the disk did fill
