"""The HTTP client that huggingface_hub speaks through while Mynah publishes: every wait ends, and what passes is told as `Again`."""

import contextlib
import functools
import logging
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import httpx

from components.errors import PlatformError
from components.publish.trouble import TRIES, Again
from components.store import public

PASSING = (408, 429, 500, 502, 503, 504)  # statuses that pass
SECONDS_TO_CONNECT, SECONDS_TO_ANSWER = 4.0, 120.0
BUSY = "another conflicting operation is in progress"  # of one who makes two repositories at once; huggingface_hub would ask for ever


class _Client(httpx.Client):
    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        if not any(request.extensions.get("timeout", {}).values()):  # some of its calls say timeout=None
            request.extensions["timeout"] = httpx.Timeout(SECONDS_TO_ANSWER, connect=SECONDS_TO_CONNECT).as_dict()
        where = public(f"{request.url.scheme}://{request.url.netloc.decode('ascii')}")
        try:
            answer = super().send(request, **options)
        except httpx.TransportError as error:
            is_away = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            problem = f"{where} {'does not answer' if is_away else 'broke off'} ({type(error).__name__})"
            told = PlatformError(problem, "Is the network there? HF_ENDPOINT names the hub; run again.")
            raise Again(told, tries=2 if is_away else TRIES) from error
        if answer.status_code in PASSING:
            busy = answer.status_code == 429
            problem = f"{where} {'lets no more requests through' if busy else 'failed'} ({answer.status_code})"
            raise Again(PlatformError(problem, "Wait a few minutes, and run again."), _wait(answer))
        if answer.status_code == 409 and BUSY in answer.text:
            raise Again(PlatformError(f"{where} is making another repository of yours", "Wait for it, and run again."))
        return answer


@contextlib.contextmanager
def impatiently() -> Iterator[None]:
    """Let huggingface_hub speak through this client, upload over plain HTTP, and keep its bars, notices and warnings to itself.

    hf_xet speaks by itself, with errors and waits of its own; hubs take both: https://huggingface.co/docs/hub/xet/legacy-git-lfs
    """
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory
    from huggingface_hub.utils.tqdm import disable_progress_bars

    xet, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    set_client_factory(lambda: _Client(follow_redirects=True, verify=_certificates()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            disable_progress_bars()
            yield
    finally:
        set_client_factory(default_client_factory)
        constants.HF_HUB_DISABLE_XET = xet


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Reading them takes 20 ms, and huggingface_hub makes a client for each attempt."""
    return httpx.create_ssl_context()


def _wait(answer: httpx.Response) -> float | None:
    """The seconds that a server asks to be left alone for; None where it does not say."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    limit = parse_ratelimit_headers(answer.headers)
    if answer.status_code == 429 and limit and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    text = answer.headers.get("Retry-After", "").strip()
    return float(text) if text.isdecimal() and len(text) < 6 else None
