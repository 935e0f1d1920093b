"""Verifies requests of MLflow's webhooks, which are signed with a secret: https://mlflow.org/docs/latest/ml/webhooks."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

SIGNATURE, DELIVERY, TIMESTAMP = "x-mlflow-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp"
MAX_AGE_SECONDS = 300.0  # older deliveries may be replays


def is_signed(headers: Mapping[str, str], body: bytes, secret: str, now: float | None = None) -> bool:
    """Whether a delivery was signed with the secret within the last five minutes.

    Args:
        headers: the request's headers, with lower-case names.
        body: the raw body.
        secret: the shared secret; "" accepts nothing.
        now: the Unix time in seconds; None is the current time.
    """
    signature, delivery, timestamp = (headers.get(name, "") for name in (SIGNATURE, DELIVERY, TIMESTAMP))
    if not secret or not timestamp.isdecimal() or len(timestamp) > 12:
        return False
    signed_bytes = f"{delivery}.{timestamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(secret.encode(), signed_bytes, hashlib.sha256))
    is_fresh = abs((time.time() if now is None else now) - int(timestamp)) <= MAX_AGE_SECONDS
    return hmac.compare_digest(signature.encode(), expected) and is_fresh
