"""Read a file that was taken out of an export, such as a single JSON file, as an archive of which it is the only member."""

from collections.abc import Generator
from pathlib import Path

from components.fetch.archives.zip_folder import CHUNK, MAX_TOTAL_BYTES
from components.fetch.sources import printable
from mynah.core.errors import InputError


class SingleFile:
    """A file as an archive; implements `zip_folder.Archive`."""

    def __init__(self, path: Path, label: str) -> None:
        self.label = label
        self._path = path
        self.names = [printable(path.name)]

    def size(self, member: str) -> int:
        """Return the file's size in bytes. Raises InputError for a file that is too large."""
        size = self._path.stat().st_size
        if size > MAX_TOTAL_BYTES:
            raise InputError(f"{self.label}: has {size:,} bytes; the limit is {MAX_TOTAL_BYTES:,}", "Give it in parts.")
        return size

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Yield the file's bytes, 1 MiB at a time. Raises InputError when they cannot be read."""
        self.size(member)
        try:
            with self._path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise InputError(f"{self.label}: cannot be read ({error.strerror})", "Make the file readable.") from error
