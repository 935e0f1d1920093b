"""Kubeflow's own object store, in which runs of earlier versions of Mynah left posts, models and samples, and Argo the logs of pods."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mynah.core.errors import InputError
from mynah.core.settings import (
    KF_PIPELINES_ARTIFACTS,
    KF_PIPELINES_ARTIFACTS_ACCESS_KEY_ID,
    KF_PIPELINES_ARTIFACTS_ENDPOINT_URL,
    KF_PIPELINES_ARTIFACTS_SECRET_ACCESS_KEY,
)
from mynah.storage.s3 import ObjectVersion, S3ArtifactStore, Upload, new_client, s3_client

WORKERS = 16
LOGS = "artifacts"  # of Argo, by its own default: artifacts/WORKFLOW/POD/
PRIVATE_LOGS = "private-artifacts"  # of Argo as Kubeflow configures it: private-artifacts/NAMESPACE/WORKFLOW/…


def artifacts_root() -> tuple[str, str]:
    """Return the bucket and the prefix of Kubeflow's pipeline root, from KF_PIPELINES_ARTIFACTS; ("", "") where it is not set.

    Raises InputError for another kind of address.
    """
    uri = KF_PIPELINES_ARTIFACTS.get()
    if not uri:
        return "", ""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise InputError(
            f"KF_PIPELINES_ARTIFACTS is {uri[:100]!r}", "Write Kubeflow's pipeline root: s3://mlpipeline/v2/artifacts."
        )
    return bucket, prefix.strip("/")


def artifacts_client() -> Any:  # noqa: ANN401 - boto3 makes its clients' classes at run time
    """Return a client of that store: with its own address and keys where they are set, else Mynah's client."""
    own = [variable.get() for variable in (
        KF_PIPELINES_ARTIFACTS_ENDPOINT_URL, KF_PIPELINES_ARTIFACTS_ACCESS_KEY_ID, KF_PIPELINES_ARTIFACTS_SECRET_ACCESS_KEY,
    )]  # fmt: skip
    return _own_client(*own) if any(own) else s3_client()


@functools.lru_cache(maxsize=2)
def _own_client(endpoint: str, key: str, secret: str) -> Any:  # noqa: ANN401 - see artifacts_client
    options = {"endpoint_url": endpoint, "aws_access_key_id": key, "aws_secret_access_key": secret}
    return new_client(**{name: value for name, value in options.items() if value})


def stored_of_runs(runs: list[str], pipelines: tuple[str, ...], workflows: list[str]) -> Iterator[ObjectVersion | Upload]:
    """Yield every object version and unfinished upload of runs.

    Args:
        runs: The ids of Kubeflow's runs.
        pipelines: The names of the pipelines that they may be of.
        workflows: The names of their Workflows, for Argo's logs.

    Raises:
        InputError: KF_PIPELINES_ARTIFACTS is no address of a bucket.
        PlatformError: S3 fails, or refuses.
    """
    bucket, prefix = artifacts_root()
    if not bucket or not runs:
        return
    parents = [f"{prefix}/{pipeline}".lstrip("/") for pipeline in pipelines]
    if workflows:
        namespaces = S3ArtifactStore(bucket, PRIVATE_LOGS, artifacts_client).folders()
        parents += [LOGS, *(f"{PRIVATE_LOGS}/{namespace}" for namespace in namespaces)]
    names = {*runs, *workflows}
    with ThreadPoolExecutor(WORKERS) as pool:
        for found in pool.map(lambda parent: _stored_below(S3ArtifactStore(bucket, parent, artifacts_client), names), parents):
            yield from found


def _stored_below(parent: S3ArtifactStore, names: set[str]) -> list[ObjectVersion | Upload]:
    """Return what is stored in the folders of some names directly below a prefix, without listing the other folders."""
    found: list[ObjectVersion | Upload] = []
    for name in names & set(parent.folders()):
        found += S3ArtifactStore(parent.bucket, parent.prefix + name, artifacts_client).versions()
    return found + [each for each in parent.uploads() if each.key.removeprefix(parent.prefix).split("/")[0] in names]
