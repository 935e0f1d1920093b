"""Sources in S3: downloaded to this machine for as long as they are read.

s3://BUCKET/KEY is a file (an export, a table); with a last slash, a folder that `mynah fetch` wrote, which is how
`mynah submit` brings a person's posts to a cluster.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.avatars import MOST_BYTES, avatar_names
from components.errors import InputError, PlatformError, StoreRefused
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
PASSING = {  # codes of keys that were good, or will be
    "ExpiredToken": "Get a new AWS_SESSION_TOKEN, with its two keys.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
}
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
    with s3_errors(f"looking for {where}"), _way_in_errors(where):
        try:
            length = s3_client().head_object(Bucket=bucket, Key=key).get("ContentLength")
        except ClientError as error:
            raise _refused(where, *_cause(bucket, key, error)) from error
    if not isinstance(length, int):
        raise PlatformError(f"{where}: what answers there is no S3: it tells no length", "Check AWS_ENDPOINT_URL_S3.")
    return length


@contextlib.contextmanager
def _way_in_errors(where: str) -> Iterator[None]:
    """What stops a request before it is sent, each with its own fix; a login in the endpoint would stand in every message."""
    from botocore.exceptions import CredentialRetrievalError, InvalidRegionError, PartialCredentialsError, ProfileNotFound

    from components.artifact_s3 import CREDENTIALS

    if "@" in os.environ.get("AWS_ENDPOINT_URL_S3", ""):
        raise InputError(f"{where}: AWS_ENDPOINT_URL_S3 holds a login, which S3 does not take", f"Remove it. {CREDENTIALS}")
    try:
        yield
    except (CredentialRetrievalError, PartialCredentialsError, ProfileNotFound) as error:
        raise StoreRefused(f"{where}: the credentials for S3 cannot be had: {error}", CREDENTIALS) from error
    except RecursionError as error:  # boto3 asks where the bucket is, is sent on again, and asks again
        fix = "Set AWS_DEFAULT_REGION to the region it is in."
        raise InputError(f"{where}: the bucket is in another region, and S3 does not say in which", fix) from error
    except InvalidRegionError as error:
        raise StoreRefused(f"{where}: {error}", "Set AWS_DEFAULT_REGION, such as eu-central-1.") from error


def _cause(bucket: str, key: str, error: "ClientError") -> tuple[str, "ClientError"]:
    """The code of what S3 answered to a HEAD; where it has none, that of a listing, which has a body; and which of both says more."""
    from botocore.exceptions import ClientError

    from components.artifact_s3 import s3_client

    code = _code(error)
    if code not in ("400", "403", "404"):
        return code, error
    try:
        s3_client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    except ClientError as second:
        # Whoever may not list a bucket may read a file of it; then a HEAD's 404 or 403 is all that S3 says.
        return ("NoSuchKey", error) if (code, _code(second)) == ("404", "AccessDenied") else (_code(second), second)
    return ("NoSuchKey" if code == "404" else code), error


def _refused(where: str, code: str, error: Exception) -> Exception:
    """What S3's refusal means, as an error with its fix; `error` itself where s3_errors tells it as well."""
    if code == "NoSuchKey":
        return InputError(f"there is no {where}", "Name a file, or with a last slash a folder that `mynah fetch` wrote.")
    if code == "NoSuchBucket":
        return InputError(f"{where}: there is no bucket {where.split('/')[2]!r}", "Check its name, and AWS_ENDPOINT_URL_S3.")
    if code in WRONG_REGION:
        fix = f"Set AWS_DEFAULT_REGION to {_region(error) or 'the region it is in'}."
        return InputError(f"{where}: the bucket is in another region ({code})", fix)
    if code in ("403", "AccessDenied"):
        fix = "Give the key s3:GetObject there (and s3:ListBucket, by which a missing file is told from a forbidden one)."
        return StoreRefused(f"{where}: this key may not read it ({code})", fix)
    if code in PASSING:
        return StoreRefused(f"{where}: S3 refused the key ({code})", PASSING[code])
    return error


def _code(error: "ClientError") -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _region(error: "ClientError") -> str:
    """Where S3 says that the bucket is: in a header, or in the error itself."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = str(headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region") or "")
    return found if re.fullmatch(r"[a-z0-9-]{1,40}", found) else ""


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
