"""An artifact store in a folder of this machine: the laptop's store."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mynah.core.erasing import erase, require_below, require_no_link
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import digest, is_writable, make_folder, storage_errors
from mynah.core.walking import leads_out
from mynah.storage.base import StoredFile, no_such_file, sha256


class FolderArtifactStore:
    """An artifact store's folder on this machine's disk."""

    def __init__(self, folder: Path, homes: Sequence[Path] = ()) -> None:
        """Open a folder.

        Args:
            folder: The folder, which need not exist.
            homes: Folders below each of which it must lie where it is written or removed; no link may lead out of the first.
        """
        self.folder = folder
        self.homes = homes
        self.uri = str(folder)

    def check(self) -> None:
        """Raise PlatformError when the folder, which is created when it is written to, is where this process may not write."""
        existing = next(parent for parent in (self.folder, *self.folder.parents) if parent.exists())
        if not is_writable(existing):
            raise PlatformError(
                f"{self.folder} cannot be written", "Name a work folder where you may write, or a copy of this one."
            )

    def put(self, name: str, path: Path) -> None:
        """Copy `path` to `name`, all or nothing. Raises InputError when it lies outside the folder's homes, or a link leads out."""
        target = self.folder / name
        for home in self.homes:
            if not self.folder.is_relative_to(home):
                raise InputError(f"{self.folder} is not written: it lies outside {home}", "Register the version again.")
        if self.homes and leads_out(target.parent, self.homes[0]):
            raise InputError(
                f"{target} is not written: a link leads out of {self.homes[0]}, to {os.path.realpath(target.parent)}",
                "Put what the link leads to in its place, and run again.",
            )
        make_folder(target.parent)
        partial = target.with_name(f".{target.name}.tmp")
        try:
            with storage_errors(target):
                shutil.copyfile(path, partial)
                partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def files(self) -> dict[str, StoredFile]:
        """Return the files of this folder, without digests: computing them would read every file."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): StoredFile(path.stat().st_size) for path in paths}

    def get(self, name: str, path: Path) -> None:
        """Copy the file `name` to `path`. Raises InputError when it does not exist."""
        source = self.folder / name
        if not source.is_file():
            raise no_such_file(f"{self.uri}/{name}")
        with storage_errors(path):
            shutil.copyfile(source, path)

    def same(self, name: str, path: Path) -> bool:
        """Compare the SHA-256 of both."""
        stored = self.folder / name
        return stored.is_file() and digest(stored) == sha256(path)

    def remove(self) -> None:
        """Remove the folder. Raises InputError when it lies outside its homes, or is a link."""
        self.require_removable()
        erase(self.folder, self.homes or [self.folder.parent])

    def require_removable(self) -> None:
        """Raise InputError when the folder lies outside its homes, or is a link: what that leads to would stay."""
        for home in self.homes:
            require_below(self.folder, [home])
        require_no_link(self.folder)
