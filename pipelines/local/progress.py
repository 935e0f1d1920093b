"""Reads the events that running steps write (mynah.core.progress), and shows their progress."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mynah.core.progress import SECONDS_BETWEEN_LINES, bars, strip_control_chars

SECONDS_BETWEEN_POLLS = 0.1
DESCRIPTIONS = {
    "fetch": "Fetching posts", "filter": "Filtering", "finetune": "Fine-tuning", "evaluate": "Evaluating",
    "card": "Writing the card", "register": "Registering", "deploy": "Deploying", "promote": "Promoting",
    "choose": "Choosing the recipe",
}  # fmt: skip


def describe_step(step: str) -> str:
    """Return the description of a running step; a sweep's trials are named by their number."""
    return DESCRIPTIONS.get(step) or step.capitalize().replace("-", " ")


class ProgressReader:
    """Reads an events file while it grows, and keeps the running step, the results and the error."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._read = 0
        self.step = ""
        self.error: dict[str, Any] = {}
        self.results: dict[str, Any] = {}

    def show_until(self, ended: Callable[[], bool]) -> None:
        """Show events until `ended()` is true, with progress bars on a terminal and lines elsewhere."""
        display = _Bars() if sys.stderr.isatty() else _Lines()
        with display:
            over = False
            while not over:
                over = ended()  # before the last read, so that no event is missed
                for event in self._new_events():
                    self._keep(event)
                    display.show(event)
                if not over:
                    time.sleep(SECONDS_BETWEEN_POLLS)

    def show_rest(self) -> None:
        """Show the messages that a step wrote while it was being stopped."""
        with _Lines() as display:
            for event in self._new_events():
                if event["event"] == "message":
                    display.show(event)

    def _new_events(self) -> list[dict[str, Any]]:
        with self._events.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # an incomplete line is read the next time
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def _keep(self, event: dict[str, Any]) -> None:
        if event["event"] == "start":
            self.step = event["step"]
        elif event["event"] == "error":
            self.error = event
        elif event["event"] == "result":
            self.results[event["step"]] = event["value"]


class _Lines:
    """Output for a pipe or a log: a line when a step starts, and one every ten seconds while it runs."""

    def __enter__(self) -> "_Lines":
        self._last = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: dict[str, Any]) -> None:
        if event["event"] == "start":
            self._print(f"{describe_step(event['step'])} …")
        elif event["event"] == "message":
            self._print(f"{'warning: ' if event['level'] == 'warning' else ''}{event['text']}")
        elif event["event"] == "progress" and time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._print(
                f"  {event['what']}: {event['done']:,.0f} of {event['total']:,.0f} {event['unit']} {event['note']}".rstrip()
            )

    def _print(self, line: str) -> None:
        self._last = time.monotonic()
        print(strip_control_chars(line), file=sys.stderr, flush=True)


class _Bars:
    """Output for a terminal: a progress bar for the running step, and a line with the duration of each finished one."""

    def __enter__(self) -> "_Bars":
        self._bars = bars()
        self._bars.start()
        self._task = self._bars.add_task("Starting", total=None, unit="", note="")
        self._started = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, event: dict[str, Any]) -> None:
        if event["event"] == "start":
            self._started = time.monotonic()
            self._bars.reset(self._task, total=None, description=describe_step(event["step"]), unit="", note="")
        elif event["event"] == "end":
            done = f"{describe_step(event['step']):<18} {time.monotonic() - self._started:5.1f} s"
            self._bars.console.print(f"✓ {done}", style="green", highlight=False, markup=False)
        elif event["event"] == "message":
            style = "yellow" if event["level"] == "warning" else "dim"
            self._bars.console.print(f"  {strip_control_chars(event['text'])}", style=style, highlight=False, markup=False)
        elif event["event"] == "progress":
            self._bars.update(self._task, total=event["total"], completed=event["done"], note=event["note"])
