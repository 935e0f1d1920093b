"""What Mynah uses of MLflow beyond its documented interface, in one place.

Read in the source of the version below, which constraints.txt pins: another version may have moved it. `tests/code/test_compat.py` fails
when the pin moves without this module.
"""

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

WRITTEN_FOR = {"mlflow": "3.17.2", "mlflow-skinny": "3.17.2"}


def registry_client(api: "MlflowClient") -> Any:  # noqa: ANN401 - MLflow's ModelRegistryClient, which it does not export
    """Return MLflow's client of the registry alone: `MlflowClient` checks before each write that the model is not a prompt."""
    return api._get_registry_client()


def proxied_artifacts(uri: str, tracking_uri: str) -> Any:  # noqa: ANN401 - MlflowArtifactsRepository
    """Return the artifacts at `uri`, an address behind the proxy of the MLflow server `tracking_uri`."""
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    return MlflowArtifactsRepository(uri, tracking_uri)


def artifact_request(artifacts: Any, method: str, name: str, **options: Any) -> Any:  # noqa: ANN401 - a response of requests
    """Send one HTTP request for the file `name` of `proxied_artifacts`; the response may have any status."""
    from mlflow.utils.rest_utils import http_request

    return http_request(artifacts._host_creds, f"/{name}", method, **options)


def server_request(tracking_uri: str, endpoint: str, **options: Any) -> Any:  # noqa: ANN401 - a response of requests
    """Send one GET request to `endpoint` of the MLflow server, with MLflow's credentials; the response may have any status."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    return http_request(get_default_host_creds(tracking_uri), endpoint, "GET", **options)


def machine_monitors() -> list[Any]:
    """Return MLflow's monitors of this machine's processors and memory, and of its GPUs where there are any."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors = [CPUMonitor()]
    with contextlib.suppress(ImportError, RuntimeError):  # no GPU
        monitors.append(GPUMonitor())
    return monitors
