"""Connects commands to Kubeflow Pipelines."""

from typing import TYPE_CHECKING

from mynah.core.progress import waiting
from pipelines.kubeflow.cluster_spec import Connection

if TYPE_CHECKING:
    from pipelines.kubeflow.api import Kubeflow


def connect(connection: Connection) -> "Kubeflow":
    """Connect to Kubeflow Pipelines, and check that it answers. Raises as `Kubeflow.connect`."""
    with waiting("Connecting to Kubeflow"):
        from pipelines.kubeflow.api import Kubeflow

        return Kubeflow.connect(connection.endpoint, connection.namespace, connection.token_file)
