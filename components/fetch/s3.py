"""Sources in S3: downloaded to this machine for as long as they are read.

s3://BUCKET/KEY is a file (an export, a CSV or JSONL table); with a last slash, a folder that `mynah fetch` wrote, which is how
`mynah submit` brings a person's posts to a cluster.
"""

import contextlib
import json
import re
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.avatars import MOST_BYTES, avatar_names
from components.errors import InputError
from components.events import waiting
from components.fetch.sources import SOURCES_FILE
from components.files import read_json, require_space
from components.names import is_unicode
from components.posts import POSTS_FILE
from components.tracking import StepRun

if TYPE_CHECKING:
    from components.artifact_s3 import S3Place

SCHEME = "s3://"
UPLOAD = re.compile(r"s3://[^/]+/uploads/[a-z0-9-]+/[0-9a-f]{64}/")  # what `mynah submit` uploads: the bot's name, and a digest
UPLOADS_TAG = "mynah.uploads"  # of a run: the uploads that it read, as a JSON list, for `mynah forget`


@contextlib.contextmanager
def downloaded(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield `names` with each s3:// address replaced by a file or folder that holds the same, and is gone after the block.

    Raises InputError for an address without a bucket or key, or where nothing lies; PlatformError when S3 fails or refuses.
    """
    if not any(name.startswith(SCHEME) for name in names):
        yield list(names)
        return
    with tempfile.TemporaryDirectory(prefix="mynah-s3-") as scratch:
        yield [
            str(_download(name, Path(scratch) / str(number))) if name.startswith(SCHEME) else name
            for number, name in enumerate(names)
        ]


def _download(uri: str, folder: Path) -> Path:
    """The file or folder at `uri`, below `folder`, under its own name."""
    from components.artifact_s3 import S3Place

    bucket, key = parse(uri)
    prefix, _, name = key.rpartition("/")
    wanted = [name] if name else [POSTS_FILE, SOURCES_FILE]
    target = folder / (prefix.rpartition("/")[2] or bucket)
    target.mkdir(parents=True)
    require_space(target, sum(_size(bucket, f"{prefix}/{each}".lstrip("/")) for each in wanted), uri)
    with waiting(f"Downloading {uri}"):
        for each in wanted:
            S3Place(bucket, prefix).get(each, target / each)
        if not name:
            _download_avatars(S3Place(bucket, prefix), target)
    return target / name


def _download_avatars(place: "S3Place", folder: Path) -> None:
    """The profile pictures that the sources.json in `folder` names, as far as they are there."""
    there = place.files()
    for name in avatar_names(read_json(folder / SOURCES_FILE, "fetch")):
        if name in there and there[name].size <= MOST_BYTES:
            place.get(name, folder / name)


def _size(bucket: str, key: str) -> int:
    """Bytes of an object. Raises InputError when there is none."""
    from botocore.exceptions import ClientError

    from components.artifact_s3 import s3_client, s3_errors

    with s3_errors(f"looking for s3://{bucket}/{key}"):
        try:
            return int(s3_client().head_object(Bucket=bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("404", "NoSuchKey"):
                raise
            fix = "Name a file, or with a last slash a folder that `mynah fetch` wrote."
            raise InputError(f"there is no s3://{bucket}/{key}", fix) from error


def parse(uri: str) -> tuple[str, str]:
    """Bucket and key of s3://BUCKET/KEY. Raises InputError when one is missing."""
    address = urllib.parse.urlsplit(uri)
    key = uri.removeprefix(f"{SCHEME}{address.netloc}/")
    if not address.netloc or key in ("", uri) or not is_unicode(uri):
        raise InputError(f"{uri[:200]!r} names no object", "Write s3://BUCKET/KEY.")
    return address.netloc, key


def record_uploads(run: StepRun, names: Sequence[str]) -> None:
    """Record which of `names` were uploaded by `mynah submit`: before they are read, so that `mynah forget` finds them."""
    uploads = [name for name in names if UPLOAD.fullmatch(name)]
    if uploads:
        run.tags_now({UPLOADS_TAG: json.dumps(uploads)})


def uploads_of(text: str) -> list[str]:
    """The uploads that a tag names, and nothing else: anybody can write tags, and what they name is erased."""
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return [each for each in found if isinstance(each, str) and UPLOAD.fullmatch(each)] if isinstance(found, list) else []
