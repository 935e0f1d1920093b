"""The options for training on several nodes and for the queues of Kueue, and what they ask of the step finetune."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import InputError

if TYPE_CHECKING:
    from pipelines.placement import Placement, StepResources

Nodes = Annotated[
    int,
    typer.Option(
        min=1, max=64, help="The number of nodes that fine-tune together, each with --gpus; more than 1 needs Kubeflow Trainer."
    ),
]
Queue = Annotated[
    str, typer.Option(metavar="LOCALQUEUE", help="The LocalQueue of Kueue in the runs' namespace that admits what trains.")
]
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
QUEUE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NODES_STEP = "finetune"  # trials of a sweep train on one node each
WAITING_CPU = ("100m", "1")  # of a step that waits for its nodes
WAITING_MEMORY = "1Gi"


def require_queue(queue: str) -> None:
    """Raise InputError for a text that is no name of a LocalQueue."""
    if queue and not QUEUE.fullmatch(queue):
        raise InputError(
            f"the queue {queue[:80]!r} is no name of a LocalQueue", "kubectl get localqueues --namespace kubeflow lists them."
        )


def node_request(placement: "Placement", needs: "StepResources") -> str:
    """Return the request of the nodes of a run, for MYNAH_TRAIN_NODES.

    Args:
        placement: How the cluster runs the pipelines.
        needs: The resources of the step, which each node gets.
    """
    from mynah.training.node_request import CPU_KIND, NodeRequest

    request = NodeRequest(
        nodes=placement.nodes, image=placement.images[needs.target], kind=placement.gpu_kind if placement.gpu else CPU_KIND,
        cpu=needs.cpu, memory=needs.memory, gpus=placement.gpus if placement.gpu else 0,
        pool=placement.gpu_pool if placement.gpu else "", queue=placement.queue,
    )  # fmt: skip
    return request.to_json()
