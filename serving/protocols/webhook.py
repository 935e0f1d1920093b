"""Hints that MLflow's own webhooks send: signed with a secret instead of a key, as https://mlflow.org/docs/latest/ml/webhooks has it."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

SIGNATURE, DELIVERY, TIMESTAMP = "x-mlflow-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp"
OLDEST = 300.0  # seconds; what is older was kept by somebody


def is_signed(headers: Mapping[str, str], body: bytes, secret: str, now: float | None = None) -> bool:
    """Whether `secret` signed this delivery (lower-case header names) within the last five minutes."""
    said, delivery, moment = (headers.get(name, "") for name in (SIGNATURE, DELIVERY, TIMESTAMP))
    if not secret or not moment.isdecimal() or len(moment) > 12:
        return False
    signed = f"{delivery}.{moment}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256))
    fresh = abs((time.time() if now is None else now) - int(moment)) <= OLDEST
    return hmac.compare_digest(said.encode(), right) and fresh
