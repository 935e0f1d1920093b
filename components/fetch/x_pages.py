"""Pages of a timeline that were paid for, kept until the timeline is complete: a fetch that is cut off does not pay twice.

A private file (mode 0600) of JSON lines for each account, for a day: so long does X charge the same post but once, and so soon must
what is deleted there be gone here. The first line is the account, each other one a page.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.errors import PlatformError
from components.fetch import shapes
from components.files import storage_errors
from components.lineage import author_key

SECONDS_KEPT = 86_400
SINCE = "mynah_kept_since"  # in the first line: when it was written, a Unix time


def pages_folder() -> Path:
    """Where pages are kept: MYNAH_CACHE, else the user's own folder for caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("MYNAH_CACHE") or f"{caches}/mynah").expanduser() / "x-pages"


def kept_pages(author: str) -> Path:
    """The file with pages of `author`, whether it is there or not; `mynah forget` erases it."""
    return pages_folder() / f"{hashlib.sha256(author_key(author).encode()).hexdigest()[:32]}.jsonl"


class Pages:
    """What is kept of one account. Read and written within `locked` alone."""

    def __init__(self, handle: str) -> None:
        self._handle, self._path = handle, kept_pages(handle)
        self.account: dict[str, Any] = {}  # as X gives it; empty where nothing is kept
        self.posts: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the account against other fetches of it, and read what is kept. Raises PlatformError while another holds it."""
        with storage_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._drop_old()
        lock = self._path.with_suffix(".lock")
        try:
            with FileLock(lock, timeout=0):
                try:
                    self._read()
                    yield
                finally:
                    lock.unlink(missing_ok=True)
        except Timeout as error:
            raise PlatformError(f"another mynah is fetching @{self._handle} from X", "Wait for it: both would pay.") from error

    def begin(self, account: dict[str, Any]) -> None:
        """Keep the account itself."""
        self.account = {**account, SINCE: time.time()}
        self._add(self.account)

    def add(self, posts: list[dict[str, Any]]) -> None:
        """Keep a page."""
        if posts:
            self.posts += posts
            self._add(posts)

    def remove(self) -> None:
        """Keep nothing: the timeline is complete."""
        with storage_errors(self._path):
            self._path.unlink(missing_ok=True)

    def _add(self, value: object) -> None:
        with storage_errors(self._path):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(json.dumps(value).encode() + b"\n")

    def _read(self) -> None:
        """Read the file up to its first line that is not whole: a kill may have cut the last one."""
        self.account, self.posts = {}, []
        whole = 0
        with storage_errors(self._path), contextlib.suppress(FileNotFoundError), self._path.open("r+b") as file:
            for line in file:
                value = _value(line)
                if isinstance(value, dict) and not whole and value:
                    self.account = value
                elif isinstance(value, list) and whole:
                    self.posts += shapes.records(value)
                else:
                    break
                whole += len(line)
            file.truncate(whole)

    def _drop_old(self) -> None:
        """Remove what was begun more than a day ago, of any account. Pages are only ever added, so the first one's age decides."""
        for path in self._path.parent.glob("*.jsonl"):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                since = shapes.record(_value(file.readline())).get(SINCE)
                if not isinstance(since, float) or not 0 <= time.time() - since < SECONDS_KEPT:
                    path.unlink()


def _value(line: bytes) -> Any:  # noqa: ANN401 - JSON is any of its types
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
