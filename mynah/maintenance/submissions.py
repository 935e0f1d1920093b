"""Remove what submissions to a cluster left in Mynah's bucket: specifications and uploaded posts, below runs/ID/.

They are read by every run of a schedule and by a run that still waits, which only Kubeflow knows: MLflow hears of a run when it begins.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mynah.core.progress import notify
from mynah.core.settings import MYNAH_S3_BUCKET
from mynah.maintenance.handed_on import NEVER, bot_of, stored_runs
from mynah.maintenance.kubeflow_records import SCHEDULE, KubeflowRecord, KubeflowRecords
from mynah.mlflow_client.store import Store
from mynah.storage.run_files import ID, UPLOADS, RunFiles, parse
from mynah.storage.s3 import S3ArtifactStore, erase_upload, erase_version
from mynah.tracking.kfp_runs import is_kfp_run, running_kfp_runs


@dataclass(slots=True)
class Submission:
    """The specification and the posts of one bot and submission."""

    files: RunFiles
    changed: datetime = NEVER  # of the newest file of the submission or of its runs
    kfp_runs: set[str] = field(default_factory=set)  # the Kubeflow runs that still have files

    @property
    def address(self) -> str:
        """The address below which they lie."""
        return self.files.uri

    def bot(self) -> str:
        """Read the bot's name; "" where the specification is missing or damaged. Raises PlatformError when S3 fails."""
        return bot_of(self.files)

    def remove(self) -> None:
        """Remove the posts, then the specification, which tells whose they are; older versions of objects stay, for `mynah forget`."""
        for prefix in (f"{self.files.prefix}/{UPLOADS}", self.files.prefix):
            store = S3ArtifactStore(self.files.bucket, prefix)
            store.remove()
            for upload in store.uploads():
                erase_upload(upload)


def find_submissions() -> list[Submission]:
    """Return every submission in the bucket; none without MYNAH_S3_BUCKET. Raises PlatformError when S3 fails."""
    bucket, found = MYNAH_S3_BUCKET.get(), dict[str, Submission]()
    for run_id, part, changed in stored_runs(bucket):
        if ID.fullmatch(run_id):
            each = found.setdefault(run_id, Submission(RunFiles(bucket, run_id)))
            each.changed = max(each.changed, changed)
            if is_kfp_run(part):
                each.kfp_runs.add(part)
    return list(found.values())


def unused_submissions(store: Store, kubeflow: KubeflowRecords | None, before: datetime) -> Iterator[Submission]:
    """Yield the submissions without a change since a time that no run and no schedule will read again.

    Args:
        store: The tracking store.
        kubeflow: The Kubeflow that they were sent to; without it all are in use, and a warning says so.
        before: The time.

    Raises:
        PlatformError: MLflow, S3 or Kubeflow fails.
    """
    old = [each for each in find_submissions() if each.changed < before]
    if old and not kubeflow:
        about = "a submission" if len(old) == 1 else f"{len(old)} submissions"
        notify(
            f"the specification and posts of {about} stay in the bucket: only Kubeflow knows whether a schedule uses them. "
            "Set KF_PIPELINES_ENDPOINT or --endpoint to remove what nothing uses.",
            "warning",
        )
    if not old or not kubeflow:
        return
    records, running = kubeflow.records(), running_kfp_runs(store)
    used = _ids(record for record in records if record.kind == SCHEDULE or record.is_active)  # also of a paused schedule
    known = _ids(records)
    for each in old:
        # Where Kubeflow lists the runs of one namespace only, a submission that no run names may be another namespace's.
        is_seen = kubeflow.lists_everything or each.files.id in known
        if is_seen and each.files.id not in used and not each.kfp_runs & running:
            yield each


def erase_submission(files: RunFiles) -> None:
    """Erase what was uploaded for a run that was not made, with every version of it. Raises PlatformError when S3 fails or refuses."""
    store = S3ArtifactStore(files.bucket, files.prefix)
    for version in store.versions():
        erase_version(version)
    for upload in store.uploads():
        erase_upload(upload)


def _ids(records: Iterable[KubeflowRecord]) -> set[str]:
    """Return the ids of the submissions that runs and schedules name in their parameters."""
    return {files.id for record in records for text in _texts(record.parameters) if (files := parse(text))}


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | Sequence):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)
