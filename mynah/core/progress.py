"""Report progress and messages of a running step where a person can see them.

On a terminal: rich's progress bar. In a pod or a pipe: a plain line from time to time. Under `mynah run`: a JSON line in the file that
MYNAH_EVENTS names, which the launcher displays (Kubeflow's local runner gives a step no terminal).
"""

import contextlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from mynah.core.settings import MYNAH_EVENTS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_EVENTS = 0.1
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all except tab and newline


class Advance(Protocol):
    """Reports `amount` more finished units, with a note such as "loss 3.21"."""

    def __call__(self, amount: float = 1, note: str = "") -> None:
        """Add `amount` and show `note`."""


@contextlib.contextmanager
def progress(what: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Show progress while the block runs.

    Args:
        what: What the progress is of, for people.
        total: The units in all.
        unit: The name of a unit.

    Yields:
        A function to call with the units that were finished since its last call.
    """
    if MYNAH_EVENTS.get():
        yield _event_progress(what, total, unit)
    elif sys.stderr.isatty():
        with _bar(what, total, unit) as advance:
            yield advance
    else:
        yield _line_progress(what, total, unit)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that `what` is running during the block, without a known length.

    A moving bar on a terminal; elsewhere a line when it takes long.
    """
    if MYNAH_EVENTS.get():
        yield
    elif sys.stderr.isatty():
        with _task(what, total=None):
            yield
    else:
        late = threading.Timer(SECONDS_BETWEEN_LINES, notify, [f"{what} …"])
        late.start()
        try:
            yield
        finally:
            late.cancel()


def notify(message: str, level: str = "info") -> None:
    """Print one line for the person; `level` is info or warning."""
    if MYNAH_EVENTS.get():
        emit_event("message", text=message, level=level)
    else:
        line = f"{'warning: ' if level == 'warning' else ''}{strip_control_chars(message)}"
        if _live:
            _live.console.print(line, markup=False, highlight=False, soft_wrap=True)  # above the bars
        else:
            print(line, file=sys.stderr, flush=True)


def strip_control_chars(text: str) -> str:
    """Return `text` without control characters, with which a file's name or a post could control a terminal."""
    return CONTROLS.sub("\ufffd", text)


def emit_event(event: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
    """Append an event to the launcher's file; without a launcher, do nothing.

    An event that cannot be written is dropped, so that the work continues.
    """
    path = MYNAH_EVENTS.get()
    if path:
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - O_APPEND: one write a line, from any step
            file.write(json.dumps({"event": event, **fields}) + "\n")


def _counter(report: Callable[[float, str], None], every: float, total: float) -> Advance:
    done, last = 0.0, 0.0

    def advance(amount: float = 1, note: str = "") -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= every or done >= total:
            last = now
            report(done, note)

    return advance


def _event_progress(what: str, total: float, unit: str) -> Advance:
    def report(done: float, note: str) -> None:
        emit_event("progress", what=what, total=total, unit=unit, done=done, note=note)

    report(0, "")
    return _counter(report, SECONDS_BETWEEN_EVENTS, total)


def _line_progress(what: str, total: float, unit: str) -> Advance:
    start: list[float] = []  # time and units done at the start: an earlier run's units took no time of this one

    def report(done: float, note: str) -> None:
        tail = f", {note}" if note else ""
        if start and start[1] < done < total:
            left = (time.monotonic() - start[0]) / (done - start[1]) * (total - done)
            tail += f", {left // 60:.0f}:{left % 60:02.0f} left"
        start[:] = start or [time.monotonic(), done]
        print(
            f"{strip_control_chars(what)}: {done:,.0f} of {total:,.0f}{' ' + unit if unit else ''}{tail}",
            file=sys.stderr,
            flush=True,
        )

    return _counter(report, SECONDS_BETWEEN_LINES, total)


@contextlib.contextmanager
def _bar(what: str, total: float, unit: str) -> Iterator[Advance]:
    with _task(what, total=total, unit=unit) as (shown, task):
        yield lambda amount=1, note="": shown.update(task, advance=amount, note=note)


def bars() -> "Progress":
    """Create a rich progress display on stderr; each task has the fields `unit` and `note`."""
    from rich.console import Console  # importing rich takes 50 ms, needed only on a terminal
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


_live: "Progress | None" = None  # a terminal has one display at a time; nested tasks add lines to it


@contextlib.contextmanager
def _task(what: str, **fields: Any) -> "Iterator[tuple[Progress, TaskID]]":  # noqa: ANN401 - rich's own
    """Add a line to the current display, or to a new one."""
    global _live

    if _live:
        display, task = _live, _live.add_task(strip_control_chars(what), note="", **fields)
        try:
            yield display, task
        finally:
            display.remove_task(task)
        return
    with bars() as _live:
        try:
            yield _live, _live.add_task(strip_control_chars(what), note="", **fields)
        finally:
            _live = None
