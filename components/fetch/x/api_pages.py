"""Cache the pages of a timeline that were paid for until it is complete: an interrupted fetch does not pay twice.

The cache is a private file (mode 0600) of JSON lines for each account, kept for a day: X charges a post only once within that time, and
posts that are deleted on X must soon be deleted here. The first line is the account, each other line a page.

Where the installation has a bucket (MYNAH_S3_BUCKET), a copy is kept there: a pod's disk disappears with it, and the next attempt runs
in another pod. The copy is optional: when S3 fails, a warning is printed and the fetch continues.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.fetch import untrusted_json
from mynah.core.caches import cache_folder
from mynah.core.errors import MynahError, PlatformError
from mynah.core.files import make_folder, set_mode, storage_errors
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_S3_BUCKET
from mynah.data.authors import author_key
from mynah.storage.s3 import S3ArtifactStore, erase_upload, erase_version, s3_client, s3_errors

SECONDS_KEPT = 86_400
FOLDER = "x-pages"  # in the cache folder, and in the bucket
FINISHED = {"finished": True}  # the last line of a complete timeline
NAME = "pages.jsonl"  # of the copy in S3
SINCE = "mynah_kept_since"  # in the first line: the Unix time at which it was written


def pages_folder() -> Path:
    """Return the folder of kept pages. Raises PlatformError where no cache folder is known."""
    return cache_folder(FOLDER)


def pages_file(author: str) -> Path:
    """Return the cache file of `author`, whether it exists or not; `mynah forget` erases it."""
    return pages_folder() / f"{_key(author)}.jsonl"


def pages_copy_uri(author: str) -> str:
    """Return the URI of its copy, s3://BUCKET/x-pages/…, whether it exists or not; "" without a bucket."""
    bucket = MYNAH_S3_BUCKET.get()
    return f"s3://{bucket}/{FOLDER}/{_key(author)}" if bucket else ""


def _key(author: str) -> str:
    return hashlib.sha256(author_key(author).encode()).hexdigest()[:32]


class PageCache:
    """The cached pages of one account. Read and write them only within `locked`."""

    def __init__(self, handle: str) -> None:
        self._handle, self._path, self._copy = handle, pages_file(handle), _S3Copy(pages_copy_uri(handle))
        self.account: dict[str, Any] = {}  # X's user object; empty where nothing is cached
        self.posts: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the account against other fetches, and read its cache. Raises PlatformError while another fetch holds the lock."""
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
                self._copy.download(self._path)
                self._drop_old()
            self._read()
            yield
        finally:
            path.unlink(missing_ok=True)
            lock.release()

    def begin(self, account: dict[str, Any]) -> None:
        """Start the cache with the account itself."""
        self.account = {**account, SINCE: time.time()}
        self._add(self.account)

    def add(self, posts: list[dict[str, Any]]) -> None:
        """Append a page."""
        if posts:
            self.posts += posts
            self._add(posts)

    def finish(self) -> None:
        """Mark the timeline as complete: its pages may be removed once its posts are written elsewhere."""
        self._add(FINISHED)

    def remove_finished(self) -> None:
        """Remove the cache of a complete timeline, unless another fetch holds it."""
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
        self._copy.upload(self._path)

    def _read(self) -> None:
        """Read the file up to its first incomplete line, and truncate it there: a kill may have cut the last line."""
        self.account, self.posts = {}, []
        length = 0
        with storage_errors(self._path), contextlib.suppress(FileNotFoundError), self._path.open("r+b") as file:
            for line in file:
                value = _value(line)
                if isinstance(value, dict) and not length and value:
                    self.account = value
                elif isinstance(value, list) and length:
                    self.posts += untrusted_json.records(value)
                else:
                    break
                length += len(line)
            file.truncate(length)

    def _drop_old(self) -> None:
        """Remove the caches of any account that were begun more than a day ago. The first line's age decides, as pages are only appended."""
        for path in self._path.parent.glob("*.jsonl"):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                since = untrusted_json.record(_value(file.readline())).get(SINCE)
                if not isinstance(since, float) or not 0 <= time.time() - since < SECONDS_KEPT:
                    path.unlink()


class _S3Copy:
    """A copy of the file in S3 at `address` ("" for none). When S3 fails, a warning is printed, and copying stops."""

    def __init__(self, address: str) -> None:
        self._address, self._is_on = address, bool(address)

    @contextlib.contextmanager
    def _store(self) -> Iterator[S3ArtifactStore]:
        bucket, _, prefix = self._address.removeprefix("s3://").partition("/")
        try:
            yield S3ArtifactStore(bucket, prefix)
        except (MynahError, ImportError) as error:  # also where boto3 is not installed
            reason = error.problem if isinstance(error, MynahError) else error
            notify(f"pages of X are cached only on this machine, and maybe at {self._address}: {reason}", "warning")
            self._is_on = False

    def download(self, path: Path) -> None:
        """Download the copy to `path` unless a file exists there, and erase the copies of any account that are older than a day."""
        if self._is_on and not path.exists():
            with self._store() as store:
                _erase_old(store.bucket)
                if NAME in store.files():
                    store.get(NAME, path)
                    set_mode(path, 0o600)

    def upload(self, path: Path) -> None:
        """Replace the copy with the file at `path`."""
        if self._is_on:
            with self._store() as store:
                store.put(NAME, path)

    def remove(self) -> None:
        """Erase the copy with its older versions, which a bucket may keep, and its interrupted uploads."""
        if self._address:
            with self._store() as store:
                for version in store.versions():
                    erase_version(version)
                for upload in store.uploads():
                    erase_upload(upload)


def _erase_old(bucket: str) -> None:
    client, oldest = s3_client(), datetime.now(UTC) - timedelta(seconds=SECONDS_KEPT)
    with s3_errors(f"looking for old pages in s3://{bucket}/{FOLDER}"):
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{FOLDER}/"):
            for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                if item["LastModified"] < oldest:
                    client.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])


def _value(line: bytes) -> Any:  # noqa: ANN401 - JSON is any of its types
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
