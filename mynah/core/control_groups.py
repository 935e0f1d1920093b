"""The control groups of this process, which carry the limits of a container, a pod or a job.

https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def groups_of_this_process(root: Path, controller: str, own_groups: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, from the root down.

    A pod sees its own group as the root; a job of Slurm or systemd does not.

    Args:
        root: Where the controller's hierarchy is mounted.
        controller: For version 1, such as "memory"; "" for version 2.
        own_groups: /proc/self/cgroup, whose lines are ID:CONTROLLERS:PATH.

    Yields:
        Folders; they need not exist.
    """
    folder = root
    yield folder
    with contextlib.suppress(OSError, ValueError):
        for line in own_groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(",") and ".." not in path.split("/"):  # ..: a group outside the container's own
                for name in path.strip("/").split("/"):
                    folder = folder / name
                    yield folder
