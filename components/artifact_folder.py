"""Artifacts in a folder of this machine: the laptop's store."""

import shutil
from pathlib import Path

from components.artifacts import Stored, missing, sha256
from components.errors import PlatformError
from components.files import digest, make_folder, storage_errors


class FolderPlace:
    """A folder of an artifact store on this machine's disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = str(folder)

    def check(self) -> None:
        """A folder of this machine; it is made when it is written to."""

    def put(self, name: str, path: Path) -> None:
        """Copy `path` to `name`, all or nothing."""
        target = self.folder / name
        make_folder(target.parent)
        half = target.with_name(f".{target.name}.tmp")
        try:
            with storage_errors(target):
                shutil.copyfile(path, half)
                half.replace(target)
        finally:
            half.unlink(missing_ok=True)

    def files(self) -> dict[str, Stored]:
        """The files below this folder, without digests: they would have to be read."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): Stored(path.stat().st_size) for path in found}

    def get(self, name: str, path: Path) -> None:
        """Copy the file `name` to `path`."""
        source = self.folder / name
        if not source.is_file():
            raise missing(f"{self.uri}/{name}")
        with storage_errors(path):
            shutil.copyfile(source, path)

    def same(self, name: str, path: Path) -> bool:
        """Whether both have one SHA-256."""
        stored = self.folder / name
        return stored.is_file() and digest(stored) == sha256(path)

    def remove(self) -> None:
        """Remove the folder."""
        if self.folder.exists():
            try:
                shutil.rmtree(self.folder)
            except OSError as error:
                raise PlatformError(
                    f"{error.filename or self.folder} cannot be removed: {error.strerror}", "Make it removable, and run again."
                ) from error
