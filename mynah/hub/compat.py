"""What Mynah uses of huggingface_hub beyond its documented interface, in one place.

Read in the source of the version below, which constraints.txt pins: another version may have moved it. `tests/code/test_compat.py` fails
when the pin moves without this module.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import httpx

WRITTEN_FOR = {"huggingface_hub": "1.33.0"}


@contextlib.contextmanager
def client_factory(make: Callable[[], httpx.Client]) -> Iterator[None]:
    """Make huggingface_hub use the clients that `make` returns, and upload over plain HTTP, while the block runs.

    hf_xet has its own client with its own errors and waits; hubs accept both: https://huggingface.co/docs/hub/xet/legacy-git-lfs.
    The package has no way to set its own factory again, and reads the environment for Xet once, at import.
    """
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    xet, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True
    set_client_factory(make)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)
        constants.HF_HUB_DISABLE_XET = xet


def seconds_to_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a rate limit is reset, by a response's headers; None where requests remain or it is unknown."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None
