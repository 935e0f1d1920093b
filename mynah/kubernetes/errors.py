"""What a cluster's API says when it refuses or fails, as a PlatformError that names the cluster, the cause and the fix."""

import contextlib
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from components.errors import PlatformError

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException


def http_status(error: PlatformError) -> int:
    """The HTTP status that an error of the API came with; 0 when the server answered nothing."""
    return int(getattr(error.__cause__, "status", None) or 0)


@contextlib.contextmanager
def api_errors(host: str, rule: str) -> Iterator[None]:
    """The client's exceptions as a PlatformError that names the cluster, the cause and the fix."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status:
            raise _refusal(host, rule, error) from error
        raise _unreachable(host, error.reason) from error  # TLS: a certificate that nobody trusts
    except (HTTPError, OSError, ValueError) as error:
        raise _unreachable(host, error) from error


def api_status(error: PlatformError) -> dict[str, Any]:
    """The Status object that an error of the API came with; {} without one."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        found = json.loads(error.__cause__.body)  # type: ignore[union-attr]  # no ApiException: caught
        return found if isinstance(found, dict) else {}
    return {}


def _refusal(host: str, rule: str, error: "ApiException") -> PlatformError:
    if "exceeded quota" in _message(error):  # a 403 too, and no RBAC rule helps
        return PlatformError(
            f"the cluster at {host} refused it: {_message(error)}",
            "Free some, or ask for more: `kubectl describe resourcequota` in that namespace.",
        )
    fix = {
        HTTPStatus.UNAUTHORIZED: "These credentials are not valid there: log in again, or start the pod anew.",
        HTTPStatus.FORBIDDEN: f"Give that user this RBAC rule: {rule}",
    }.get(error.status, "Is this the address of a cluster's API, and is it well? Try again.")
    return PlatformError(f"the cluster at {host} refused it ({error.status}): {_message(error)}", fix)


def _unreachable(host: str, cause: object) -> PlatformError:
    said = " ".join(str(cause).split())[:200]
    return PlatformError(f"the cluster at {host} cannot be reached: {said}", "Is it running, and is this its address?")


def _message(error: "ApiException") -> str:
    """The message of the Status object that an API server answers with; the bare reason of another server."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body).get("message") or error.reason)[:300]
    return str(error.reason)[:300]
