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
from typing import Any, Protocol

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

    A moving bar on a terminal; elsewhere a line when it takes long. Not within `progress`, nor around it.
    """
    if os.environ.get(EVENTS_FILE):
        yield
    elif sys.stderr.isatty():
        from components.bars import bars

        with bars() as shown:
            shown.add_task(visible(what), total=None, note="")
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
        prefix = "warning: " if level == "warning" else ""
        print(f"{prefix}{visible(message)}", file=sys.stderr, flush=True)


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
    def report(done: float, note: str) -> None:
        tail = f", {note}" if note else ""
        print(f"{visible(what)}: {done:,.0f} of {total:,.0f}{' ' + unit if unit else ''}{tail}", file=sys.stderr, flush=True)

    return _counter(report, SECONDS_BETWEEN_LINES, total)


@contextlib.contextmanager
def _bar(what: str, total: float, unit: str) -> Iterator[Advance]:
    from components.bars import bars  # rich costs 50 ms to import; pay only on a terminal

    with bars() as shown:
        task = shown.add_task(visible(what), total=total, unit=unit, note="")
        yield lambda amount=1, note="": shown.update(task, advance=amount, note=note)
