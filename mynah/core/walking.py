"""List folders in which everything must be found: one that cannot be listed is an error, and never taken as empty.

`Path.glob` and `os.walk` skip such a folder without a word.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mynah.core.errors import PlatformError


def listed(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted by name; [] where there is no folder. Raises PlatformError when it cannot be listed."""
    with searching(folder):
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def walk(folder: Path, enter: Callable[[Path], bool] = lambda _: True) -> Iterator[Path]:
    """Yield everything below a folder, each folder before what is in it. Links are yielded and not followed.

    Args:
        folder: The folder, which need not exist.
        enter: Whether to go into a folder that was yielded.

    Raises:
        PlatformError: A folder cannot be listed.
    """
    for path in listed(folder):
        with searching(path):
            is_folder = path.is_dir() and not path.is_symlink()
        yield path
        if is_folder and enter(path):
            yield from walk(path, enter)


@contextlib.contextmanager
def searching(path: Path) -> Iterator[None]:
    """Convert the operating system's errors of reading `path` to a PlatformError that names the place and the fix."""
    try:
        yield
    except OSError as error:
        raise PlatformError(
            f"{error.filename or path} cannot be searched: {error.strerror}", "Make it readable, and run again."
        ) from error


def leads_out(link: Path, folder: Path) -> bool:
    """Return whether a path leads through links to a place outside a folder. The place need not exist."""
    return not Path(os.path.realpath(link)).is_relative_to(os.path.realpath(folder))
