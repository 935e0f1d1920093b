"""Progress and messages of a running step, shown where they can be seen.

On a terminal: rich's progress bar. In a pod or a pipe: a plain line now and then. Under `mynah run`: a JSON line in the
file that MYNAH_EVENTS names, which the launcher shows (Kubeflow's local runner gives a step no terminal of its own).
"""

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVENTS_FILE = "MYNAH_EVENTS"
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_EVENTS = 0.1
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and new line


class Advance(Protocol):
    """Report `amount` more units done, with a note such as "loss 3.21"."""

    def __call__(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` and show `note`."""


@contextlib.contextmanager
def progress(what: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Show how far `what` is, out of `total` units, while the block runs."""
    if os.environ.get(EVENTS_FILE):
        yield _event_progress(what, total, unit)
    elif sys.stderr.isatty():
        with _bar(what, total, unit) as advance:
            yield advance
    else:
        yield _line_progress(what, total, unit)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that `what` goes on while the block runs, where nobody can know how far it is.

    A moving bar on a terminal; elsewhere a line when it takes long.
    """
    if os.environ.get(EVENTS_FILE):
        yield
    elif sys.stderr.isatty():
        with _task(what, total=None):
            yield
    else:
        late = threading.Timer(SECONDS_BETWEEN_LINES, say, [f"{what} …"])
        late.start()
        try:
            yield
        finally:
            late.cancel()


def say(message: str, level: str = "info") -> None:
    """One line for the person who watches; `level` is info or warning."""
    if os.environ.get(EVENTS_FILE):
        send("message", text=message, level=level)
    else:
        line = f"{'warning: ' if level == 'warning' else ''}{visible(message)}"
        if _live:
            _live.console.print(line, markup=False, highlight=False, soft_wrap=True)  # above the bars
        else:
            print(line, file=sys.stderr, flush=True)


def visible(text: str) -> str:
    """`text` without the control characters by which a file's name or a post could command a terminal."""
    return CONTROLS.sub("\ufffd", text)


def send(event: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
    """Append an event to the launcher's file; without a launcher, do nothing. News that cannot be written is lost, not the work."""
    path = os.environ.get(EVENTS_FILE)
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
        send("progress", what=what, total=total, unit=unit, done=done, note=note)

    report(0, "")
    return _counter(report, SECONDS_BETWEEN_EVENTS, total)


def _line_progress(what: str, total: float, unit: str) -> Advance:
    began: list[float] = []  # when, and how much was done then: what an earlier run did took no time of this one

    def report(done: float, note: str) -> None:
        tail = f", {note}" if note else ""
        if began and began[1] < done < total:
            left = (time.monotonic() - began[0]) / (done - began[1]) * (total - done)
            tail += f", {left // 60:.0f}:{left % 60:02.0f} left"
        began[:] = began or [time.monotonic(), done]
        print(f"{visible(what)}: {done:,.0f} of {total:,.0f}{' ' + unit if unit else ''}{tail}", file=sys.stderr, flush=True)

    return _counter(report, SECONDS_BETWEEN_LINES, total)


@contextlib.contextmanager
def _bar(what: str, total: float, unit: str) -> Iterator[Advance]:
    with _task(what, total=total, unit=unit) as (shown, task):
        yield lambda amount=1, note="": shown.update(task, advance=amount, note=note)


_live: "Progress | None" = None  # a terminal has one display at a time; what begins within another is a further line of it


@contextlib.contextmanager
def _task(what: str, **fields: Any) -> "Iterator[tuple[Progress, TaskID]]":  # noqa: ANN401 - rich's own
    """A line of the display that lives, or of a new one."""
    global _live
    from components.bars import bars  # rich costs 50 ms to import; pay only on a terminal

    if _live:
        shown, task = _live, _live.add_task(visible(what), note="", **fields)
        try:
            yield shown, task
        finally:
            shown.remove_task(task)
        return
    with bars() as _live:
        try:
            yield _live, _live.add_task(visible(what), note="", **fields)
        finally:
            _live = None
