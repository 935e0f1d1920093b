"""What the running steps report (components.events), read as it comes and shown to the person who waits."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.events import SECONDS_BETWEEN_LINES, visible

SECONDS_BETWEEN_LOOKS = 0.1
DOING = {
    "fetch": "Fetching posts", "filter": "Filtering", "finetune": "Fine-tuning", "evaluate": "Evaluating",
    "card": "Writing the card", "register": "Registering", "deploy": "Deploying", "promote": "Promoting",
    "choose": "Choosing the recipe",
}  # fmt: skip


def doing(step: str) -> str:
    """What a step does, for people; the trials of a sweep are many."""
    return DOING.get(step) or step.capitalize().replace("-", " ")


class Watcher:
    """Follows an events file, and keeps what it said: the step that runs, results, outputs and the error."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._read = 0
        self.step = ""
        self.error: dict[str, Any] = {}
        self.results: dict[str, Any] = {}
        self.outputs: dict[str, str] = {}

    def show_until(self, ended: Callable[[], bool]) -> None:
        """Show events until `ended()`, with bars on a terminal and plain lines elsewhere."""
        display = _Bars() if sys.stderr.isatty() else _Lines()
        with display:
            over = False
            while not over:
                over = ended()  # before the last look, so that no event is missed
                for event in self._new_events():
                    self._keep(event)
                    display.show(event)
                if not over:
                    time.sleep(SECONDS_BETWEEN_LOOKS)

    def show_rest(self) -> None:
        """Show, line by line, what a step said while it was being ended."""
        with _Lines() as display:
            for event in self._new_events():
                if event["event"] == "message":
                    display.show(event)

    def _new_events(self) -> list[dict[str, Any]]:
        with self._events.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # a line still being written waits for the next look
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def _keep(self, event: dict[str, Any]) -> None:
        if event["event"] == "start":
            self.step = event["step"]
        elif event["event"] == "error":
            self.error = event
        elif event["event"] == "end":
            self.outputs |= event["outputs"]
        elif event["event"] == "result":
            self.results[event["step"]] = event["value"]


class _Lines:
    """For a pipe or a log: a line when a step starts, and one every ten seconds while it works."""

    def __enter__(self) -> "_Lines":
        self._last = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: dict[str, Any]) -> None:
        if event["event"] == "start":
            self._print(f"{doing(event['step'])} …")
        elif event["event"] == "message":
            self._print(f"{'warning: ' if event['level'] == 'warning' else ''}{event['text']}")
        elif event["event"] == "progress" and time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._print(
                f"  {event['what']}: {event['done']:,.0f} of {event['total']:,.0f} {event['unit']} {event['note']}".rstrip()
            )

    def _print(self, line: str) -> None:
        self._last = time.monotonic()
        print(visible(line), file=sys.stderr, flush=True)


class _Bars:
    """For a terminal: a bar for the step that runs, and a line with its time for each that is done."""

    def __enter__(self) -> "_Bars":
        from components.bars import bars

        self._bars = bars()
        self._bars.start()
        self._task = self._bars.add_task("Starting", total=None, unit="", note="")
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, event: dict[str, Any]) -> None:
        if event["event"] == "start":
            self._began = time.monotonic()
            self._bars.reset(self._task, total=None, description=doing(event["step"]), unit="", note="")
        elif event["event"] == "end":
            done = f"{doing(event['step']):<18} {time.monotonic() - self._began:5.1f} s"
            self._bars.console.print(f"✓ {done}", style="green", highlight=False, markup=False)
        elif event["event"] == "message":
            style = "yellow" if event["level"] == "warning" else "dim"
            self._bars.console.print(f"  {visible(event['text'])}", style=style, highlight=False, markup=False)
        elif event["event"] == "progress":
            self._bars.update(self._task, total=event["total"], completed=event["done"], note=event["note"])
