"""kfp.Client with waits that end, and its exceptions as errors that a person can act on."""

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError, PlatformError
from components.store import public, scrub

if TYPE_CHECKING:
    import kfp

CONNECT, READ = 3.0, 30.0  # seconds
PORT_FORWARD = "kubectl -n kubeflow port-forward svc/ml-pipeline 8888:8888"


def http_status(error: PlatformError) -> int:
    """The HTTP status that an error of the API came with; 0 when the server answered nothing."""
    return int(getattr(error.__cause__, "status", None) or 0)


def make_client(host: str, namespace: str, token_file: Path | None) -> "kfp.Client":
    """A client for `host` with the credentials that Kubeflow.connect tells of. Sends nothing yet. Raises InputError."""
    import kfp
    import kfp_server_api
    import urllib3
    from kfp.client import ServiceAccountTokenVolumeCredentials

    class PatientRest(kfp_server_api.rest.RESTClientObject):  # type: ignore[misc]
        """Every request has a deadline, and every answer is JSON: the client takes a login page for an empty object."""

        def request(self, method: str, url: str, **options: Any) -> Any:  # noqa: ANN401
            options["_request_timeout"] = options.get("_request_timeout") or (CONNECT, READ)
            answer = super().request(method, url, **options)
            if options.get("_preload_content", True):
                json.loads(answer.data)
            return answer

    class Client(kfp.Client):  # type: ignore[misc]
        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:  # noqa: ANN401
            """Not while it is made, where it would be tried five times without a deadline; `connect` asks."""
            return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    token = os.environ.get("KF_PIPELINES_TOKEN", "").strip()
    path = token_file or (Path(given) if (given := os.environ.get("KF_PIPELINES_SA_TOKEN_PATH")) else None)
    if path and not path.is_file():
        raise InputError(
            f"there is no token in {path}", "Name a file that holds one: --token-file or KF_PIPELINES_SA_TOKEN_PATH."
        )
    authority = os.environ.get("KF_PIPELINES_SSL_CA_CERT") or None
    if authority and not Path(authority).is_file():
        raise InputError(f"there is no certificate in {authority}", "Mend KF_PIPELINES_SSL_CA_CERT.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it greets everybody with one
        client = Client(
            host, namespace=namespace or "kubeflow", existing_token=None if path else token or None,
            credentials=ServiceAccountTokenVolumeCredentials(str(path)) if path else None,
            cookies=os.environ.get("KF_PIPELINES_COOKIE") or None, ssl_ca_cert=authority,
        )  # fmt: skip
    configuration = client._existing_config
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells each attempt; the last one's error says it all
    configuration.retries = urllib3.Retry(2, redirect=False, backoff_factor=0.2)  # a redirection leads to a login page
    client._run_api.api_client.rest_client = PatientRest(configuration)
    return client


@contextlib.contextmanager
def answers(host: str) -> Iterator[None]:
    """The client's exceptions as a PlatformError that names Kubeflow, the cause and the fix."""
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
            f"{where} cannot be reached: {cause}", fix or f"Is this its address? Within reach by: {PORT_FORWARD}"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:  # not JSON, not the JSON of this API, or cut off
        raise PlatformError(
            f"{where} answers, but not as its API does ({type(error).__name__})",
            "Does a login page or another server stand there? Give a fresh token (KF_PIPELINES_TOKEN) or cookie (KF_PIPELINES_COOKIE).",
        ) from error


def _refusal(where: str, error: Any) -> PlatformError:  # noqa: ANN401 - ApiException
    log_in = "Give a fresh one: KF_PIPELINES_TOKEN, --token-file, or KF_PIPELINES_COOKIE from your browser."
    if not error.status:  # TLS
        return PlatformError(
            f"{where} cannot be reached: {error.reason}", "Set KF_PIPELINES_SSL_CA_CERT to its authority's certificate."
        )
    if 300 <= error.status < 400 or error.status == HTTPStatus.UNAUTHORIZED:
        return PlatformError(f"{where} asks to log in ({error.status}): the token or cookie is missing or has expired", log_in)
    said = f"({error.status}): {_message(error)}"
    if error.status == HTTPStatus.FORBIDDEN:
        return PlatformError(
            f"{where} does not allow it {said}", "Ask for access to that namespace, or name yours with --namespace."
        )
    if error.status >= 500:
        return PlatformError(f"{where} failed {said}", "See kubectl -n kubeflow logs deploy/ml-pipeline, and try again.")
    return PlatformError(f"{where} refused it {said}", "Does it run version 2.17? See the message.")


def _message(error: Any) -> str:  # noqa: ANN401 - ApiException
    """The message of the status that the API answers with; the bare reason of another server."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body).get("message") or error.reason).split("\n")[0][:300]
    return str(error.reason)[:100]
