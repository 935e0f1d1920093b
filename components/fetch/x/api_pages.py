"""Pages of a timeline that were paid for, kept until the timeline is complete: a fetch that is cut off does not pay twice.

A private file (mode 0600) of JSON lines for each account, for a day: so long does X charge the same post but once, and so soon must
what is deleted there be gone here. The first line is the account, each other one a page.

Where there is an installation's bucket (MYNAH_S3_BUCKET), a copy is kept in there: a pod's disk goes with it, and its next attempt is
another pod. The copy is a help and no need: where S3 fails, that is told, and the fetch goes on.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from components.errors import MynahError, PlatformError
from components.events import say
from components.fetch import shapes
from components.files import make_folder, storage_errors
from components.lineage import author_key

if TYPE_CHECKING:
    from components.artifact_s3 import S3Place

SECONDS_KEPT = 86_400
FOLDER = "x-pages"  # in the folder for caches, and in the bucket
FINISHED = {"finished": True}  # the last line of a complete timeline; to read it on is to take it up again, for nothing
NAME = "pages.jsonl"  # of the copy
SINCE = "mynah_kept_since"  # in the first line: when it was written, a Unix time


def pages_folder() -> Path:
    """Where pages are kept: MYNAH_CACHE, else the user's own folder for caches. Raises PlatformError where nobody knows the latter."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(os.environ.get("MYNAH_CACHE") or f"{caches}/mynah").expanduser() / FOLDER
    except RuntimeError as error:  # a user without a home, as containers may have
        raise PlatformError(f"there is no folder for caches: {error}", "Set MYNAH_CACHE to a folder.") from error


def kept_pages(author: str) -> Path:
    """The file with pages of `author`, whether it is there or not; `mynah forget` erases it."""
    return pages_folder() / f"{_key(author)}.jsonl"


def copied_pages(author: str) -> str:
    """The address of their copy, s3://BUCKET/x-pages/…, whether anything is there or not; "" where there is no bucket."""
    bucket = os.environ.get("MYNAH_S3_BUCKET", "")
    return f"s3://{bucket}/{FOLDER}/{_key(author)}" if bucket else ""


def _key(author: str) -> str:
    return hashlib.sha256(author_key(author).encode()).hexdigest()[:32]


class Pages:
    """What is kept of one account. Read and written within `locked` alone."""

    def __init__(self, handle: str) -> None:
        self._handle, self._path, self._copy = handle, kept_pages(handle), _Copy(copied_pages(handle))
        self.account: dict[str, Any] = {}  # as X gives it; empty where nothing is kept
        self.posts: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the account against other fetches of it, and read what is kept. Raises PlatformError while another holds it."""
        make_folder(self._path.parent.parent)
        path = self._path.with_suffix(".lock")
        lock = FileLock(path, timeout=0)
        try:
            with storage_errors(path):
                self._path.parent.mkdir(exist_ok=True, mode=0o700)
                lock.acquire()
        except Timeout as error:
            raise PlatformError(f"another mynah is fetching @{self._handle} from X", "Wait for it: both would pay.") from error
        try:
            with storage_errors(self._path):
                self._copy.take(self._path)
                self._drop_old()
            self._read()
            yield
        finally:
            path.unlink(missing_ok=True)
            lock.release()

    def begin(self, account: dict[str, Any]) -> None:
        """Keep the account itself."""
        self.account = {**account, SINCE: time.time()}
        self._add(self.account)

    def add(self, posts: list[dict[str, Any]]) -> None:
        """Keep a page."""
        if posts:
            self.posts += posts
            self._add(posts)

    def finish(self) -> None:
        """Note that the timeline is complete: its pages may go as soon as its posts are written elsewhere."""
        self._add(FINISHED)

    def remove_finished(self) -> None:
        """Keep nothing of a timeline that is complete; what another fetch holds stays."""
        with contextlib.suppress(FileNotFoundError, Timeout), FileLock(self._path.with_suffix(".lock"), timeout=0):
            with storage_errors(self._path):
                is_finished = self._path.read_bytes().endswith(b"\n" + json.dumps(FINISHED).encode() + b"\n")
                if is_finished:
                    self._path.unlink()
            if is_finished:
                self._copy.remove()
            self._path.with_suffix(".lock").unlink(missing_ok=True)

    def _add(self, value: object) -> None:
        with storage_errors(self._path):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(json.dumps(value).encode() + b"\n")
        self._copy.put(self._path)

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


class _Copy:
    """The copy in S3 at `address` ("": none), an object of the same bytes. Where S3 fails, a warning tells it, and no more is copied."""

    def __init__(self, address: str) -> None:
        self._address, self._is_on = address, bool(address)

    @contextlib.contextmanager
    def _place(self) -> Iterator["S3Place"]:
        from components.artifact_s3 import S3Place

        bucket, _, prefix = self._address.removeprefix("s3://").partition("/")
        try:
            yield S3Place(bucket, prefix)
        except (MynahError, ImportError) as error:  # also where boto3 is not installed
            reason = error.problem if isinstance(error, MynahError) else error
            say(f"pages of X are kept on this machine alone, and maybe at {self._address}: {reason}", "warning")
            self._is_on = False

    def take(self, path: Path) -> None:
        """Bring it to `path`, where nothing lies there; and erase the copies of any account that are older than a day."""
        if self._is_on and not path.exists():
            with self._place() as place:
                _erase_old(place.bucket)
                if NAME in place.files():
                    place.get(NAME, path)
                    path.chmod(0o600)

    def put(self, path: Path) -> None:
        """Make it what lies at `path`."""
        if self._is_on:
            with self._place() as place:
                place.put(NAME, path)

    def remove(self) -> None:
        """Erase it with its older versions, which a bucket may keep, and uploads of it that a kill cut off."""
        if self._address:
            from components.artifact_s3 import erase_upload, erase_version

            with self._place() as place:
                for version in place.versions():
                    erase_version(version)
                for upload in place.uploads():
                    erase_upload(upload)


def _erase_old(bucket: str) -> None:
    from components.artifact_s3 import s3_client, s3_errors

    client, begun = s3_client(), datetime.now(UTC) - timedelta(seconds=SECONDS_KEPT)
    with s3_errors(f"looking for old pages in s3://{bucket}/{FOLDER}"):
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{FOLDER}/"):
            for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                if item["LastModified"] < begun:
                    client.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])


def _value(line: bytes) -> Any:  # noqa: ANN401 - JSON is any of its types
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
