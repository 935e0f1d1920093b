"""Refuse an output that would swallow an input: one that is, holds, lies in, or through links reaches what the same command reads.

Places are compared by device and inode as well as by name: links, `..`, mounts, and file systems that ignore case or normalise Unicode give
one place many spellings.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mynah.core.errors import InputError

Place = frozenset[object]  # what identifies a file or folder: its resolved name, and (device, inode) where it exists
MAX_LINKS = 1000  # followed for one input; more are a loop


def refuse_overlap(target: Path, inputs: Iterable[Path], around: Iterable[Path] = ()) -> None:
    """Raise InputError where writing `target` would change or remove something that the same command reads.

    Args:
        target: The file or folder to write; a folder is replaced as a whole.
        inputs: What the command reads; those that do not exist are skipped.
        around: Folders that the command works in, such as the work folder: `target` may lie in them, and may not be or hold them.
    """
    for path, may_hold in (*((path, False) for path in inputs), *((path, True) for path in around)):
        try:
            how = _relation(target, path, may_hold)
        except (
            OSError,
            ValueError,
            RuntimeError,
        ):  # a name too long, a NUL byte, a loop of links: reading or writing it tells more
            continue
        if how:
            raise InputError(
                f"the output {target} {how} {path}, which this command reads",
                "Name another place: an output replaces what is there, so it and an input may not lie in one another.",
            )


def refuse_inside(target: Path, inputs: Iterable[Path]) -> None:
    """Raise InputError where a folder that the command adds files to is or lies in something that it reads.

    Args:
        target: The folder, which may hold inputs beside the files that are added.
        inputs: What the command reads.
    """
    for path in inputs:
        if path.exists() and _relation(path, target, may_hold=True):
            raise InputError(f"{target} is or lies in {path}, which this command reads", "Name a folder of its own for it.")


def _relation(target: Path, source: Path, may_hold: bool) -> str:
    """Return how `target` meets `source`, in words; "" where both are apart."""
    if not (may_hold or source.exists()):  # a folder to work in may be made later
        return ""
    own, read = _place(target), _place(source)
    if own & read:
        return "is the same as" if target.resolve() == source.resolve() else "is another name of"
    if own & _holders(source.resolve()):
        return "holds"
    if any(own & _holders(link) for link in _links(source)):
        return "holds a link on the way to"
    if may_hold:
        return ""
    if read & _holders(target.resolve()):
        return "lies in"
    return "shares a file with" if _shares_files(target, source) else ""


def _place(path: Path) -> Place:
    """Return what identifies the file or folder that a path leads to."""
    resolved = path.resolve()
    return frozenset({str(resolved), *_inode(resolved)})


def _holders(path: Path) -> Place:
    """Return what identifies the folders that hold a path, which has no link in it but for its last name."""
    return frozenset[object]().union(*map(_place, path.parents))


def _links(path: Path) -> Iterator[Path]:
    """Yield the symbolic links on the way to a path: also those that other links lead to."""
    todo, seen = [path.absolute()], set[Path]()
    while todo and len(seen) < MAX_LINKS:
        here = todo.pop()
        for part in (*reversed(here.parents), here):
            if part not in seen and part.is_symlink():
                seen.add(part)
                yield part.parent.resolve() / part.name
                todo.append(part.parent / part.readlink())


def _shares_files(target: Path, source: Path) -> bool:
    """Return whether `target`, or something in it, is also in `source`, by a hard link or by a symbolic link in `source`."""
    written = (target, *_walk(target, follow=False)) if target.exists() else ()
    replaced = {inode for path in written if not path.is_symlink() for inode in _inode(path)}
    return bool(replaced) and any(inode in replaced for path in (source, *_walk(source, follow=True)) for inode in _inode(path))


def _walk(folder: Path, follow: bool) -> Iterator[Path]:
    """Yield the files and folders below a folder; with `follow` also behind links to folders, each folder once."""
    seen = set[tuple[int, int]]()
    for parent, folders, files in os.walk(folder, followlinks=follow):
        for name in (*folders, *files):
            yield Path(parent, name)
        new = {name: _inode(Path(parent, name)) for name in folders}
        folders[:] = [name for name in folders if not follow or not set(new[name]) & seen]
        seen.update(inode for name in folders for inode in new[name])


def _inode(path: Path) -> list[tuple[int, int]]:
    """Return the device and inode of a file or folder; [] for a link to nothing, and where the file system counts none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return [(status.st_dev, status.st_ino)] if status.st_ino else []
    return []
