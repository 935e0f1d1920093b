"""Sources in S3: downloaded to this machine for as long as they are read.

s3://BUCKET/KEY is a file (an export, a table); with a last slash, a folder that `mynah fetch` wrote, which is how
`mynah submit` brings a person's posts to a cluster.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.avatars import MOST_BYTES, avatar_names
from components.errors import InputError, StoreRefused
from components.events import waiting
from components.fetch.sources import S3, SOURCES_FILE, Source, parse_s3
from components.files import read_json, require_space
from components.posts import POSTS_FILE
from components.tracking import StepRun

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from components.artifact_s3 import S3Place

UPLOAD = re.compile(r"s3://[^/]+/uploads/[a-z0-9-]+/[0-9a-f]{64}/")  # what `mynah submit` uploads: the bot's name, and a digest
WRONG_REGION = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
UPLOADS_TAG = "mynah.uploads"  # of a run: the uploads that it read, as a JSON list, for `mynah forget`


@contextlib.contextmanager
def downloaded(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Yield `sources` with the path of each in S3 leading to a file or folder that holds the same, and is gone after the block.

    Raises InputError where nothing lies at an address; PlatformError when S3 fails or refuses.
    """
    if not any(source.address.startswith(S3) for source in sources):
        yield list(sources)
        return
    with tempfile.TemporaryDirectory(prefix="mynah-s3-") as scratch:
        yield [
            replace(source, path=_download(source.address, Path(scratch) / str(number)))
            if source.address.startswith(S3)
            else source
            for number, source in enumerate(sources)
        ]


def _download(uri: str, folder: Path) -> Path:
    """The file or folder at `uri`, below `folder`, under its own name."""
    from components.artifact_s3 import S3Place

    bucket, key = parse_s3(uri)
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
    """Bytes of an object. Raises InputError when there is none, no such bucket, or the key that one has may not read it.

    S3 answers a HEAD without a body, hence without a code: a listing tells what a bare 404, 403 or 400 means.
    """
    from botocore.exceptions import ClientError

    from components.artifact_s3 import s3_client, s3_errors

    where = f"s3://{bucket}/{key}"
    with s3_errors(f"looking for {where}"):
        try:
            return int(s3_client().head_object(Bucket=bucket, Key=key)["ContentLength"])
        except ClientError as error:
            refused = _refusal(bucket, key, error)
            if refused == "NoSuchKey":
                fix = "Name a file, or with a last slash a folder that `mynah fetch` wrote."
                raise InputError(f"there is no {where}", fix) from error
            if refused == "NoSuchBucket":
                raise InputError(f"{where}: there is no bucket {bucket!r}", "Check its name, and AWS_ENDPOINT_URL_S3.") from error
            if refused in WRONG_REGION:
                fix = f"Set AWS_DEFAULT_REGION to {_region(error) or 'the region it is in'}."
                raise InputError(f"{where}: the bucket is in another region ({refused})", fix) from error
            if refused in ("403", "AccessDenied"):
                fix = "Give the key s3:GetObject there (and s3:ListBucket, by which a missing file is told from a forbidden one)."
                raise StoreRefused(f"{where}: this key may not read it ({refused})", fix) from error
            raise


def _refusal(bucket: str, key: str, error: "ClientError") -> str:
    """The code of what S3 answered to a HEAD; where it has none, that of a listing, which has a body."""
    from botocore.exceptions import ClientError

    from components.artifact_s3 import s3_client

    code = str(error.response.get("Error", {}).get("Code", ""))
    if code not in ("400", "403", "404"):
        return code
    try:
        s3_client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    except ClientError as second:
        told = str(second.response.get("Error", {}).get("Code", ""))
        if told in ("SignatureDoesNotMatch", "InvalidAccessKeyId"):
            raise  # which key is wrong says more than that a HEAD was refused
        # Whoever may not list a bucket may read a file of it; then a HEAD's 404 or 403 is all that S3 says.
        return "NoSuchKey" if (code, told) == ("404", "AccessDenied") else told
    return "NoSuchKey" if code == "404" else code


def _region(error: "ClientError") -> str:
    """Where S3 says that the bucket is."""
    return str(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))


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
