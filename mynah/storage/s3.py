"""Artifacts in S3, and what else lies there: object versions, delete markers, uploads that never ended."""

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import CHUNK, Stored, missing
from components.errors import PlatformError, StoreRefused
from components.files import storage_errors

PART = 16 << 20  # bytes a part of an upload; the entity tag of a multipart object depends on it
WORKERS = 6  # parts at once
CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL_S3 for a store other than AWS)."


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object, or a delete marker."""

    bucket: str
    key: str
    version: str  # "null" in a bucket without versions
    size: int
    etag: str
    is_marker: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was neither completed nor aborted; its parts cost money and hold data."""

    bucket: str
    key: str
    upload_id: str


def s3_client() -> Any:  # noqa: ANN401 - boto3 makes its clients' classes at run time
    """A client by the usual chain of credentials and AWS_ENDPOINT_URL_S3, with waits that end; one for each place and key."""
    return _client(*(os.environ.get(name, "") for name in CHOOSES))


CHOOSES = ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@functools.lru_cache(maxsize=4)
def _client(*_: str) -> Any:  # noqa: ANN401 - see s3_client
    import boto3
    from botocore.config import Config

    retries = {"max_attempts": 3, "mode": "standard"}
    # `when_required`: the trailing checksums that boto3 adds by itself are refused by older stores; every file is verified anyway.
    checksums = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    config = Config(connect_timeout=3, read_timeout=60, retries=retries, max_pool_connections=32, **checksums)
    return boto3.session.Session().client("s3", config=config)  # the default session would remember the first key it saw


@contextlib.contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """boto3's exceptions as a PlatformError that names `what`, and the fix."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise StoreRefused(f"{what}: there are no credentials for S3", CREDENTIALS) from error
    except (ClientError, BotoCoreError, Boto3Error) as error:
        refusal = REFUSAL.search(str(error))  # also within the words of an upload that failed
        if refusal and refusal[1] in FIXES:
            raise StoreRefused(f"{what}: S3 refused it ({refusal[1]})", FIXES[refusal[1]]) from error
        cause = str(error).strip().split("\n")[0][:200]
        raise PlatformError(f"{what}: S3 failed: {cause}", "Is it running, and does AWS_ENDPOINT_URL_S3 name it?") from error
    except ValueError as error:  # an endpoint that is no address
        raise PlatformError(
            f"{what}: S3 cannot be asked: {error}", "Set AWS_ENDPOINT_URL_S3 to http://… or https://…."
        ) from error


REFUSAL = re.compile(r"An error occurred \((\w+)\) when calling")
FIXES = {
    "NoSuchBucket": "Make the bucket, or mend its name in the server's artifact root.",
    "SignatureDoesNotMatch": "The secret key is wrong: mend AWS_SECRET_ACCESS_KEY.",
    "InvalidAccessKeyId": "The access key is unknown there: mend AWS_ACCESS_KEY_ID.",
    "AccessDenied": "This key may not: give it list, get, put and delete on that bucket.",
    "403": "This key may not: give it list, get, put and delete on that bucket.",
    "QuotaExceeded": "The store is full: free some space there.",
}


class S3Place:
    """A prefix of a bucket, taken as a folder: `a/b` never means `a/bc`."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.uri = f"s3://{bucket}/{prefix.strip('/')}"
        self._sent: dict[str, str] = {}  # entity tags that were computed during an upload, until it is verified

    def check(self) -> None:
        """List one object."""
        with s3_errors(f"looking into {self.uri}"):
            s3_client().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    def put(self, name: str, path: Path) -> None:
        """Upload in parts of 16 MiB, several at once; an upload that fails is aborted."""
        from boto3.s3.transfer import TransferConfig

        transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=WORKERS)
        with ThreadPoolExecutor(1) as pool, s3_errors(f"storing {self.uri}/{name}"):
            tag = pool.submit(entity_tag, path)  # while the upload waits for the network
            s3_client().upload_file(str(path), self.bucket, self.prefix + name, Config=transfer)
            self._sent[name] = tag.result()

    def files(self) -> dict[str, Stored]:
        """The objects below the prefix, with their entity tags."""
        found = {}
        with s3_errors(f"listing {self.uri}"):
            for page in s3_client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
                for item in page.get("Contents", []):
                    found[item["Key"].removeprefix(self.prefix)] = Stored(item["Size"], f"etag:{_tag(item)}")
        return found

    def get(self, name: str, path: Path) -> None:
        """Download, all or nothing."""
        from botocore.exceptions import ClientError

        with s3_errors(f"reading {self.uri}/{name}"), storage_errors(path):
            try:
                s3_client().download_file(self.bucket, self.prefix + name, str(path))
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    raise missing(f"{self.uri}/{name}") from error
                raise

    def same(self, name: str, path: Path) -> bool:
        """Compare the entity tag; where it is no MD5 (a bucket with its own keys), read the object back.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
        """
        from botocore.exceptions import ClientError

        with s3_errors(f"verifying {self.uri}/{name}"):
            try:
                head = s3_client().head_object(Bucket=self.bucket, Key=self.prefix + name)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    return False
                raise
            if head["ContentLength"] != path.stat().st_size:
                return False
            if _tag(head) == (self._sent.pop(name, "") or entity_tag(path)):
                return True
            body = s3_client().get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"]
            with path.open("rb") as file:
                return all(chunk == file.read(len(chunk)) for chunk in body.iter_chunks(CHUNK))

    def remove(self) -> None:
        """Remove the current objects; `versions` and `uploads` tell what then still lies there."""
        keys = [self.prefix + name for name in self.files()]
        with s3_errors(f"removing {self.uri}"):
            for key in keys:
                s3_client().delete_object(Bucket=self.bucket, Key=key)

    def versions(self) -> Iterator[ObjectVersion]:
        """Every version and delete marker below the prefix, of buckets with and without versions."""
        with s3_errors(f"listing the versions of {self.uri}"):
            for page in s3_client().get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=self.prefix):
                for item in page.get("Versions", []):
                    yield ObjectVersion(self.bucket, item["Key"], item.get("VersionId", "null"), item["Size"], _tag(item), False)
                for item in page.get("DeleteMarkers", []):
                    yield ObjectVersion(self.bucket, item["Key"], item.get("VersionId", "null"), 0, "", True)

    def uploads(self) -> Iterator[Upload]:
        """The unfinished uploads below the prefix."""
        with s3_errors(f"listing the unfinished uploads of {self.uri}"):
            for page in s3_client().get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self.prefix):
                for item in page.get("Uploads", []):
                    yield Upload(self.bucket, item["Key"], item["UploadId"])


def erase_version(found: ObjectVersion) -> None:
    """Erase one version for good; one that is gone already is no error."""
    with s3_errors(f"erasing s3://{found.bucket}/{found.key}"):
        s3_client().delete_object(Bucket=found.bucket, Key=found.key, VersionId=found.version)


def erase_upload(found: Upload) -> None:
    """Abort an upload, which frees its parts; one that is gone already is no error."""
    from botocore.exceptions import ClientError

    with s3_errors(f"aborting the upload of s3://{found.bucket}/{found.key}"):
        try:
            s3_client().abort_multipart_upload(Bucket=found.bucket, Key=found.key, UploadId=found.upload_id)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchUpload":
                raise


def entity_tag(path: Path) -> str:
    """The entity tag that S3 gives to what `put` uploads: the MD5, or that of the parts' MD5s with their count.

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
