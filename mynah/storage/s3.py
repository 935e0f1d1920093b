"""An artifact store in S3, with access to object versions, delete markers and unfinished uploads."""

import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mynah.core.errors import PlatformError, StoreRefused
from mynah.core.files import storage_errors
from mynah.core.settings import AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL_S3, AWS_PROFILE, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
from mynah.core.wait_for_server import ServerWait
from mynah.mlflow_client.store import public
from mynah.storage.base import CHUNK, StoredFile, no_such_file

PART = 16 << 20  # bytes per part of an upload; the entity tag of a multipart object depends on it
WORKERS = 6  # parallel parts
CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL_S3 for a store other than AWS)."


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object, or a delete marker."""

    bucket: str
    key: str
    version: str  # "null" in a bucket without versioning
    size: int
    etag: str
    is_marker: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was neither completed nor aborted; its parts cost money and contain data."""

    bucket: str
    key: str
    upload_id: str


def s3_client() -> Any:  # noqa: ANN401 - boto3 makes its clients' classes at run time
    """Return a client with the usual chain of credentials, AWS_ENDPOINT_URL_S3 and bounded waits. Cached for each endpoint and key."""
    return _client(*(variable.get() for variable in CLIENT_VARIABLES))


CLIENT_VARIABLES = (AWS_ENDPOINT_URL_S3, AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)


@functools.lru_cache(maxsize=4)
def _client(*_: str) -> Any:  # noqa: ANN401 - see s3_client
    return new_client()


def new_client(**options: str) -> Any:  # noqa: ANN401 - see s3_client
    """Return a new client with bounded waits. `options` are boto3's, such as endpoint_url, in place of what the environment names."""
    import boto3
    from botocore.config import Config

    retries = {"max_attempts": 3, "mode": "standard"}
    # `when_required`: older stores reject the trailing checksums that boto3 adds by default; every file is verified anyway.
    checksums = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    config = Config(connect_timeout=3, read_timeout=60, retries=retries, max_pool_connections=32, **checksums)
    client = boto3.session.Session().client("s3", config=config, **options)  # the default session would cache the first key
    _wait_for_first_answer(client)
    return client


def _wait_for_first_answer(client: Any) -> None:  # noqa: ANN401 - see s3_client
    """Make a client try its first requests again for as long as S3 cannot be reached, beyond boto3's own three attempts.

    The event asks after each attempt whether another is made; a handler returns the seconds until then, or None.
    https://docs.aws.amazon.com/boto3/latest/guide/events.html
    """
    wait = ServerWait(f"S3 at {public(client.meta.endpoint_url)}")

    def pause(response: object = None, caught_exception: BaseException | None = None, **_: object) -> float | None:
        if caught_exception is None and response is not None:
            wait.answered()
        return wait.pause_after(caught_exception)

    client.meta.events.register_first("needs-retry.s3", pause)


@contextlib.contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Convert boto3's exceptions to a PlatformError that names `what`, with a fix."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise StoreRefused(f"{what}: there are no credentials for S3", CREDENTIALS) from error
    except (ClientError, BotoCoreError, Boto3Error) as error:
        match = ERROR_CODE.search(str(error))  # also inside the message of a failed upload
        if match and match[1] in FIXES:
            raise StoreRefused(f"{what}: S3 refused it ({match[1]})", FIXES[match[1]]) from error
        cause = str(error).strip().split("\n")[0][:200]
        raise PlatformError(f"{what}: S3 failed: {cause}", "Is it running, and does AWS_ENDPOINT_URL_S3 name it?") from error
    except ValueError as error:  # an endpoint that is not a URL
        raise PlatformError(
            f"{what}: the request to S3 failed: {error}", "Set AWS_ENDPOINT_URL_S3 to http://… or https://…."
        ) from error


ERROR_CODE = re.compile(r"An error occurred \((\w+)\) when calling")
FIXES = {
    "NoSuchBucket": "Create the bucket, or correct its name in the server's artifact root.",
    "SignatureDoesNotMatch": "The secret key is wrong: correct AWS_SECRET_ACCESS_KEY.",
    "InvalidAccessKeyId": "The access key is unknown there: correct AWS_ACCESS_KEY_ID.",
    "AccessDenied": "This key lacks permissions: give it list, get, put and delete on that bucket.",
    "403": "This key lacks permissions: give it list, get, put and delete on that bucket.",
    "QuotaExceeded": "The store is full: free some space there.",
}


class S3ArtifactStore:
    """A prefix of a bucket, used as a folder: `a/b` does not match `a/bc`."""

    def __init__(self, bucket: str, prefix: str, client: Callable[[], Any] = s3_client) -> None:
        self.bucket = bucket
        self._client = client  # of another S3 than that of AWS_ENDPOINT_URL_S3
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.uri = f"s3://{bucket}/{prefix.strip('/')}"
        self._sent: dict[str, str] = {}  # entity tags computed during an upload, until it is verified

    def check(self) -> None:
        """List one object. Raises PlatformError when that fails."""
        with s3_errors(f"looking into {self.uri}"):
            self._client().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    def put(self, name: str, path: Path) -> None:
        """Upload in parallel parts of 16 MiB; a failed upload is aborted."""
        from boto3.s3.transfer import TransferConfig

        transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=WORKERS)
        with ThreadPoolExecutor(1) as pool, s3_errors(f"storing {self.uri}/{name}"):
            tag = pool.submit(entity_tag, path)  # while the upload waits for the network
            self._client().upload_file(str(path), self.bucket, self.prefix + name, Config=transfer)
            self._sent[name] = tag.result()

    def files(self) -> dict[str, StoredFile]:
        """Return the objects below the prefix, with their entity tags."""
        files = {}
        with s3_errors(f"listing {self.uri}"):
            for page in self._client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
                for item in page.get("Contents", []):
                    files[item["Key"].removeprefix(self.prefix)] = StoredFile(item["Size"], f"etag:{_tag(item)}")
        return files

    def get(self, name: str, path: Path) -> None:
        """Download the file `name` to `path`, all or nothing. Raises InputError when it does not exist."""
        from botocore.exceptions import ClientError

        with s3_errors(f"reading {self.uri}/{name}"), storage_errors(path):
            try:
                self._client().download_file(self.bucket, self.prefix + name, str(path))
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    raise no_such_file(f"{self.uri}/{name}") from error
                raise

    def same(self, name: str, path: Path) -> bool:
        """Compare the entity tag; where it is not an MD5 (a bucket with its own encryption keys), read the object back.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
        """
        from botocore.exceptions import ClientError

        with s3_errors(f"verifying {self.uri}/{name}"):
            try:
                head = self._client().head_object(Bucket=self.bucket, Key=self.prefix + name)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    return False
                raise
            if head["ContentLength"] != path.stat().st_size:
                return False
            if _tag(head) == (self._sent.pop(name, "") or entity_tag(path)):
                return True
            body = self._client().get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"]
            with path.open("rb") as file:
                return all(chunk == file.read(len(chunk)) for chunk in body.iter_chunks(CHUNK))

    def remove(self) -> None:
        """Remove the current objects; `versions` and `uploads` list what then remains."""
        keys = [self.prefix + name for name in self.files()]
        with s3_errors(f"removing {self.uri}"):
            for key in keys:
                self._client().delete_object(Bucket=self.bucket, Key=key)

    def versions(self) -> Iterator[ObjectVersion]:
        """Yield every version and delete marker below the prefix, of buckets with and without versioning.

        A store that knows no versions, as Kubeflow's may be, has the current objects only.
        """
        is_unknown = True
        for page in self._pages("list_object_versions"):
            is_unknown = False
            for item in page.get("Versions", []):
                yield ObjectVersion(self.bucket, item["Key"], item.get("VersionId", "null"), item["Size"], _tag(item), False)
            for item in page.get("DeleteMarkers", []):
                yield ObjectVersion(self.bucket, item["Key"], item.get("VersionId", "null"), 0, "", True)
        for page in self._pages("list_objects_v2") if is_unknown else ():
            for item in page.get("Contents", []):
                yield ObjectVersion(self.bucket, item["Key"], "null", item["Size"], _tag(item), False)

    def folders(self) -> list[str]:
        """Return the names directly below the prefix that have something below them, be it only older versions."""
        pages = [page for kind in ("list_object_versions", "list_objects_v2") for page in self._pages(kind, Delimiter="/")]
        found = (each["Prefix"] for page in pages for each in page.get("CommonPrefixes", []))
        return sorted({prefix.removeprefix(self.prefix).rstrip("/") for prefix in found})

    def uploads(self) -> Iterator[Upload]:
        """Yield the unfinished uploads below the prefix."""
        for page in self._pages("list_multipart_uploads"):
            for item in page.get("Uploads", []):
                yield Upload(self.bucket, item["Key"], item["UploadId"])

    def _pages(self, kind: str, **options: str) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing of all that is below the prefix; none where the store has no such listing."""
        from botocore.exceptions import ClientError

        with s3_errors(f"listing {self.uri} ({kind})"):
            try:
                yield from self._client().get_paginator(kind).paginate(Bucket=self.bucket, Prefix=self.prefix, **options)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in ("NotImplemented", "501"):
                    raise


def erase_version(version: ObjectVersion, client: Callable[[], Any] = s3_client) -> None:
    """Erase one version permanently; it is no error if it no longer exists."""
    with s3_errors(f"erasing s3://{version.bucket}/{version.key}"):
        client().delete_object(Bucket=version.bucket, Key=version.key, VersionId=version.version)


def erase_upload(upload: Upload, client: Callable[[], Any] = s3_client) -> None:
    """Abort an upload, which frees its parts; it is no error if it no longer exists."""
    from botocore.exceptions import ClientError

    with s3_errors(f"aborting the upload of s3://{upload.bucket}/{upload.key}"):
        try:
            client().abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchUpload":
                raise


def entity_tag(path: Path) -> str:
    """Return the entity tag of a file that `put` uploads: its MD5, or the MD5 of its parts' MD5s with their count.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    """
    size = path.stat().st_size
    parts: list[Any] = []
    with path.open("rb") as file:
        while not parts or file.tell() < size:
            parts.append(hashlib.md5(file.read(PART), usedforsecurity=False))
    if size < PART:
        return str(parts[0].hexdigest())
    joined = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(parts)}"


def _tag(item: dict[str, Any]) -> str:
    return str(item.get("ETag", "")).strip('"')
