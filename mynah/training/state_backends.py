"""Where the states of a training lie: a folder of this machine, or a prefix in S3. Each state is a folder step-000123 there.

What a process that was killed left half-written is never taken for a state, and goes when the next one is saved.
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

from components.errors import InputError, PlatformError
from components.files import make_folder, require_space, storage_errors
from components.finetune.state_files import DESCRIPTION, TENSORS, Broken, sync

if TYPE_CHECKING:
    from components.artifact_s3 import S3Place

KEPT = 2  # the newest, and the one before, should the newest turn out to be damaged
STEP = re.compile(r"step-\d{6,12}")
TRAINING = re.compile("[0-9a-f]{16}")  # the name of a training's folder
SCHEME = "s3://"
HALF = ".half-"  # begins the name of what is being written or removed
PATIENCE = 600.0  # seconds, for other processes at the same training: those of several GPUs fetch one after the other
Get = Callable[[str], Path]  # the path of one of a state's files; raises Broken when it is not there


class Shelf(Protocol):
    """Where the states of one training lie, by the names of their folders."""

    uri: str

    def check(self, nbytes: int) -> None:
        """Raise PlatformError unless states of `nbytes` each can be kept here."""

    def names(self) -> list[str]:
        """The states that there are, by their steps."""

    def has_others(self) -> bool:
        """Whether states of other trainings lie beside these."""

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """An empty folder of this machine to write a state into, for one process at a time."""

    def take(self, folder: Path, name: str) -> None:
        """Make the files in the scratch folder the state `name`, all or nothing."""

    def opened(self, name: str) -> contextlib.AbstractContextManager[Get]:
        """Give the files of a state."""

    def remove(self, name: str) -> None:
        """Remove a state."""

    def clear(self) -> None:
        """Remove all of them, and what is left half-written."""


def shelf(where: str, training: str) -> Shelf:
    """The shelf of a training in `where`, a folder or s3://BUCKET/PREFIX. Raises InputError for what is neither."""
    bucket, _, prefix = where.removeprefix(SCHEME).partition("/")
    if where.startswith(SCHEME) and bucket:
        return _Bucket(bucket, prefix.strip("/"), training)
    if not where or "://" in where:
        raise InputError(f"training states cannot be kept in {where[:200]!r}", "Name a folder, or s3://BUCKET/PREFIX.")
    return _Folder(Path(where).absolute() / training)


def step_of(name: str) -> int:
    """The step of a state, by the name of its folder."""
    return int(name.removeprefix("step-"))


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.uri = str(folder)

    def check(self, nbytes: int) -> None:
        make_folder(self._folder)
        with disk_errors(self._folder):
            tempfile.TemporaryFile(dir=self._folder).close()
            held = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        require_space(self._folder, max(nbytes, (KEPT + 1) * nbytes - held), "keeping training states")

    def names(self) -> list[str]:
        with disk_errors(self._folder):
            return _states(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []

    def has_others(self) -> bool:
        parent = self._folder.parent
        with disk_errors(parent):
            return parent.is_dir() and any(TRAINING.fullmatch(path.name) for path in parent.iterdir() if path != self._folder)

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        return _workspace(self._folder)

    def take(self, folder: Path, name: str) -> None:
        if os.path.lexists(self._folder / name):
            self.remove(name)  # rename(2) cannot replace a full folder
        folder.rename(self._folder / name)
        sync(self._folder)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Get]:
        yield lambda file: self._folder / name / file

    def remove(self, name: str) -> None:
        with disk_errors(self._folder):
            aside = Path(tempfile.mkdtemp(prefix=HALF, dir=self._folder))  # so that no half of it is ever taken for a state
            (self._folder / name).rename(aside / name)
            shutil.rmtree(aside)

    def clear(self) -> None:
        with disk_errors(self._folder):
            for name in self.names():
                self.remove(name)
            if self._folder.is_dir():
                shutil.rmtree(self._folder)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()  # the bot's, when it holds nothing else


class _Bucket:
    """One state at a time also lies in a folder of this machine, on its way."""

    def __init__(self, bucket: str, prefix: str, training: str) -> None:
        from components.artifact_s3 import S3Place

        self._place = S3Place(bucket, f"{prefix}/{training}")
        self._parent = S3Place(bucket, prefix)
        self.uri = self._place.uri
        self._local = Path(tempfile.gettempdir()) / f"mynah-states-{os.getuid()}"
        self._folder = self._local / hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        self._is_tidy = False

    def check(self, nbytes: int) -> None:
        with self.scratch() as folder, disk_errors(folder):
            require_space(folder, nbytes, "a training state on its way to S3")
            (folder / "probe").write_bytes(b"may this be written?\n")
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
                raise PlatformError(f"{self._local} is somebody else's", "Set TMPDIR to a folder of your own.")
        with _workspace(self._folder) as folder:
            yield folder

    def take(self, folder: Path, name: str) -> None:
        from components.artifacts import upload

        if not self._is_tidy:
            self._tidy()
        self._is_tidy = False
        for file in (TENSORS, DESCRIPTION):
            upload(self._below(name), {file: folder / file})
        self._is_tidy = True

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Get]:
        place = self._below(name)
        there = place.files()
        with self.scratch() as folder:

            def get(file: str) -> Path:
                if file not in there:
                    raise Broken(f"its {file} is missing")
                require_space(folder, there[file].size, "a training state on its way from S3")
                try:
                    place.get(file, folder / file)
                except InputError as error:
                    raise Broken(f"its {file} is gone") from error
                return folder / file

            yield get

    def remove(self, name: str) -> None:
        self._below(name).remove()  # in the order of names, state.json first: then it is no state any more

    def clear(self) -> None:
        self._tidy()
        self._place.remove()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tidy(self) -> None:
        """Remove what a process that was killed left half-written."""
        from components.artifact_s3 import erase_upload

        for found in self._place.uploads():
            erase_upload(found)
        for half in {name.split("/")[0] for name in self._place.files()} - {*self.names()}:
            self.remove(half)

    def _below(self, name: str) -> "S3Place":
        from components.artifact_s3 import S3Place

        return S3Place(self._place.bucket, f"{self._place.prefix}{name}")


@contextlib.contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """An empty folder in `folder`, for one process at a time; what one that was killed left in there goes first."""
    make_folder(folder)
    try:
        with disk_errors(folder), FileLock(folder / ".lock", timeout=PATIENCE):
            for left in folder.glob(f"{HALF}*"):
                shutil.rmtree(left, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=HALF, dir=folder))
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except Timeout as error:
        raise PlatformError(
            f"another process has been writing in {folder} for {PATIENCE:.0f} s", "Wait for it, or end it."
        ) from error


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Whatever the operating system refuses as a PlatformError."""
    try:
        with storage_errors(folder):
            yield
    except OSError as error:
        raise PlatformError(f"{error.filename or folder} cannot be used: {error.strerror}", "Name another folder.") from error


def _states(names: Iterable[str]) -> list[str]:
    """Those of `names` that are of states, by their steps."""
    return sorted({name for name in names if STEP.fullmatch(name)}, key=step_of)
