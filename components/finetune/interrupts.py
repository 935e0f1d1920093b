"""SIGTERM and Ctrl-C while a model trains: remembered until the state is saved."""

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupts:
    """While the block runs, a first SIGTERM or Ctrl-C sets `asked`, where `remember` is wanted; a second interrupts at once.

    Kubernetes kills a pod 30 s after its SIGTERM, and a step of training takes seconds at most.
    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
    """

    def __init__(self, *, remember: bool) -> None:
        self._remember = remember and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}
        self.asked = False

    def __enter__(self) -> "Interrupts":
        if self._remember:
            self._before = {each: signal.signal(each, self._note) for each in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
