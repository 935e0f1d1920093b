"""Find what `mynah submit` uploaded for a cluster, in the bucket itself: a run that never started has recorded nothing in MLflow."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.settings import MYNAH_S3_BUCKET
from mynah.data.authors import same_author
from mynah.data.posts import POSTS_FILE
from mynah.data.source_records import SOURCES_FILE, parse_sources
from mynah.storage.s3 import S3ArtifactStore

FOLDER = "uploads"  # in the bucket: uploads/BOT/DIGEST/


def bucket_of_uploads() -> str:
    """Return the bucket that submit uploads to, from MYNAH_S3_BUCKET; "" where it is not set."""
    return MYNAH_S3_BUCKET.get()


def uploads_of_bot(name: str) -> list[str]:
    """Return the address of a bot's uploads; none without a bucket."""
    bucket = bucket_of_uploads()
    return [f"s3://{bucket}/{FOLDER}/{name}"] if bucket else []


def uploads_of_author(author: str) -> Iterator[str]:
    """Yield the addresses of uploads with posts of an author. Raises PlatformError when S3 fails."""
    bucket = bucket_of_uploads()
    if not bucket:
        return
    by_folder: dict[str, list[str]] = {}
    for name in S3ArtifactStore(bucket, FOLDER).files():
        folder, _, file = name.rpartition("/")
        by_folder.setdefault(folder, []).append(file)
    for folder, files in by_folder.items():
        if folder and _is_of(author, S3ArtifactStore(bucket, f"{FOLDER}/{folder}"), files):
            yield f"s3://{bucket}/{FOLDER}/{folder}"


def _is_of(author: str, store: S3ArtifactStore, files: list[str]) -> bool:
    """Return whether an upload contains the author, by its sources, or by its posts where these are missing or damaged."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "file"
        try:
            store.get(SOURCES_FILE, target)
            sources = parse_sources(target.read_text("utf-8"), target.with_name(SOURCES_FILE))
            names = [name for source in sources for name in source.authors]
        except (InputError, ValueError):  # ValueError: not UTF-8
            names = list(_authors_of_posts(store, target)) if POSTS_FILE in files else []
    return any(same_author(name, author) for name in names)


def _authors_of_posts(store: S3ArtifactStore, target: Path) -> Iterator[str]:
    store.get(POSTS_FILE, target)
    with target.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield str(json.loads(line)["author"])
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
