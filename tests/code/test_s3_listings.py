"""Listings of stores that lack a request of S3, as Kubeflow's own may: everything that is there is found all the same."""

import datetime

from botocore.session import Session
from botocore.stub import Stubber

from mynah.storage.s3 import ObjectVersion, S3ArtifactStore


def test_a_store_that_knows_no_versions_has_its_objects():
    client = Session().create_client("s3", region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")
    item = {"Key": "v2/a.txt", "Size": 3, "ETag": '"0123"', "LastModified": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}
    with Stubber(client) as stubber:
        stubber.add_client_error("list_object_versions", "NotImplemented", http_status_code=501)
        stubber.add_response("list_objects_v2", {"Contents": [item], "IsTruncated": False})
        stubber.add_client_error("list_multipart_uploads", "NotImplemented", http_status_code=501)
        store = S3ArtifactStore("bucket", "v2", lambda: client)
        assert list(store.versions()) == [ObjectVersion("bucket", "v2/a.txt", "null", 3, "0123", False)]
        assert list(store.uploads()) == []
