"""Defers SIGTERM and Ctrl-C during training until the state is saved."""

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class SignalGuard:
    """A context manager in which a first SIGTERM or Ctrl-C sets `interrupted`, and a second raises KeyboardInterrupt.

    With `defer=False`, or outside the main thread, signals keep their handlers. Kubernetes kills a pod 30 s after its SIGTERM, and a
    training step takes seconds at most: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
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
