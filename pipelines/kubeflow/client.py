"""Creates kfp.Client with timeouts, and maps its exceptions to errors that name the fix."""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.errors import InputError, PlatformError
from mynah.core.settings import KF_PIPELINES_COOKIE, KF_PIPELINES_SA_TOKEN_PATH, KF_PIPELINES_SSL_CA_CERT, KF_PIPELINES_TOKEN
from mynah.mlflow_client.store import public, scrub
from pipelines.kfp_compat import api_client, configuration

if TYPE_CHECKING:
    import kfp

CONNECT, READ = 3.0, 30.0  # timeouts in seconds
PORT_FORWARD = "kubectl -n kubeflow port-forward svc/ml-pipeline 8888:8888"


def http_status(error: PlatformError) -> int:
    """Return the HTTP status of an API error; 0 without a response."""
    return int(getattr(error.__cause__, "status", None) or 0)


def make_client(host: str, namespace: str, token_file: Path | None) -> "kfp.Client":
    """Create a client with the credentials described in `Kubeflow.connect`, without sending a request.

    Args:
        host: the URL.
        namespace: the user's namespace, or "".
        token_file: a file with a token, or None.

    Raises:
        InputError: the file of the token or of the certificate does not exist.
    """
    import urllib3
    from kfp.client import ServiceAccountTokenVolumeCredentials

    rest, client_type = _bounded_types()
    token = KF_PIPELINES_TOKEN.get().strip()
    path = token_file or KF_PIPELINES_SA_TOKEN_PATH.get()
    if path and not path.is_file():
        raise InputError(
            f"there is no token in {path}", "Name a file that holds one: --token-file or KF_PIPELINES_SA_TOKEN_PATH."
        )
    authority = KF_PIPELINES_SSL_CA_CERT.get()
    if authority and not authority.is_file():
        raise InputError(f"there is no certificate in {authority}", "Correct KF_PIPELINES_SSL_CA_CERT.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # kfp always emits one
        client = client_type(
            host, namespace=namespace or "kubeflow", existing_token=None if path else token or None,
            credentials=ServiceAccountTokenVolumeCredentials(str(path)) if path else None,
            cookies=KF_PIPELINES_COOKIE.get() or None, ssl_ca_cert=str(authority) if authority else None,
        )  # fmt: skip
    http = configuration(client)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it logs each attempt; the last error suffices
    # A POST whose answer was lost may have made its run, and is not sent again. A redirect leads to a login page.
    http.retries = urllib3.Retry(2, redirect=False, backoff_factor=0.2, allowed_methods=("GET", "DELETE"))
    api_client(client).rest_client = rest(http)
    return client


def _bounded_types() -> tuple[type[Any], type[Any]]:
    """Return kfp's REST client and its client with bounded waits, defined here because kfp takes seconds to import."""
    import kfp
    import kfp_server_api

    class BoundedRest(kfp_server_api.rest.RESTClientObject):  # type: ignore[misc] # kfp is untyped
        """A REST client with a timeout for every request, which requires JSON: kfp takes a login page for an empty object."""

        def request(self, method: str, url: str, **options: Any) -> Any:  # noqa: ANN401 - kfp is untyped
            options["_request_timeout"] = options.get("_request_timeout") or (CONNECT, READ)
            answer = super().request(method, url, **options)
            if options.get("_preload_content", True):
                json.loads(answer.data)
            return answer

    class Client(kfp.Client):  # type: ignore[misc] # kfp is untyped
        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:  # noqa: ANN401 - kfp is untyped
            """Skip the check in the constructor, which retries five times without a timeout; `connect` checks instead."""
            return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    return BoundedRest, Client


@contextlib.contextmanager
def answers(host: str) -> Iterator[None]:
    """Turn the client's exceptions into a PlatformError that names the host, the cause and the fix."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError, SSLError

    where = f"Kubeflow Pipelines at {public(host)}"
    try:
        yield
    except ApiException as error:
        raise _refusal(where, error) from error
    except (HTTPError, OSError) as error:
        cause = " ".join(scrub(str(error)).split())[:200]
        fix = "Set KF_PIPELINES_SSL_CA_CERT to its authority's certificate." if isinstance(error, SSLError) else ""
        raise PlatformError(
            f"{where} cannot be reached: {cause}", fix or f"Check the address, or forward a port: {PORT_FORWARD}"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:  # not JSON, other JSON, or truncated
        raise PlatformError(
            f"{where} sends unexpected responses ({type(error).__name__})",
            "It may be a login page or another server. Set a new token (KF_PIPELINES_TOKEN) or cookie (KF_PIPELINES_COOKIE).",
        ) from error


def _refusal(where: str, error: Any) -> PlatformError:  # noqa: ANN401 - ApiException
    log_in = "Set a new one: KF_PIPELINES_TOKEN, --token-file, or KF_PIPELINES_COOKIE from your browser."
    if not error.status:  # TLS
        return PlatformError(
            f"{where} cannot be reached: {error.reason}", "Set KF_PIPELINES_SSL_CA_CERT to its authority's certificate."
        )
    if 300 <= error.status < 400 or error.status == HTTPStatus.UNAUTHORIZED:
        return PlatformError(f"{where} requires a login ({error.status}): the token or cookie is missing or has expired", log_in)
    details = f"({error.status}): {_message(error)}"
    if error.status == HTTPStatus.FORBIDDEN:
        return PlatformError(
            f"{where} does not allow it {details}", "Ask for access to that namespace, or name yours with --namespace."
        )
    if error.status >= 500:
        return PlatformError(f"{where} failed {details}", "See kubectl -n kubeflow logs deploy/ml-pipeline, and try again.")
    return PlatformError(f"{where} refused it {details}", "Check that its version is 2.17.")


def _message(error: Any) -> str:  # noqa: ANN401 - ApiException
    """Return the message of an API status, or the HTTP reason for another server."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body).get("message") or error.reason).split("\n")[0][:300]
    return str(error.reason)[:100]
