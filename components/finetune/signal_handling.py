"""Defers SIGTERM and Ctrl-C during training until the state is saved."""

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class SignalGuard:
    """A context manager in which a first SIGTERM or Ctrl-C sets `interrupted`, and a second raises KeyboardInterrupt.

    With `defer=False`, or outside the main thread, signals keep their handlers. The process must be given the time to save: a person's
    Ctrl-C and `docker stop` (10 s) do. Kubeflow 2.17 does not: its launcher ends at SIGTERM, and the container with it, within a second, when
    a run is terminated or a pod deleted. There only the states count that were saved by the clock.
    """

    def __init__(self, *, defer: bool) -> None:
        self._defers = defer and threading.current_thread() is threading.main_thread()
        self._previous_handlers: dict[int, Any] = {}
        self.interrupted = False

    def __enter__(self) -> "SignalGuard":
        if self._defers:
            self._previous_handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
