"""The machine that a step runs on: its price, processor and memory."""

import contextlib
import functools
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from mynah.core.control_groups import groups_of_this_process
from mynah.core.errors import InputError, PlatformError
from mynah.core.settings import MYNAH_NODE_KIND, MYNAH_PRICES

PRICES_FILE = Path(__file__).parent / "prices.yaml"
SEVERAL = re.compile(r"([1-9]\d{0,3}) x (.+)")


def node_kind() -> str:
    """Return the kind of this node, a key of prices.yaml: MYNAH_NODE_KIND, or `laptop`.

    A step that several nodes work for has "N x KIND", and costs what they cost together.
    """
    return MYNAH_NODE_KIND.get()


def nodes_of(kind: str) -> tuple[int, str]:
    """Return the number of nodes in "N x KIND" and the kind of each; 1 and the kind itself for a single node."""
    match = SEVERAL.fullmatch(kind)
    return (int(match[1]), match[2]) if match else (1, kind)


@functools.cache
def prices(path: Path = PRICES_FILE) -> dict[str, float]:
    """Read US dollars per hour by kind of node. Raises InputError for an invalid table."""
    try:
        table = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"the prices in {path} cannot be read: {error}", "Restore the file.") from error
    valid = isinstance(table, dict) and all(
        isinstance(price, int | float) and not isinstance(price, bool) and 0 <= price < 1e6 for price in table.values()
    )
    if not valid:
        raise InputError(f"{path} is not a table of prices", "Give each kind of node a number: US dollars an hour.")
    return {str(kind): float(price) for kind, price in table.items()}


def price_per_hour(kind: str) -> float:
    """Return the US dollars per hour of a kind of node, or of several ("2 x gpu"). Raises InputError with the known kinds."""
    known = prices(MYNAH_PRICES.get() or PRICES_FILE)
    count, kind = nodes_of(kind)
    if kind not in known:
        raise InputError(
            f"the node kind {kind!r} has no price",
            f"Known: {', '.join(sorted(known))}; MYNAH_PRICES names another file like prices.yaml.",
        )
    return count * known[kind]


def processor_name(processor: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, such as "AMD EPYC"; its architecture where the name is unknown, as on many ARM64 machines."""
    with contextlib.suppress(OSError):
        for line in processor.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                return value.strip()
    if sys.platform == "darwin":
        with contextlib.suppress(OSError):
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or platform.machine()
    return platform.machine()


def require_instructions() -> None:
    """Raise PlatformError when this processor lacks instructions that torch's kernels need. Call it before the work."""
    if missing := missing_instructions():
        raise PlatformError(
            f"this processor ({processor_name()}) lacks {missing}, without which no model is trained, evaluated or served here",
            "Use a machine with AVX2, or with ARM64; fetch, filter, card, submit and deploy work on this one.",
        )


def missing_instructions(processor: Path = Path("/proc/cpuinfo")) -> str:
    """Return what this processor lacks for torch's kernels: AVX2 on x86, 64 bits; "" for nothing, or where unknown."""
    if sys.maxsize < 2**32:
        return "64 bits"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    with contextlib.suppress(OSError):  # macOS
        for line in processor.read_text().splitlines():
            if line.startswith("flags"):
                return "" if "avx2" in line.split() else "AVX2"
    return ""


def available_memory() -> int | None:
    """Return the bytes of available memory, on Linux and macOS; None where psutil is not installed."""
    try:
        import psutil  # optional: of the extra `tracking`
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def free_memory(
    control_groups: Path = Path("/sys/fs/cgroup"),
    available: Callable[[], int | None] = available_memory,
    own_groups: Path = Path("/proc/self/cgroup"),
) -> int | None:
    """Return the memory that this process may still use.

    That is the minimum of the machine's available memory and what its control groups allow.

    Args:
        control_groups: Where Linux shows control groups; macOS has none.
        available: Returns the machine's available memory.
        own_groups: Where Linux lists this process's groups.

    Returns:
        The bytes, at least 0; None where unknown.
    """
    limits = [left for left in (available(), *_left_in_groups(control_groups, own_groups)) if left is not None]
    return max(0, min(limits)) if limits else None


def _left_in_groups(control_groups: Path, own_groups: Path) -> Iterator[int]:
    """Yield what remains of each memory limit above this process, in bytes.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files; in version 1 memory.limit_in_bytes. The kernel's file cache
    counts as used there, but is reclaimed when memory runs short.
    """
    for root, controller, limit, used in (
        (control_groups, "", "memory.max", "memory.current"),
        (control_groups / "memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        for folder in groups_of_this_process(root, controller, own_groups):
            with contextlib.suppress(OSError, ValueError):  # no limit: the file is missing or says "max"
                stat = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
                files = int(stat.get("inactive_file") or stat.get("total_inactive_file") or 0)
                maximum, used_bytes = (int((folder / name).read_text()) for name in (limit, used))
                yield maximum - used_bytes + files
