"""What `mynah submit` uploaded for a cluster: found by itself, for a run that never began has told MLflow nothing of it."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from components.artifact_s3 import S3Place
from components.errors import InputError
from components.fetch.sources import SOURCES_FILE
from components.lineage import same_author
from components.posts import POSTS_FILE

FOLDER = "uploads"  # in the bucket: uploads/BOT/DIGEST/


def bucket_of_uploads() -> str:
    """The bucket that submit uploads into, as MYNAH_S3_BUCKET names it; "" where nothing does."""
    return os.environ.get("MYNAH_S3_BUCKET", "")


def uploads_of_bot(name: str) -> list[str]:
    """The address of a bot's uploads. Raises PlatformError when S3 cannot be asked."""
    bucket = bucket_of_uploads()
    return [f"s3://{bucket}/{FOLDER}/{name}"] if bucket else []


def uploads_of_author(author: str) -> Iterator[str]:
    """The addresses of the uploads that hold posts of an author. Raises PlatformError when S3 cannot be asked."""
    bucket = bucket_of_uploads()
    if not bucket:
        return
    found: dict[str, list[str]] = {}
    for name in S3Place(bucket, FOLDER).files():
        folder, _, file = name.rpartition("/")
        found.setdefault(folder, []).append(file)
    for folder, files in found.items():
        if folder and _is_of(author, S3Place(bucket, f"{FOLDER}/{folder}"), files):
            yield f"s3://{bucket}/{FOLDER}/{folder}"


def _is_of(author: str, place: S3Place, files: list[str]) -> bool:
    """Whether the author is among those of an upload, by its sources; where these are missing or damaged, by its posts."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "file"
        try:
            place.get(SOURCES_FILE, target)
            sources = json.loads(target.read_text("utf-8"))
            names = [name for source in sources for name in str(source["author"]).split(", ")]
        except (InputError, ValueError, TypeError, KeyError, RecursionError):
            names = list(_authors_of_posts(place, target)) if POSTS_FILE in files else []
    return any(same_author(name, author) for name in names)


def _authors_of_posts(place: S3Place, target: Path) -> Iterator[str]:
    place.get(POSTS_FILE, target)
    with target.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield str(json.loads(line)["author"])
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
