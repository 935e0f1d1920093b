"""Check before a run that its cluster can train it on several nodes, and has the queue that it names."""

from http import HTTPStatus

from mynah.core.errors import InputError, PlatformError
from mynah.kubernetes.cluster import Cluster, Resource
from mynah.kubernetes.errors import http_status
from mynah.kubernetes.train_jobs import RUNTIME, RUNTIMES, TRAIN_JOBS, TRAINER

QUEUES = Resource("kueue.x-k8s.io", "v1beta2", "localqueues", ("get",))
KUEUE = (
    "Install Kueue 0.19 and apply k8s/components/kueue with your teams (docs/training-on-several-nodes.md); or leave --queue out."
)


def require_training(cluster: Cluster, namespace: str, nodes: int, queue: str) -> None:
    """Check that TrainJobs and the queue are there, as far as these permissions show it.

    Args:
        cluster: The cluster of the run.
        namespace: The namespace of the run's pods.
        nodes: The nodes that train together.
        queue: The LocalQueue; "" for none.

    Raises:
        InputError: Kubeflow Trainer, its TrainingRuntime, Kueue or the queue is missing.
        PlatformError: The API fails.
    """
    if nodes > 1:
        if TRAIN_JOBS.plural not in cluster.kinds(TRAIN_JOBS.group, TRAIN_JOBS.version):
            raise InputError(
                f"--nodes {nodes} needs Kubeflow Trainer, and the cluster at {cluster.host} has no TrainJob", TRAINER
            )
        if not _may_exist(cluster, RUNTIMES, namespace, RUNTIME):
            raise InputError(f"there is no TrainingRuntime {RUNTIME!r} in namespace {namespace}", TRAINER)
    if queue:
        if QUEUES.plural not in cluster.kinds(QUEUES.group, QUEUES.version):
            raise InputError(f"--queue {queue} needs Kueue, and the cluster at {cluster.host} has no LocalQueue", KUEUE)
        if not _may_exist(cluster, QUEUES, namespace, queue):
            raise InputError(
                f"there is no LocalQueue {queue!r} in namespace {namespace}", f"kubectl get localqueues --namespace {namespace}"
            )


def _may_exist(cluster: Cluster, kind: Resource, namespace: str, name: str) -> bool:
    """Return whether an object exists; true where these permissions do not show it."""
    try:
        return cluster.call("GET", kind.path(namespace, name), rule=kind.rule) is not None
    except PlatformError as error:
        if http_status(error) != HTTPStatus.FORBIDDEN:
            raise
        return True
