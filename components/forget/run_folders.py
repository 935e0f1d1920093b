"""Find the runs of a subject in Mynah's bucket, where all files of a cluster run lie below runs/ID/ (mynah/storage/run_files.py).

The bucket itself is searched, with every object version: a run that never started has recorded nothing in MLflow.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from components.fetch.sources import parse_source
from components.forget.subject import Subject
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.authors import same_author
from mynah.data.posts import POSTS_FILE
from mynah.data.source_records import SOURCES_FILE, parse_sources
from mynah.maintenance.erasers import ErasableItem, s3_item
from mynah.storage.run_files import ID, ROOT, SPEC_FILE, RunFiles
from mynah.storage.s3 import ObjectVersion, S3ArtifactStore, Upload, s3_client, s3_errors
from mynah.tracking.kfp_runs import is_kfp_run

WORKERS = 16  # requests at once


@dataclass(slots=True)
class RunFolder:
    """All that is stored of one bot and submission, and what its specification says."""

    files: RunFiles
    stored: list[ObjectVersion | Upload] = field(default_factory=list)
    bot: str = ""  # "" where no specification can be read
    sources: tuple[str, ...] = ()

    @property
    def kfp_runs(self) -> set[str]:
        """The ids of the Kubeflow runs that wrote into it."""
        return {name for each in self.stored if is_kfp_run(name := each.key.split("/")[2])}

    def items(self) -> Iterator[ErasableItem]:
        """Yield all that is stored, and the specification last: it says whose the rest is."""
        specification = f"{self.files.prefix}/{SPEC_FILE}"
        for each in sorted(self.stored, key=lambda each: each.key == specification):
            yield s3_item(each)

    def objects(self, name: str) -> dict[str, list[ObjectVersion]]:
        """Return the stored versions of the files of one name, the newest first, by their folders."""
        found: dict[str, list[ObjectVersion]] = {}
        for each in self.stored:
            folder, _, last = each.key.rpartition("/")
            if isinstance(each, ObjectVersion) and not each.is_marker and last == name:
                found.setdefault(folder, []).append(each)
        return found


def read_run_folders(bucket: str) -> list[RunFolder]:
    """Return every run in a bucket, with its specification; none for "". Raises PlatformError when S3 fails or refuses."""
    if not bucket:
        return []
    store, folders = S3ArtifactStore(bucket, ROOT), dict[str, RunFolder]()
    stored: list[ObjectVersion | Upload] = [*store.versions(), *store.uploads()]
    for each in stored:
        run_id = each.key.split("/")[1]
        if ID.fullmatch(run_id) and each.key.count("/") > 1:
            folders.setdefault(run_id, RunFolder(RunFiles(bucket, run_id))).stored.append(each)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(_read_specification, folders.values()))
    return list(folders.values())


def _read_specification(folder: RunFolder) -> None:
    for version in folder.objects(SPEC_FILE).get(folder.files.prefix, ()):
        try:
            record = json.loads(_body(version))
            folder.bot, folder.sources = str(record["name"]), tuple(map(str, record["sources"]))
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # an older version may be whole


def folders_of_subject(subject: Subject, folders: Sequence[RunFolder], bots_of_runs: Mapping[str, set[str]]) -> list[RunFolder]:
    """Return the runs that are a subject's.

    Args:
        subject: The author or bot.
        folders: All runs in the bucket.
        bots_of_runs: The bots of the subject's runs in MLflow, by the id of the Kubeflow run.

    Raises:
        PlatformError: S3 fails or refuses.
    """
    if not subject.is_author:
        return [folder for folder in folders if folder.bot == subject.name]

    def is_of_author(folder: RunFolder) -> bool:
        known = any(folder.bot in bots_of_runs.get(kfp_run, ()) for kfp_run in folder.kfp_runs)
        return known or names_account(folder.sources, subject.name) or subject_in_posts(folder, subject.name)

    with ThreadPoolExecutor(WORKERS) as pool:
        return [folder for folder, is_theirs in zip(folders, pool.map(is_of_author, folders), strict=True) if is_theirs]


def names_account(sources: Iterable[object], author: str) -> bool:
    """Return whether one of some sources, such as x://ann, is an author's account."""
    for source in sources:
        try:
            parsed = parse_source(str(source))
        except InputError:
            continue
        if parsed.is_account and same_author(author_name(parsed.address), author):
            return True
    return False


def subject_in_posts(folder: RunFolder, author: str) -> bool:
    """Return whether the records of sources in a run name an author, or its posts where such a record is missing or damaged."""
    records, posts = folder.objects(SOURCES_FILE), folder.objects(POSTS_FILE)
    for place in records.keys() | posts.keys():
        names: set[str] = set()
        is_recorded = False
        for version in records.get(place, ()):
            try:
                sources = parse_sources(_body(version).decode(), Path(version.key))
            except (InputError, ValueError):  # ValueError: not UTF-8
                continue
            is_recorded = True
            names.update(name for source in sources for name in source.authors)
        if not is_recorded:
            names.update(name for version in posts.get(place, ()) for name in _authors_of_posts(version))
        if any(same_author(name, author) for name in names):
            return True
    return False


def _authors_of_posts(version: ObjectVersion) -> Iterator[str]:
    for line in _body(version).split(b"\n"):
        try:
            yield str(json.loads(line)["author"])
        except (ValueError, TypeError, KeyError, RecursionError):
            continue


def _body(version: ObjectVersion) -> bytes:
    """Return the content of an object; none where it was removed meanwhile, as a run does that ends."""
    from botocore.exceptions import ClientError

    with s3_errors(f"reading s3://{version.bucket}/{version.key}"):
        try:
            found = s3_client().get_object(Bucket=version.bucket, Key=version.key, VersionId=version.version)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "NoSuchVersion"):
                return b""
            raise
        return bytes(found["Body"].read())
