"""The storage of training states: a folder on this machine or a prefix in S3. Each state is a folder step-000123 in it.

Files that a killed process left half-written are never used as a state, and are removed when the next state is saved.
"""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import make_folder, require_space, storage_errors, sync
from mynah.storage.base import upload
from mynah.storage.s3 import S3ArtifactStore, erase_upload
from mynah.training.state_format import DESCRIPTION, TENSORS, CorruptState

if TYPE_CHECKING:
    from mynah.storage.s3 import S3ArtifactStore

STATES_KEPT = 2  # the newest, and the previous one in case the newest is damaged
STATE_NAME = re.compile(r"step-\d{6,12}")
RUN_FOLDER_NAME = re.compile("[0-9a-f]{16}")  # the name of a training run's folder
SCHEME = "s3://"
PARTIAL_PREFIX = ".half-"  # of folders that are being written or removed
LOCK_SECONDS = 600.0  # to wait for other processes of the same training run: those of several GPUs download in turn
Get = Callable[[str], Path]  # returns the path of one of a state's files; raises CorruptState when it is missing


class StateBackend(Protocol):
    """The storage of one training run's states, by the names of their folders."""

    uri: str

    def check_space(self, nbytes: int) -> None:
        """Raise PlatformError unless states of `nbytes` each can be kept here."""

    def names(self) -> list[str]:
        """Return the names of the stored states, sorted by step."""

    def has_others(self) -> bool:
        """Whether states of other training runs are stored next to these."""

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """Return an empty folder on this machine for writing a state, for one process at a time."""

    def commit(self, folder: Path, name: str) -> None:
        """Store the files of the scratch folder as the state `name`, atomically."""

    def open(self, name: str) -> contextlib.AbstractContextManager[Get]:
        """Open a state; the context's value returns its files."""

    def remove(self, name: str) -> None:
        """Remove a state."""

    def clear(self) -> None:
        """Remove all states and half-written files."""


def state_backend(where: str, training: str) -> StateBackend:
    """Return the backend for a training run's states.

    Args:
        where: a folder or s3://BUCKET/PREFIX.
        training: the name of the training run's folder in it; "" only validates `where`.

    Raises:
        InputError: `where` is neither.
    """
    bucket, _, prefix = where.removeprefix(SCHEME).partition("/")
    if where.startswith(SCHEME) and bucket:
        return _Bucket(bucket, prefix.strip("/"), training)
    if not where or "://" in where:
        raise InputError(f"training states cannot be kept in {where[:200]!r}", "Name a folder, or s3://BUCKET/PREFIX.")
    return _Folder(Path(where).absolute() / training)


def step_of(name: str) -> int:
    """Return the step of a state from the name of its folder."""
    return int(name.removeprefix("step-"))


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.uri = str(folder)

    def check_space(self, nbytes: int) -> None:
        make_folder(self._folder)
        with disk_errors(self._folder):
            tempfile.TemporaryFile(dir=self._folder).close()
            held = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        require_space(self._folder, max(nbytes, (STATES_KEPT + 1) * nbytes - held), "keeping training states")

    def names(self) -> list[str]:
        with disk_errors(self._folder):
            return _states(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []

    def has_others(self) -> bool:
        parent = self._folder.parent
        with disk_errors(parent):
            return parent.is_dir() and any(
                RUN_FOLDER_NAME.fullmatch(path.name) for path in parent.iterdir() if path != self._folder
            )

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        return _workspace(self._folder)

    def commit(self, folder: Path, name: str) -> None:
        if os.path.lexists(self._folder / name):
            self.remove(name)  # rename(2) cannot replace a full folder
        folder.rename(self._folder / name)
        sync(self._folder)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Get]:
        yield lambda file: self._folder / name / file

    def remove(self, name: str) -> None:
        with disk_errors(self._folder):
            removal_folder = Path(
                tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=self._folder)
            )  # so that a half-removed state is never used
            (self._folder / name).rename(removal_folder / name)
            shutil.rmtree(removal_folder)

    def clear(self) -> None:
        with disk_errors(self._folder):
            for name in self.names():
                self.remove(name)
            if self._folder.is_dir():
                shutil.rmtree(self._folder)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()  # the bot's folder, when it is empty


class _Bucket:
    """S3; one state at a time is in a folder on this machine, before its upload or after its download."""

    def __init__(self, bucket: str, prefix: str, training: str) -> None:
        self._place = S3ArtifactStore(bucket, f"{prefix}/{training}")
        self._parent = S3ArtifactStore(bucket, prefix)
        self.uri = self._place.uri
        self._local = Path(tempfile.gettempdir()) / f"mynah-states-{os.getuid()}"
        self._folder = self._local / hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        self._is_tidy = False

    def check_space(self, nbytes: int) -> None:
        with self.scratch() as folder, disk_errors(folder):
            require_space(folder, nbytes, "a training state before its upload to S3")
            (folder / "probe").write_bytes(b"write test\n")
            self._below("probe").put("probe", folder / "probe")
        self._below("probe").remove()

    def names(self) -> list[str]:
        return _states(name.removesuffix(f"/{DESCRIPTION}") for name in self._place.files())

    def has_others(self) -> bool:
        return any(name.endswith(f"/{DESCRIPTION}") for name in self._parent.files())

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        with disk_errors(self._local):
            self._local.mkdir(mode=0o700, exist_ok=True)
            if self._local.is_symlink() or self._local.stat().st_uid != os.getuid():
                raise PlatformError(f"{self._local} belongs to another user", "Set TMPDIR to a folder of your own.")
        with _workspace(self._folder) as folder:
            yield folder

    def commit(self, folder: Path, name: str) -> None:
        if not self._is_tidy:
            self._tidy()
        self._is_tidy = False
        for file in (TENSORS, DESCRIPTION):
            upload(self._below(name), {file: folder / file})
        self._is_tidy = True

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Get]:
        place = self._below(name)
        files = place.files()
        with self.scratch() as folder:

            def fetch(file: str) -> Path:
                if file not in files:
                    raise CorruptState(f"its {file} is missing")
                require_space(folder, files[file].size, "a training state downloaded from S3")
                try:
                    place.get(file, folder / file)
                except InputError as error:
                    raise CorruptState(f"its {file} is gone") from error
                return folder / file

            yield fetch

    def remove(self, name: str) -> None:
        self._below(name).remove()  # removes state.json first, so that a partial removal leaves no state

    def clear(self) -> None:
        self._tidy()
        self._place.remove()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tidy(self) -> None:
        """Remove half-written files of killed processes."""
        for upload_found in self._place.uploads():
            erase_upload(upload_found)
        for half in {name.split("/")[0] for name in self._place.files()} - {*self.names()}:
            self.remove(half)

    def _below(self, name: str) -> "S3ArtifactStore":
        return S3ArtifactStore(self._place.bucket, f"{self._place.prefix}{name}")


@contextlib.contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """Yield an empty folder in `folder`, for one process at a time; leftovers of killed processes are removed first."""
    make_folder(folder)
    try:
        with disk_errors(folder), FileLock(folder / ".lock", timeout=LOCK_SECONDS):
            for leftover in folder.glob(f"{PARTIAL_PREFIX}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=folder))
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except Timeout as error:
        raise PlatformError(
            f"another process has been writing to {folder} for {LOCK_SECONDS:.0f} s", "Wait for it, or stop it."
        ) from error


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn the operating system's errors into a PlatformError."""
    try:
        with storage_errors(folder):
            yield
    except OSError as error:
        raise PlatformError(f"{error.filename or folder} cannot be used: {error.strerror}", "Name another folder.") from error


def _states(names: Iterable[str]) -> list[str]:
    """Return the names of states among `names`, sorted by step."""
    return sorted({name for name in names if STATE_NAME.fullmatch(name)}, key=step_of)
