"""A TrainJob of Kubeflow Trainer: the pods of several nodes that train one model together.

https://trainer.kubeflow.org: Trainer makes a JobSet of it, and sets in each pod what torchrun needs to find the others (PET_NNODES,
PET_NODE_RANK, PET_MASTER_ADDR and others). What every such pod has, the TrainingRuntime of k8s/components/trainer says.

The project's own client applies it, not the `kubeflow` SDK: that adds the API models of Trainer and Katib and pydantic to the image of the
steps, needs rights to list runtimes and to read pods' logs, and cannot set an owner, which removes the TrainJob with the step's pod.

It needs this rule in a Role of the step's namespace, beside the `get` and `list` of pods that Kubeflow's launcher has:

    {apiGroups: [trainer.kubeflow.org], resources: [trainjobs], verbs: [get, create, patch, delete]}
"""

import contextlib
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from mynah.core.errors import InputError, PlatformError
from mynah.core.settings import MYNAH_IMAGE, MYNAH_NODE_KIND
from mynah.kubernetes.cluster import Cluster, Object, Resource
from mynah.kubernetes.errors import api_status
from mynah.kubernetes.train_jobs import RUNTIME, TRAIN_JOBS, TRAINER
from mynah.training.node_request import NodeRequest

PODS = Resource("", "v1", "pods", ("get", "list"))
MANAGER = "mynah"
JOB = "node"  # Trainer's name of the JobSet's job and of the container that trains
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
JOB_SET_LABEL = "jobset.sigs.k8s.io/jobset-name"
LABELS = {"app.kubernetes.io/name": "mynah", "app.kubernetes.io/component": "pipeline", "app.kubernetes.io/part-of": "mynah"}
GPU = "nvidia.com/gpu"
COMMAND = ("python", "-m", "components.finetune.train_node")


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A TrainJob in a cluster."""

    cluster: Cluster
    namespace: str
    name: str

    def state(self) -> Object:
        """Return its conditions by type: Suspended, Complete, Failed. Raises PlatformError when it is gone, or the API fails."""
        live = self.cluster.call("GET", TRAIN_JOBS.path(self.namespace, self.name), rule=TRAIN_JOBS.rule)
        if not isinstance(live, dict):
            raise PlatformError(
                f"the TrainJob {self.namespace}/{self.name} was deleted while it trained",
                "Submit the run again: it resumes from its last training state.",
            )
        return {each["type"]: each for each in (live.get("status") or {}).get("conditions") or []}

    def waits_for(self) -> str:
        """Return what its pods wait for, as Kubernetes says it; "" when nothing is known. Raises PlatformError."""
        query = (("labelSelector", f"{JOB_SET_LABEL}={self.name}"),)
        listed = self.cluster.call("GET", PODS.path(self.namespace), query=query, rule=PODS.rule) or {}
        return next(filter(None, map(_trouble, listed.get("items") or [])), "")

    def delete(self) -> None:
        """Delete it with its pods, if it exists. Raises PlatformError when the API fails or denies access."""
        path = TRAIN_JOBS.path(self.namespace, self.name)
        self.cluster.call("DELETE", path, query=(("propagationPolicy", "Foreground"),), rule=TRAIN_JOBS.rule)


@contextlib.contextmanager
def train_job(cluster: Cluster, namespace: str, request: NodeRequest, job: str) -> Iterator[TrainJob]:
    """Create a TrainJob, and delete it when the block ends, however it ends.

    Args:
        cluster: The cluster of the step's pod.
        namespace: The namespace of the step's pod.
        request: The nodes.
        job: The reference of what they train (node_exchange.py).

    Raises:
        InputError: Kubeflow Trainer is not installed, or its TrainJob lacks a field.
        PlatformError: The API, a webhook or a quota refuses it.
    """
    made = TrainJob(cluster, namespace, f"mynah-{secrets.token_hex(6)}")
    try:
        _apply(cluster, manifest(request, made.name, namespace, job, own_pod(cluster, namespace)))
        yield made
    finally:
        with contextlib.suppress(PlatformError):  # its owner is this pod, with which Kubernetes removes it
            made.delete()


def manifest(request: NodeRequest, name: str, namespace: str, job: str, owner: Object | None = None) -> Object:
    """Return the TrainJob.

    Args:
        request: The nodes.
        name: Its name, which the JobSet and the pods' Service get too.
        namespace: Its namespace.
        job: The reference of what the nodes train.
        owner: An ownerReference: with that object Kubernetes removes the TrainJob.
    """
    gpus = {GPU: str(request.gpus)} if request.gpus else {}
    labels = {**LABELS, **({QUEUE_LABEL: request.queue} if request.queue else {})}
    metadata: Object = {"name": name, "namespace": namespace, "labels": labels}
    spec: Object = {
        "runtimeRef": {"apiGroup": TRAIN_JOBS.group, "kind": "TrainingRuntime", "name": RUNTIME},
        "trainer": {
            "image": request.image,
            "command": list(COMMAND),
            "args": [job],
            "numNodes": request.nodes,
            "numProcPerNode": request.processes,
            "env": [{"name": MYNAH_NODE_KIND.name, "value": request.kind}, {"name": MYNAH_IMAGE.name, "value": request.image}],
            "resourcesPerNode": {
                "requests": {"cpu": request.cpu[0], "memory": request.memory[0], **gpus},
                "limits": {"cpu": request.cpu[1], "memory": request.memory[1], **gpus},
            },
        },
    }
    if request.gpus:
        label, _, value = request.pool.partition("=")
        pods = {"template": {"spec": {"template": {"spec": {"nodeSelector": {label: value}}}}}}
        template = {"spec": {"replicatedJobs": [{"name": JOB, **pods}]}}
        spec["runtimePatches"] = [{"manager": "mynah.dev/submit", "trainingRuntimeSpec": {"template": template}}]
    if owner:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": f"{TRAIN_JOBS.group}/{TRAIN_JOBS.version}", "kind": "TrainJob", "metadata": metadata, "spec": spec}


def own_pod(cluster: Cluster, namespace: str) -> Object | None:
    """Return an ownerReference to this pod; None where this process runs in none that the API knows. Raises PlatformError."""
    pod = cluster.call("GET", PODS.path(namespace, socket.gethostname()), rule=PODS.rule)
    if not isinstance(pod, dict) or not cluster.in_pod:
        return None
    return {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}


def _apply(cluster: Cluster, wanted: Object) -> None:
    metadata = wanted["metadata"]
    path = TRAIN_JOBS.path(metadata["namespace"], metadata["name"])
    query = (("fieldManager", MANAGER), ("fieldValidation", "Strict"), ("force", "true"))
    headers = {"Content-Type": "application/apply-patch+yaml"}  # JSON is YAML
    try:
        done = cluster.call("PATCH", path, wanted, query=query, headers=headers, rule=TRAIN_JOBS.rule)
    except PlatformError as error:
        if "admission webhook" in (said := str(api_status(error).get("message", ""))):
            raise InputError(
                f"Kubeflow Trainer or Kueue refused the TrainJob: {' '.join(said.split())[:400]}", TRAINER
            ) from error
        raise
    if done is None:
        raise InputError(f"the cluster at {cluster.host} has no TrainJob: Kubeflow Trainer is not installed there", TRAINER)


def _trouble(pod: Object) -> str:
    """Return why a pod does not start: the scheduler's words, or a container's reason to wait; "" for one that runs."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{name}: {condition.get('message') or condition.get('reason', '')}"
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{name}: {waiting['reason']} {waiting.get('message', '')}".strip()
    return ""
