"""Convert errors of a cluster's API to a PlatformError that names the cluster, the cause and the fix.

Importing the `kubernetes` package takes half a second, so only functions import it.
"""

import contextlib
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mynah.core.errors import PlatformError

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException


def http_status(error: PlatformError) -> int:
    """Return the HTTP status of an API error; 0 when there was no response."""
    return int(getattr(error.__cause__, "status", None) or 0)


@contextlib.contextmanager
def api_errors(host: str, rule: str) -> Iterator[None]:
    """Convert the client's exceptions to a PlatformError that names the cluster, the cause and the fix.

    Args:
        host: The API's address, for messages.
        rule: The RBAC rule that an error about permissions names.

    Raises:
        PlatformError: The block raised an exception of the client; it is the cause.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status:
            raise _refusal(host, rule, error) from error
        raise _unreachable(host, error.reason) from error  # TLS: an untrusted certificate
    except (HTTPError, OSError, ValueError) as error:
        raise _unreachable(host, error) from error


def api_status(error: PlatformError) -> dict[str, Any]:
    """Return the Status object of an API error; {} without one."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        status = json.loads(error.__cause__.body)  # type: ignore[union-attr]  # another error than ApiException: caught
        return status if isinstance(status, dict) else {}
    return {}


def _refusal(host: str, rule: str, error: "ApiException") -> PlatformError:
    if "exceeded quota" in _message(error):  # also a 403, but RBAC does not help
        return PlatformError(
            f"the cluster at {host} refused it: {_message(error)}",
            "Free some resources, or request a larger quota: `kubectl describe resourcequota` in that namespace.",
        )
    fix = {
        HTTPStatus.UNAUTHORIZED: "These credentials are not valid there: log in again, or restart the pod.",
        HTTPStatus.FORBIDDEN: f"Give that user this RBAC rule: {rule}",
    }.get(error.status, "Check that this is the address of a cluster's API and that the API is healthy, then try again.")
    return PlatformError(f"the cluster at {host} refused it ({error.status}): {_message(error)}", fix)


def _unreachable(host: str, cause: object) -> PlatformError:
    reason = " ".join(str(cause).split())[:200]
    return PlatformError(f"the cluster at {host} cannot be reached: {reason}", "Is it running, and is this its address?")


def _message(error: "ApiException") -> str:
    """Return the message of the API server's Status object; the HTTP reason of another server."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body).get("message") or error.reason)[:300]
    return str(error.reason)[:300]
