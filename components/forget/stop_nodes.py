"""End the nodes that still train for runs that were stopped: they write training states and logs, which would come back after the erasure."""

import time
from collections.abc import Collection

from mynah.core.progress import notify, waiting
from mynah.core.settings import MYNAH_S3_BUCKET
from mynah.storage.run_files import ALIVE, ROOT
from mynah.storage.s3 import s3_client, s3_errors

SECONDS_TO_END = 20.0  # a node looks every five seconds, and ends without a trace when the sign of life of its step was removed


def end_nodes(kfp_runs: Collection[str]) -> None:
    """Remove the signs of life of the runs' steps, and wait until nodes have seen it. Raises PlatformError when S3 fails.

    Args:
        kfp_runs: The ids of Kubeflow runs, which have ended.
    """
    bucket = MYNAH_S3_BUCKET.get()
    if not bucket:
        return
    with s3_errors(f"looking for nodes that train in s3://{bucket}/{ROOT}"):
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{ROOT}/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        signs = [key for key in keys if key.endswith(f"/{ALIVE}") and key.split("/")[2] in kfp_runs]
        for key in signs:
            s3_client().delete_object(Bucket=bucket, Key=key)
    if signs:
        notify("several nodes may still train for an ended run: they end without saving")
        with waiting("Ending nodes"):
            time.sleep(SECONDS_TO_END)
