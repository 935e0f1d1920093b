"""Download sources in S3 to this machine for as long as they are read.

s3://BUCKET/KEY is a file (an export, a table); with a trailing slash, a folder that `mynah fetch` wrote, which is how
`mynah submit` brings a person's posts to a cluster. Only functions import botocore, which is of the extra `tracking`.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.fetch.sources import S3, Source, parse_s3
from mynah.core.errors import InputError, PlatformError, StoreRefused
from mynah.core.files import require_space
from mynah.core.progress import waiting
from mynah.core.settings import AWS_ENDPOINT_URL_S3
from mynah.data.avatars import MAX_BYTES
from mynah.data.posts import POSTS_FILE
from mynah.data.source_records import SOURCES_FILE, avatar_names, read_sources
from mynah.storage.s3 import CREDENTIALS, S3ArtifactStore, s3_client, s3_errors
from mynah.tracking.step_run import StepRun

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# An upload of `mynah submit`; earlier versions named it by bot and digest.
UPLOAD = re.compile(r"s3://[^/]+/(?:runs/[0-9a-f]{16}/uploads|uploads/[a-z0-9-]+/[0-9a-f]{64})/")
WRONG_REGION = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
TEMPORARY_CODES = {  # error codes of keys that were valid, or will be
    "ExpiredToken": "Get a new AWS_SESSION_TOKEN, with its two keys.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
}
UPLOADS_TAG = "mynah.uploads"  # on a run: the uploads that it read, as a JSON list, for `mynah forget`


@contextlib.contextmanager
def download_sources(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Yield `sources` with a local path for each one in S3, which exists only within the block.

    Raises InputError where nothing exists at an address; PlatformError when S3 fails or refuses.
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
    """Download the file or folder at `uri` into `folder`, under its own name, and return its path."""
    bucket, key = parse_s3(uri)
    prefix, _, name = key.rpartition("/")
    names = [name] if name else [POSTS_FILE, SOURCES_FILE]
    target = folder / (prefix.rpartition("/")[2] or bucket)
    target.mkdir(parents=True)
    require_space(target, sum(_size(bucket, f"{prefix}/{file_name}".lstrip("/")) for file_name in names), uri)
    with waiting(f"Downloading {uri}"):
        for file_name in names:
            S3ArtifactStore(bucket, prefix).get(file_name, target / file_name)
        if not name:
            _download_avatars(S3ArtifactStore(bucket, prefix), target)
    return target / name


def _download_avatars(store: S3ArtifactStore, folder: Path) -> None:
    """Download the profile pictures that sources.json in `folder` names, as far as they exist."""
    files = store.files()
    for name in avatar_names(read_sources(folder)):
        if name in files and files[name].size <= MAX_BYTES:
            store.get(name, folder / name)


def _size(bucket: str, key: str) -> int:
    """Return the bytes of an object. Raises InputError for a missing object or bucket, and for a key that may not read it.

    S3 answers a HEAD without a body, hence without an error code: a listing shows what a bare 404, 403 or 400 means.
    """
    from botocore.exceptions import ClientError

    where = f"s3://{bucket}/{key}"
    with s3_errors(f"looking for {where}"), _access_errors(where):
        try:
            length = s3_client().head_object(Bucket=bucket, Key=key).get("ContentLength")
        except ClientError as error:
            raise _error_of(where, *_cause(bucket, key, error)) from error
    if not isinstance(length, int):
        raise PlatformError(f"{where}: the endpoint is not S3: its response has no length", "Check AWS_ENDPOINT_URL_S3.")
    return length


@contextlib.contextmanager
def _access_errors(where: str) -> Iterator[None]:
    """Convert failures before a request is sent, each with its own fix. A login in the endpoint is refused: every message would show it."""
    from botocore.exceptions import CredentialRetrievalError, InvalidRegionError, PartialCredentialsError, ProfileNotFound

    if "@" in AWS_ENDPOINT_URL_S3.get():
        raise InputError(f"{where}: AWS_ENDPOINT_URL_S3 contains a login, which S3 does not accept", f"Remove it. {CREDENTIALS}")
    try:
        yield
    except (CredentialRetrievalError, PartialCredentialsError, ProfileNotFound) as error:
        raise StoreRefused(f"{where}: cannot load the credentials for S3: {error}", CREDENTIALS) from error
    except RecursionError as error:  # boto3 asks for the bucket's region and is redirected, without end
        fix = "Set AWS_DEFAULT_REGION to the region it is in."
        raise InputError(f"{where}: the bucket is in another region, and S3 does not say in which", fix) from error
    except InvalidRegionError as error:
        raise StoreRefused(f"{where}: {error}", "Set AWS_DEFAULT_REGION, such as eu-central-1.") from error


def _cause(bucket: str, key: str, error: "ClientError") -> tuple[str, "ClientError"]:
    """Return the error code of a failed HEAD, and the more specific error.

    Where the HEAD's own code is ambiguous, a listing's response has a body with a specific one.
    """
    from botocore.exceptions import ClientError

    code = _code(error)
    if code not in ("400", "403", "404"):
        return code, error
    try:
        s3_client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    except ClientError as second:
        # A key may be allowed to read a file but not to list; then the HEAD's 404 or 403 is the only information.
        return ("NoSuchKey", error) if (code, _code(second)) == ("404", "AccessDenied") else (_code(second), second)
    return ("NoSuchKey" if code == "404" else code), error


def _error_of(where: str, code: str, error: Exception) -> Exception:
    """Convert an S3 error to one with a fix; `error` itself where s3_errors converts it as well."""
    if code == "NoSuchKey":
        return InputError(f"there is no {where}", "Name a file, or with a trailing slash a folder that `mynah fetch` wrote.")
    if code == "NoSuchBucket":
        return InputError(f"{where}: there is no bucket {where.split('/')[2]!r}", "Check its name, and AWS_ENDPOINT_URL_S3.")
    if code in WRONG_REGION:
        fix = f"Set AWS_DEFAULT_REGION to {_region(error) or 'the region it is in'}."
        return InputError(f"{where}: the bucket is in another region ({code})", fix)
    if code in ("403", "AccessDenied"):
        fix = "Give the key s3:GetObject there (and s3:ListBucket, which distinguishes a missing file from a forbidden one)."
        return StoreRefused(f"{where}: this key may not read it ({code})", fix)
    if code in TEMPORARY_CODES:
        return StoreRefused(f"{where}: S3 refused the key ({code})", TEMPORARY_CODES[code])
    return error


def _code(error: "ClientError") -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _region(error: "ClientError") -> str:
    """Return the bucket's region from S3's response: a header or the error itself."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = str(headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region") or "")
    return region if re.fullmatch(r"[a-z0-9-]{1,40}", region) else ""


def record_uploads(run: StepRun, names: Sequence[str]) -> None:
    """Record which of `names` were uploaded by `mynah submit`. Call it before they are read, so that `mynah forget` finds them."""
    uploads = [name for name in names if UPLOAD.fullmatch(name)]
    if uploads:
        run.tags_now({UPLOADS_TAG: json.dumps(uploads)})


def uploads_of(text: str) -> list[str]:
    """Return the uploads that a tag names, and nothing else: anybody can write tags, and what they name is erased."""
    try:
        values = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return [uri for uri in values if isinstance(uri, str) and UPLOAD.fullmatch(uri)] if isinstance(values, list) else []
