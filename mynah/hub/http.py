"""The HTTP client of huggingface_hub while Mynah publishes: waits are bounded, and transient failures raise `RetryableError`."""

import contextlib
import functools
import logging
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import httpx

from mynah.core.errors import PlatformError
from mynah.hub.compat import client_factory, seconds_to_reset
from mynah.hub.errors import TRIES, RetryableError
from mynah.mlflow_client.store import public

RETRYABLE_STATUSES = (408, 429, 500, 502, 503, 504)  # transient statuses
SECONDS_TO_CONNECT, SECONDS_TO_ANSWER = 4.0, 120.0
BUSY = (
    "another conflicting operation is in progress"  # for two repositories created at once; huggingface_hub would retry for ever
)


class _Client(httpx.Client):
    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        if not any(request.extensions.get("timeout", {}).values()):  # some of its calls set timeout=None
            request.extensions["timeout"] = httpx.Timeout(SECONDS_TO_ANSWER, connect=SECONDS_TO_CONNECT).as_dict()
        server = public(f"{request.url.scheme}://{request.url.netloc.decode('ascii')}")
        try:
            response = super().send(request, **options)
        except httpx.TransportError as error:
            is_unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            problem = f"{server} {'does not answer' if is_unreachable else 'broke off'} ({type(error).__name__})"
            failure = PlatformError(problem, "Is the network there? HF_ENDPOINT names the hub; run again.")
            raise RetryableError(failure, tries=2 if is_unreachable else TRIES) from error
        if response.status_code in RETRYABLE_STATUSES:
            busy = response.status_code == 429
            problem = f"{server} {'lets no more requests through' if busy else 'failed'} ({response.status_code})"
            raise RetryableError(PlatformError(problem, "Wait a few minutes, and run again."), _wait(response))
        if response.status_code == 409 and BUSY in response.text:
            raise RetryableError(PlatformError(f"{server} is making another repository of yours", "Wait for it, and run again."))
        return response


@contextlib.contextmanager
def bounded_http() -> Iterator[None]:
    """Make huggingface_hub use this client, upload over plain HTTP, and print no progress bars, notices or warnings."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    with client_factory(lambda: _Client(follow_redirects=True, verify=_certificates())), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        disable_progress_bars()
        yield


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Load the certificates once: that takes 20 ms, and huggingface_hub creates a client for each attempt."""
    return httpx.create_ssl_context()


def _wait(response: httpx.Response) -> float | None:
    """Return the seconds that a server asks to wait; None where it names none."""
    if response.status_code == 429 and (seconds := seconds_to_reset(response.headers)) is not None:
        return seconds
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isdecimal() and len(text) < 6 else None
