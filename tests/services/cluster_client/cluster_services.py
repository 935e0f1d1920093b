"""Inference services in a fake cluster, and failures that end soon."""

import time

import pytest
from fake_kubernetes import SERVICES

from mynah.core.errors import PlatformError


def put_service(kubernetes, name, uri="s3://b/x", namespace="bots", **metadata):
    kubernetes.put(SERVICES, namespace, name, metadata=metadata, spec={"predictor": {"model": {"storageUri": uri}}})


def fails_within(seconds, call):
    started = time.monotonic()
    with pytest.raises(PlatformError) as raised:
        call()
    assert time.monotonic() - started < seconds
    return str(raised.value)
