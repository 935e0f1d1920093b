"""The number of compute threads and how they wait. Set before torch is imported, which reads the environment once."""

import contextlib
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mynah.core.control_groups import groups_of_this_process
from mynah.core.settings import GOMP_SPINCOUNT, OMP_WAIT_POLICY

SYSTEM = Path("/")
# A waiting OpenMP thread spins for 0.1 s and longer, and takes a core from threads with work: beside other processes a
# training run lost nine tenths of its speed. Sleeping immediately, it wakes too slowly for a decoder, whose operations take 0.1 ms
# each. So it spins briefly first (docs/benchmarks.md, "In company").
TRAINING, DECODING = "1000", "10000"  # turns of libgomp's loop, some nanoseconds each
SECONDS_BETWEEN_UPDATES = 0.5


def wait_shortly(turns: str = TRAINING) -> None:
    """Make OpenMP's threads sleep after `turns` iterations of waiting, in this process and its children.

    Does nothing where the environment already configures waiting. Call it before torch is imported. libgomp reads the number, LLVM's libomp
    (macOS) the policy. https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html, https://www.openmp.org/spec-html/5.2/openmpse60.html
    """
    configured = GOMP_SPINCOUNT.get()
    if configured in (TRAINING, DECODING) or not (configured or OMP_WAIT_POLICY.get()):  # set by a Mynah process, or not at all
        os.environ |= {OMP_WAIT_POLICY.name: "PASSIVE", GOMP_SPINCOUNT.name: turns}


class FreeCores:
    """The number of threads that find a free core beside other processes, updated twice a second."""

    def __init__(self, max_threads: int, system: Path = SYSTEM) -> None:
        self._max_threads, self._stat = max_threads, system / "proc/stat"
        self._cores = os.cpu_count() or 1
        self._threads = max_threads
        self._at, self._busy, self._own = time.monotonic(), self._busy_seconds(), time.process_time()

    def threads(self) -> int:
        """Return 1 to `max_threads`; `max_threads` where the machine's load is unknown."""
        now = time.monotonic()
        if now - self._at >= SECONDS_BETWEEN_UPDATES and self._busy is not None:
            busy, own = self._busy_seconds(), time.process_time()
            others = ((busy or 0.0) - self._busy - (own - self._own)) / (now - self._at)
            self._threads = max(1, min(self._max_threads, round(self._cores - others)))
            self._at, self._busy, self._own = now, busy, own
        return self._threads

    def _busy_seconds(self) -> float | None:
        """Return the CPU time of all cores since boot: /proc/stat's first line.

        Niced processes count: they yield within their own session or control group alone. Beside one of another session a step of two threads
        on two cores took 95 ms, and 17 with one thread.
        https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat, sched(7) "The autogroup feature"
        """
        try:
            user, nice, system, *_ = self._stat.read_text().split("\n", 1)[0].split()[1:]
            return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            return None


def cores_to_use(max_threads: int, system: Path = SYSTEM) -> int:
    """Return the number of threads to use: at least 1, at most `max_threads`, as far as cores are available.

    OpenMP counts the cores of the node and gives each the same share of the work. A pod with a limit of 2 on a node of 64 would be throttled
    most of the time, and the fast cores of a hybrid processor would wait for the slow ones.
    """
    return max(1, min(max_threads, _balanced(_speeds(system), max_threads), *_limits(system)))


def _limits(system: Path) -> Iterator[int]:
    """Yield the CPU limits of this process's control groups and their parents, in cores, rounded up.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files; in version 1 cpu.cfs_quota_us
    """
    groups, own = system / "sys/fs/cgroup", system / "proc/self/cgroup"
    for folder in groups_of_this_process(groups, "", own):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            yield from _cores(quota, period)
    for folder in groups_of_this_process(groups / "cpu", "cpu", own):
        with contextlib.suppress(OSError, ValueError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
            yield from _cores(quota, period)


def _cores(quota: str, period: str) -> Iterator[int]:
    """Convert microseconds per period to cores; nothing for no limit ("max", or -1 in version 1). Raises ValueError for other texts."""
    if quota not in ("max", "-1"):
        yield math.ceil(int(quota) / max(1, int(period)))


def _speeds(system: Path) -> list[int]:
    """Return each core's relative speed as the kernel reports it; [] where unknown, as on macOS.

    https://docs.kernel.org/admin-guide/pm/cpufreq.html, https://docs.kernel.org/scheduler/sched-capacity.html
    """
    speeds = []
    for core in (system / "sys/devices/system/cpu").glob("cpu[0-9]*"):
        for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
            with contextlib.suppress(OSError, ValueError):
                speeds.append(int((core / name).read_text()))
                break
    return speeds


def _balanced(speeds: list[int], max_threads: int) -> int:
    """Return the number of threads on the fastest cores that finish equal shares soonest: each waits for the slowest."""
    fastest = sorted(speeds, reverse=True)[:max_threads]
    return max(range(1, len(fastest) + 1), key=lambda count: (count * fastest[count - 1], count)) if fastest else max_threads
