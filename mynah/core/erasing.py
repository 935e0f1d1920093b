"""Erase files: the one place that does, and only below the folders that they belong to.

An address may come from a database, a journal or a receipt that was copied along with a work folder, and still name the original. A link
may lead out of the folder. Both would erase what nobody asked to erase.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mynah.core.errors import InputError, PlatformError


def is_below(path: Path, homes: Sequence[Path]) -> bool:
    """Return whether `path` lies below one of `homes`. Links in its parents are followed; the path itself may be a link."""
    if ".." in path.parts:
        return False
    real = Path(os.path.realpath(path.parent), path.name)
    return any(real.is_relative_to(home) and real != home for home in (Path(os.path.realpath(home)) for home in homes))


def require_below(path: Path, homes: Sequence[Path]) -> None:
    """Raise InputError unless `path` lies below one of `homes`, the folders in which something may be erased."""
    if is_below(path, homes):
        return
    real, where = Path(os.path.realpath(path.parent), path.name), " and ".join(map(str, homes)) or "any work folder"
    if any(path.is_relative_to(home) and path != home for home in homes) and ".." not in path.parts:
        raise InputError(
            f"{path} is not erased: a link leads out of {where}, to {real}",
            "Replace the link by what it leads to, or erase that yourself and remove the link; then run again.",
        )
    raise InputError(f"{path} is not erased: it lies outside {where}", "Erase it yourself, if it is yours.")


def require_no_link(folder: Path) -> None:
    """Raise InputError when a folder to erase is a link: what it leads to would stay, and may be used by others."""
    if folder.is_symlink():
        raise InputError(
            f"{folder} is not erased: it is a link to {folder.readlink()}",
            "Replace the link by what it leads to, or erase that yourself and remove the link; then run again.",
        )


def erase(path: Path, homes: Sequence[Path]) -> None:
    """Erase a file, a folder with all that is in it, or a link but not what it leads to. A path that does not exist is no error.

    Args:
        path: What to erase.
        homes: The folders below which it must lie.

    Raises:
        InputError: It lies outside, or is reached through a link that leads out.
        PlatformError: It cannot be removed.
    """
    require_below(path, homes)
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)  # does not follow links
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        # NFS and FUSE keep an erased file under another name while a process has it open.
        fix = "Stop the process that has a file in it open" if error.errno == errno.ENOTEMPTY else "Make it removable"
        raise PlatformError(f"{error.filename or path} cannot be erased: {error.strerror}", f"{fix}, and run again.") from error
