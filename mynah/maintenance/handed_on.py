"""Find what cluster runs left in Mynah's bucket: what their steps handed on, and their logs, below runs/ID/KFP_RUN_ID/.

A run that ended well removes what it handed on, except its logs; that of a failed run stays for a retry.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from mynah.core.errors import InputError
from mynah.core.settings import MYNAH_S3_BUCKET
from mynah.storage.run_files import ID, ROOT, SPEC_FILE, RunFiles
from mynah.storage.s3 import S3ArtifactStore, erase_upload, s3_client, s3_errors
from mynah.tracking.kfp_runs import is_kfp_run

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class HandedOn:
    """The files of one Kubeflow run of one bot."""

    files: RunFiles
    kfp_run: str
    changed: datetime = NEVER  # of its newest file

    @property
    def address(self) -> str:
        """The address below which they lie."""
        return self.files.of(self.kfp_run)

    def bot(self) -> str:
        """Read the bot's name; "" where the specification is missing or damaged. Raises PlatformError when S3 fails."""
        return bot_of(self.files)

    def remove(self) -> None:
        """Remove the files; older versions of objects stay, for `mynah forget`."""
        store = S3ArtifactStore(self.files.bucket, f"{self.files.prefix}/{self.kfp_run}")
        store.remove()
        for upload in store.uploads():
            erase_upload(upload)


def find_handed_on() -> Iterator[HandedOn]:
    """Yield the files of every run on a cluster; none without MYNAH_S3_BUCKET. Raises PlatformError when S3 fails."""
    bucket, found = MYNAH_S3_BUCKET.get(), dict[tuple[str, str], HandedOn]()
    for run_id, kfp_run, changed in stored_runs(bucket):
        if ID.fullmatch(run_id) and is_kfp_run(kfp_run):
            each = found.setdefault((run_id, kfp_run), HandedOn(RunFiles(bucket, run_id), kfp_run))
            each.changed = max(each.changed, changed)
    yield from found.values()


def stored_runs(bucket: str) -> Iterator[tuple[str, str, datetime]]:
    """Yield each object and unfinished upload below runs/ of a bucket, by the two names after runs/ and its time; none for "".

    Raises PlatformError when S3 fails.
    """
    if not bucket:
        return
    with s3_errors(f"looking for runs in s3://{bucket}/{ROOT}"):
        for kind, field, time in (
            ("list_objects_v2", "Contents", "LastModified"),
            ("list_multipart_uploads", "Uploads", "Initiated"),
        ):
            for page in s3_client().get_paginator(kind).paginate(Bucket=bucket, Prefix=f"{ROOT}/"):
                for item in page.get(field, []):
                    _, run_id, part, *_ = f"{item['Key']}//".split("/")
                    yield run_id, part, item[time]


def bot_of(files: RunFiles) -> str:
    """Read the bot's name from a run's specification; "" where it is missing or damaged. Raises PlatformError when S3 fails."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / SPEC_FILE
        try:
            S3ArtifactStore(files.bucket, files.prefix).get(SPEC_FILE, path)
            return str(json.loads(path.read_bytes())["name"])
        except (InputError, ValueError, KeyError, TypeError, RecursionError):
            return ""
