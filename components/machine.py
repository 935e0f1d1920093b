"""The machine that a step runs on: how busy it is, and what it costs."""

import contextlib
import functools
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from components.errors import InputError

PRICES_FILE = Path(__file__).parent / "prices.yaml"
SECONDS_BETWEEN_SAMPLES = 10.0


def node_kind() -> str:
    """The kind of this node as prices.yaml has it: MYNAH_NODE_KIND, or `laptop`."""
    return os.environ.get("MYNAH_NODE_KIND") or "laptop"


@functools.cache
def prices(path: Path = PRICES_FILE) -> dict[str, float]:
    """US dollars an hour per kind of node. Raises InputError for a file that is no such table."""
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"the prices in {path} cannot be read: {error}", "Restore the file.") from error
    valid = isinstance(found, dict) and all(
        isinstance(price, int | float) and not isinstance(price, bool) and 0 <= price < 1e6 for price in found.values()
    )
    if not valid:
        raise InputError(f"{path} is no table of prices", "Give each kind of node a number: US dollars an hour.")
    return {str(kind): float(price) for kind, price in found.items()}


def price_per_hour(kind: str) -> float:
    """US dollars an hour of a kind of node. Raises InputError with the kinds there are."""
    known = prices(Path(os.environ.get("MYNAH_PRICES") or PRICES_FILE))
    if kind not in known:
        raise InputError(
            f"the node kind {kind!r} has no price",
            f"Known: {', '.join(sorted(known))}; MYNAH_PRICES names another file like prices.yaml.",
        )
    return known[kind]


def cores_to_use(most: int, control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many of `most` cores the container may use at once, 1 at least: its CPU limit rounded up, where it has one.

    OpenMP counts the cores of the node, and a pod with a limit of 2 on a node of 64 would be throttled most of the time.
    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files; before: /sys/fs/cgroup/cpu/cpu.cfs_quota_us
    """
    try:
        quota, period = (control_groups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((control_groups / "cpu" / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return most
    if not (quota.isdecimal() and period.isdecimal() and int(period)):  # "max", and -1 before: no limit
        return most
    return max(1, min(most, math.ceil(int(quota) / int(period))))


def free_memory(control_groups: Path = Path("/sys/fs/cgroup"), system: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes of memory that this process may still take: what the machine has left, or the container's limit; None where nothing says.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files; before: memory.limit_in_bytes. What the kernel keeps of
    files counts as free in the one (MemAvailable), and as taken in the other, where it is given back when memory runs short.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = dict(line.split(":", 1) for line in system.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for folder, limit, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such limit; "max"
            stat = dict(line.split(" ", 1) for line in (control_groups / folder / "memory.stat").read_text().splitlines())
            files = int(stat.get("inactive_file") or stat.get("total_inactive_file") or 0)
            most, taken = (int((control_groups / folder / name).read_text()) for name in (limit, used))
            found.append(most - taken + files)
    return max(0, min(found)) if found else None


class Meter:
    """Samples the machine's processors, memory and GPUs every ten seconds while a block runs, and once when it ends.

    By MLflow's own monitors, so that its page shows them as system metrics; `report(second, values)` takes each sample.
    """

    def __init__(self, report: Callable[[int, dict[str, float]], None]) -> None:
        self._report = report
        self._stop = threading.Event()
        self._monitors: list[Any] = []
        self._thread = threading.Thread(target=self._run, daemon=True, name="meter")

    def __enter__(self) -> "Meter":
        self._began = time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._sample()

    def _run(self) -> None:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

        monitors = [CPUMonitor()]
        with contextlib.suppress(ImportError, RuntimeError):  # no GPU
            monitors.append(GPUMonitor())
        self._monitors = monitors
        while not self._stop.wait(SECONDS_BETWEEN_SAMPLES):
            self._sample()

    def _sample(self) -> None:
        values: dict[str, float] = {}
        for monitor in self._monitors:
            with contextlib.suppress(Exception):  # a driver's whim must not end the work that it measures
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
                monitor.clear_metrics()
        if values:
            self._report(int(time.time() - self._began), {f"system/{key}": value for key, value in values.items()})
