"""Sample the machine's load while a step runs."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from mynah.mlflow_client.compat import machine_monitors

SECONDS_BETWEEN_SAMPLES = 10.0


class UsageMeter:
    """Samples the machine's processors, memory and GPUs every ten seconds while a block runs, and once at the end.

    Uses MLflow's own monitors, so that its page shows the values as system metrics; `report(second, values)` receives each sample.
    """

    def __init__(self, report: Callable[[int, dict[str, float]], None]) -> None:
        self._report = report
        self._stop = threading.Event()
        self._monitors: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True, name="meter")

    def __enter__(self) -> "UsageMeter":
        self._start = time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._sample()

    def _run(self) -> None:
        self._monitors = machine_monitors()
        while not self._stop.wait(SECONDS_BETWEEN_SAMPLES):
            self._sample()

    def _sample(self) -> None:
        values: dict[str, float] = {}
        for monitor in self._monitors:
            with contextlib.suppress(Exception):  # a driver's failure must not end the measured work
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        if values:
            self._report(int(time.time() - self._start), {f"system/{key}": value for key, value in values.items()})
