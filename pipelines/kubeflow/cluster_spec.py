"""The settings of a run on a cluster beyond its specification: placement, schedule, service account and deployment."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from mynah.core.settings import (
    KF_PIPELINES_ENDPOINT,
    KF_PIPELINES_NAMESPACE,
    KF_PIPELINES_SA_TOKEN_PATH,
    MYNAH_KUBE_CONTEXT,
    MYNAH_S3_BUCKET,
)
from pipelines.compile import AT_ONCE
from pipelines.kubeflow.cron import kubeflow_cron
from pipelines.placement import Placement

Schedule = Annotated[
    str, typer.Option(metavar="CRON", help='Create a recurring run, e.g. "0 3 * * 1"; a run without new posts does nothing.')
]
ServeIn = Annotated[
    str,
    typer.Option(
        metavar="NAMESPACE",
        help="Deploy the champion as its own InferenceService in this namespace (k8s/components/serve-in) instead of the aviary.",
    ),
]
AtOnce = Annotated[int, typer.Option(min=1, max=100, help="The number of concurrent bots of a fleet, or trials of a sweep.")]
Parallel = Annotated[int, typer.Option("--parallel", min=1, max=100, help="The number of concurrent trials.")]
Account = Annotated[str, typer.Option(help="The Kubernetes ServiceAccount of the run's pods.")]
Bucket = Annotated[
    str,
    typer.Option(envvar=MYNAH_S3_BUCKET.name, help="The bucket of the installation, for specifications, posts and hand-overs."),
]
Context = Annotated[
    str,
    typer.Option(
        envvar=MYNAH_KUBE_CONTEXT.name,
        help="The cluster's kubeconfig context, to check first that a GPU node offers the --gpus.",
    ),
]
Endpoint = Annotated[str, typer.Option(envvar=KF_PIPELINES_ENDPOINT.name, help="The URL of Kubeflow Pipelines' API.")]
Namespace = Annotated[
    str, typer.Option(envvar=KF_PIPELINES_NAMESPACE.name, help="Your profile's namespace in a multi-user installation.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar=KF_PIPELINES_SA_TOKEN_PATH.name, help="A file with a token, instead of KF_PIPELINES_TOKEN or KF_PIPELINES_COOKIE."
    ),
]


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """How a cluster runs a bot or a fleet.

    Raises:
        InputError: The schedule is not a cron expression, or a value of `Placement` is invalid.
    """

    schedule: Schedule = ""  # cron; "" for one run, now
    serve_in: ServeIn = ""  # the namespace of a single bot's service; "": the aviary serves it
    placement: Placement = field(default_factory=Placement)
    at_once: AtOnce = AT_ONCE
    service_account: Account = "mynah-pipeline"
    bucket: Bucket = ""  # "" for MYNAH_S3_BUCKET
    context: Context = ""

    def __post_init__(self) -> None:
        if self.schedule:
            kubeflow_cron(self.schedule)

    @property
    def own_bucket(self) -> str:
        """The bucket of the installation, or ""."""
        return self.bucket or MYNAH_S3_BUCKET.get()


@dataclass(frozen=True, slots=True)
class Connection:
    """The address of Kubeflow Pipelines' API, and the credentials for it."""

    endpoint: Endpoint = ""
    namespace: Namespace = ""
    token_file: TokenFile = None
