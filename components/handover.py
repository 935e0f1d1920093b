"""What a step hands on to the next: a folder, or the run's specification, by a reference instead of an artifact of Kubeflow.

A reference is `s3://BUCKET/runs/ID/KFP_RUN_ID/NAME#sha256=HEX` on a cluster, where HEX is the digest of the folder's manifest (or of the
specification), and an absolute path on a laptop, where nothing is copied. Kubeflow's own store, database and logs thus hold addresses,
and never a post, a model or a name.
"""

import contextlib
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import make_folder, storage_errors
from mynah.storage.base import sha256, upload, visible_files
from mynah.storage.manifest import Entry, manifest_of
from mynah.storage.run_files import LOGS, parse
from mynah.storage.s3 import S3ArtifactStore

MANIFEST = ".handed-on.json"  # hidden, so that no file that is handed on has its name
DIGEST = "#sha256="
REFERENCE = re.compile(r"s3://([^/#]+)/([^#]+)#sha256=([0-9a-f]{64})")
AGAIN = "Submit the run again, and see what else writes to that bucket."


class Handover:
    """The folders that one step opens and hands on.

    Args:
        home: Where they lie: `s3://BUCKET/runs/ID/KFP_RUN_ID`, or the run's folder on this machine.
        scratch: A folder for copies, which is removed when the step ends.
    """

    def __init__(self, home: str, scratch: Path) -> None:
        self.home, self._scratch = home, scratch

    def open(self, reference: str) -> Path:
        """Return a folder that an earlier step handed on: on a cluster a verified copy.

        Raises:
            PlatformError: A file is missing, was changed or added, has an unsafe name, or S3 fails.
        """
        if not is_remote(reference):
            return Path(reference)
        store, expected = _store(reference)
        entries = _read_manifest(store, expected)
        folder = self._scratch / hashlib.sha256(reference.encode()).hexdigest()[:16] / Path(store.prefix).name
        make_folder(folder)
        _require_same_names(store, entries)
        for name, entry in entries.items():
            _download(store, name, entry, folder / name)
        return folder

    def new(self, name: str) -> Path:
        """Return the folder that a step writes, for `hand_on`; it does not exist, and its parent may not either."""
        return Path(self.home, name) if not is_remote(self.home) else self._scratch / "new" / name

    def hand_on(self, name: str) -> str:
        """Hand on the folder that the step wrote to `new(name)`, and return its reference.

        What an earlier attempt of the step left there is removed first. Raises PlatformError when S3 fails, or does not hold what was sent.
        """
        folder = self.new(name)
        if not is_remote(self.home):
            return str(folder)
        store = S3ArtifactStore(*_bucket_and_key(f"{self.home}/{name}"))
        files = visible_files(folder)
        manifest = self._scratch / f"{name}.json"
        with storage_errors(manifest):
            manifest.write_text(json.dumps(manifest_of(files), ensure_ascii=False), encoding="utf-8")
        store.remove()
        upload(store, {**files, MANIFEST: manifest})
        return f"{store.uri}{DIGEST}{sha256(manifest)}"


@contextlib.contextmanager
def handover(spec: str, kfp_run: str) -> Iterator[Handover]:
    """Yield the hand-over of a step.

    Args:
        spec: The reference of the run's specification, which tells where the run's files lie.
        kfp_run: The id of the Kubeflow run; not used on a laptop.
    """
    with tempfile.TemporaryDirectory(prefix="mynah-step-", ignore_cleanup_errors=True) as scratch:
        yield Handover(home_of(spec, kfp_run), Path(scratch))


def home_of(spec: str, kfp_run: str) -> str:
    """Return where a run's files lie, by the reference of its specification: an address, or a folder of this machine.

    Raises PlatformError for a reference to another place of a bucket: its files would not be found again to be erased.
    """
    if not is_remote(spec):
        return str(Path(spec).parent)
    files = parse(spec)
    if not files or not REFERENCE.fullmatch(spec):
        raise PlatformError(f"{spec[:200]!r} refers to no run's specification", "Submit the run again.")
    return files.of(kfp_run)


def publish_file(address: str, path: Path) -> str:
    """Store one file at an address in S3, verified, and return its reference. Raises PlatformError when S3 fails."""
    bucket, key = _bucket_and_key(address)
    prefix, _, name = key.rpartition("/")
    upload(S3ArtifactStore(bucket, prefix), {name: path})
    return f"{address}{DIGEST}{sha256(path)}"


def read_file(reference: str) -> bytes:
    """Read the file that a reference names.

    Raises:
        InputError: There is none.
        PlatformError: It was changed, or S3 or the disk fails.
    """
    if not is_remote(reference):
        try:
            return Path(reference).read_bytes()
        except OSError as error:
            raise InputError(f"{reference} cannot be read: {error.strerror}", "Start the run again.") from error
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise PlatformError(f"{reference[:200]!r} is no reference of this version", "Submit the run again.")
    prefix, _, name = match[2].rpartition("/")
    with tempfile.TemporaryDirectory(prefix="mynah-step-") as scratch:
        _download(S3ArtifactStore(match[1], prefix), name, Entry(-1, match[3]), path := Path(scratch) / "file")
        return path.read_bytes()


def remove_handed_on(spec: str, kfp_run: str) -> None:
    """Remove what the steps of a run on a cluster handed on; its specification and logs stay. Raises PlatformError when S3 fails."""
    if not is_remote(spec):
        return
    store = S3ArtifactStore(*_bucket_and_key(home_of(spec, kfp_run)))
    for name in sorted({name.split("/")[0] for name in store.files()} - {LOGS}):
        S3ArtifactStore(store.bucket, store.prefix + name).remove()


def is_remote(reference: str) -> bool:
    """Return whether a reference or an address is one in S3."""
    return reference.startswith("s3://")


def _store(reference: str) -> tuple[S3ArtifactStore, str]:
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise PlatformError(f"{reference[:200]!r} is no reference of this version", "Submit the run again.")
    return S3ArtifactStore(match[1], match[2]), match[3]


def _bucket_and_key(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def _read_manifest(store: S3ArtifactStore, expected: str) -> dict[str, Entry]:
    """Read a folder's manifest, whose digest its reference holds. Raises PlatformError for any other."""
    with tempfile.TemporaryDirectory(prefix="mynah-step-") as scratch:
        _download(store, MANIFEST, Entry(-1, expected), path := Path(scratch) / "manifest")
        try:
            record = json.loads(path.read_bytes())
            entries = {str(name): Entry(int(each["size"]), str(each["sha256"])) for name, each in record["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PlatformError(f"{store.uri}/{MANIFEST} is no manifest ({error})", AGAIN) from error
    for name in entries:
        _require_safe(store, name)
    return entries


def _require_safe(store: S3ArtifactStore, name: str) -> None:
    """Raise PlatformError for a name that is no relative path below a folder: anybody may write to a bucket."""
    parts = name.split("/")
    if (
        name in ("", ".")
        or name != PurePosixPath(name).as_posix()
        or name.startswith("/")
        or ".." in parts
        or {"\\", "\0"} & set(name)
    ):
        raise PlatformError(f"{store.uri} holds {name[:80]!r}, which is no safe file name", AGAIN)


def _require_same_names(store: S3ArtifactStore, entries: Mapping[str, Entry]) -> None:
    """Raise PlatformError when a folder holds more or less than its manifest lists."""
    stored = store.files()
    if added := next((name for name in stored if name not in entries and name != MANIFEST), ""):
        _require_safe(store, added)
        raise PlatformError(f"{store.uri}/{added} was added after the folder was handed on", AGAIN)
    if missing := next((name for name in entries if name not in stored), ""):
        raise PlatformError(f"{store.uri}/{missing} is missing", AGAIN)


def _download(store: S3ArtifactStore, name: str, entry: Entry, path: Path) -> None:
    """Download a file and verify it; a size of -1 is any."""
    make_folder(path.parent)
    try:
        store.get(name, path)
    except InputError as error:
        raise PlatformError(f"{store.uri}/{name} is missing", AGAIN) from error
    if entry.size not in (-1, path.stat().st_size) or sha256(path) != entry.sha256:
        raise PlatformError(f"{store.uri}/{name} was changed after it was handed on: its digest is another one", AGAIN)
