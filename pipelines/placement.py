"""How a cluster runs the steps: images, resources, the GPU node pool, retries and secrets.

Kubeflow Pipelines 2.17 cannot set a pod's PriorityClass. Let the namespace's quota or an admission policy assign `mynah-training` to
the pods labelled app.kubernetes.io/component=pipeline.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import InputError
from mynah.core.settings import (
    AWS_ACCESS_KEY_ID,
    AWS_DEFAULT_REGION,
    AWS_ENDPOINT_URL_S3,
    AWS_REGION,
    AWS_SECRET_ACCESS_KEY,
    HF_HUB_OFFLINE,
    MLFLOW_TRACKING_PASSWORD,
    MLFLOW_TRACKING_URI,
    MLFLOW_TRACKING_USERNAME,
    MYNAH_CHECKPOINT_SECONDS,
    MYNAH_IMAGE,
    MYNAH_LOCK,
    MYNAH_MLFLOW_URL,
    MYNAH_NODE_KIND,
    MYNAH_S3_BUCKET,
    MYNAH_TRAIN_NODES,
    MYNAH_WAIT_SECONDS,
    X_BEARER_TOKEN,
)
from pipelines.flat_signature import FIXED, MadeBy
from pipelines.node_options import NODES_STEP, QUEUE_LABEL, WAITING_CPU, WAITING_MEMORY, Nodes, Queue, node_request, require_queue

if TYPE_CHECKING:
    from kfp.dsl import PipelineConfig, PipelineTask

    from components.deploy.nodes import PodRequest
    from pipelines.training_size import TrainingSize

SETTINGS = "mynah-settings"  # the ConfigMap with the addresses of MLflow and S3 and other settings of an installation
# All are optional. MYNAH_CHECKPOINTS is excluded: a cluster's states are in its bucket, where `mynah forget` finds them.
SETTING_KEYS = tuple(
    variable.name for variable in (
        MLFLOW_TRACKING_URI, AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_DEFAULT_REGION, MYNAH_S3_BUCKET, MYNAH_CHECKPOINT_SECONDS,
        MYNAH_MLFLOW_URL, MYNAH_WAIT_SECONDS,
    )
)  # fmt: skip
# All secrets are optional: S3 needs none with workload identity, and MLflow none without basic authentication.
SECRETS: dict[str, tuple[str, ...]] = {
    "mynah-s3": (AWS_ACCESS_KEY_ID.name, AWS_SECRET_ACCESS_KEY.name),
    "mynah-mlflow": (MLFLOW_TRACKING_USERNAME.name, MLFLOW_TRACKING_PASSWORD.name),
}
# Secrets that only one step receives.
SECRETS_OF: dict[str, dict[str, tuple[str, ...]]] = {"fetch": {"mynah-x": (X_BEARER_TOKEN.name,)}}
# Taints of GPU and of spot nodes; tolerating one that a cluster does not have does no harm.
TAINTS = (
    "nvidia.com/gpu",
    "cloud.google.com/gke-spot",  # https://cloud.google.com/kubernetes-engine/docs/concepts/spot-vms
    "kubernetes.azure.com/scalesetpriority",  # https://learn.microsoft.com/azure/aks/spot-node-pool
    "karpenter.sh/capacity-type",  # EKS sets no taint on spot nodes; these are common choices
    "eks.amazonaws.com/capacityType",
)
HOUR = 3600
LABELS = {
    "app.kubernetes.io/name": "mynah", "app.kubernetes.io/component": "pipeline", "app.kubernetes.io/part-of": "mynah",
    "app.kubernetes.io/managed-by": "kubeflow-pipelines",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepResources:
    """The resources of a step. CPU in cores, memory in Kubernetes' notation, time in seconds."""

    target: str  # of images/Containerfile: data or train
    cpu: tuple[str, str]  # request and limit
    memory: tuple[str, str]
    timeout: int  # of one attempt; 0: the deadline of the run
    cached: bool = False
    retries: int = 2
    backoff: str = "10s"  # before the second attempt; doubled before each further one


# Steps with effects outside the pipeline, or that read what changes outside it, are not cached. The key of Kubeflow's cache contains the
# image's name and the inputs, but no environment. The image's digest or tag identifies the code, and the MLflow run is an input, so a
# cached result is reused only within the run that recorded it.
NEEDS = {
    "fetch": StepResources("data", ("250m", "1"), ("1Gi", "2Gi"), 2 * HOUR),
    "filter-posts": StepResources("data", ("250m", "1"), ("1Gi", "2Gi"), HOUR),  # whether there are news, the registry decides
    "trial": StepResources("train", ("2", "8"), ("8Gi", "16Gi"), 0, retries=3, backoff="60s"),  # reads its siblings' results
    "choose": StepResources("train", ("250m", "1"), ("1Gi", "2Gi"), HOUR),
    "finetune": StepResources("train", ("2", "8"), ("8Gi", "16Gi"), 0, cached=True, retries=3, backoff="60s"),
    "evaluate": StepResources("train", ("1", "4"), ("4Gi", "8Gi"), 2 * HOUR, cached=True),
    "register": StepResources("train", ("500m", "2"), ("2Gi", "4Gi"), 2 * HOUR),  # with the card, the promotion and the service
    "finish-run": StepResources("data", ("100m", "1"), ("512Mi", "1Gi"), HOUR // 2),
}
TRAIN = ("trial", "finetune")  # the steps that use a GPU
OF_SWEEPS = ("trial", "choose")  # the steps of a search alone


ImagesFile = Annotated[Path | None, typer.Option(help="build/images.json, instead of MYNAH_DATA_IMAGE and MYNAH_TRAIN_IMAGE.")]
Gpu = Annotated[bool, typer.Option("--gpu/--no-gpu", help="Fine-tune on the GPU node pool, or on any node.")]
GpuPool = Annotated[str, typer.Option(metavar="LABEL=VALUE", help="The label of the GPU nodes.")]
Gpus = Annotated[int, typer.Option(min=1, max=16, help="The number of GPUs of one node that fine-tuning uses.")]
GpuKind = Annotated[str, typer.Option(help="The kind of GPU node, which determines its price: gpu or gpu-spot.")]
KeepMinutes = Annotated[
    float, typer.Option(metavar="MINUTES", help="Minutes for which Kubernetes keeps the pods and the Workflow of an ended run.")
]
MIN_KEEP_MINUTES = 2  # Kubeflow's persistence agent looks at every Workflow at least every 30 s (its --resyncInterval's default)
Deadline = Annotated[float, typer.Option(metavar="HOURS", help="Hours after which the run is ended.")]


def images_of(images: ImagesFile = None) -> Mapping[str, str]:
    """Return the images of the steps by target, from a file that `make images` wrote or from the environment.

    Raises:
        InputError: the file is not such a file.
    """
    from components.images import image  # `mynah --help` imports this module, and must not import components

    return read_images(images) if images else {target: image(target) for target in ("data", "train")}


@dataclass(frozen=True, slots=True)
class Placement:
    """How a cluster runs the pipelines. Raises InputError for an invalid value."""

    images: Annotated[Mapping[str, str], MadeBy(images_of)] = field(default_factory=images_of)
    gpu: Gpu = True
    gpu_pool: GpuPool = "mynah.dev/pool=gpu"
    gpus: Gpus = 1  # of a pod; several are used with torchrun
    gpu_kind: GpuKind = "gpu"  # of prices.yaml; gpu-spot for a spot pool
    nodes: Nodes = 1  # that fine-tune together, as a TrainJob
    queue: Queue = ""  # of Kueue, for what trains
    deadline: Deadline = 24.0  # hours after which the whole run is ended
    shared_memory: Annotated[str, FIXED] = "2Gi"  # of /dev/shm, for torch's workers; Kubernetes' default is 64 MB
    keep_minutes: KeepMinutes = 30.0
    pull_policy: Annotated[str, FIXED] = "IfNotPresent"
    size: Annotated["TrainingSize | None", FIXED] = None  # of what is trained; None requests what the default base model needs
    lock: Annotated[str, FIXED] = "lease:mynah"  # MYNAH_LOCK: the lock shared with promotions from other clusters and laptops

    def __post_init__(self) -> None:
        from mynah.core.machine import (
            price_per_hour,
        )  # imports PyYAML, which `mynah --help`, an importer of this module, must not

        for target, name in self.images.items():
            pinned_image(target, name)
        if not re.fullmatch(r"[A-Za-z0-9./_-]+=[A-Za-z0-9._-]+", self.gpu_pool):
            raise InputError(
                f"the GPU node pool {self.gpu_pool[:80]!r} is no label", "Write KEY=VALUE, as its nodes are labelled."
            )
        if not 0 < self.deadline <= 24 * 30:
            raise InputError(f"a run of {self.deadline:g} hours cannot be", "Give --deadline 1 to 720 hours.")
        if not MIN_KEEP_MINUTES <= self.keep_minutes <= 60 * 24 * 365:
            raise InputError(
                f"pods of ended runs cannot be kept for {self.keep_minutes:g} minutes",
                f"Give --keep-minutes {MIN_KEEP_MINUTES} to 525600: before that, Kubeflow may not have read how they ended.",
            )
        price_per_hour(self.gpu_kind)
        require_queue(self.queue)

    def place(self, task: "PipelineTask") -> "PipelineTask":
        """Configure a task of a pipeline for the cluster, and return it."""
        from kfp import kubernetes

        step = task.component_spec.name
        needs = self.needs(step)
        task.set_container_image(self.images[needs.target])
        cpu, memory = (WAITING_CPU, WAITING_MEMORY) if self._on_nodes(step) else (needs.cpu, needs.memory[0])
        task.set_cpu_request(cpu[0]).set_cpu_limit(cpu[1])
        task.set_memory_request(memory).set_memory_limit(needs.memory[1])
        task.set_caching_options(enable_caching=needs.cached)
        # kfp's backoff_max_duration is Argo's maxDuration: the time limit of all attempts, from the start of the first.
        whole = int(self.deadline * HOUR)
        task.set_retry(needs.retries, needs.backoff, 2.0, f"{whole}s")
        for name, value in self._environment(step, needs).items():
            task.set_env_variable(name, value)
        kubernetes.set_timeout(task, needs.timeout or whole)
        kubernetes.set_image_pull_policy(task, self.pull_policy)
        kubernetes.set_security_context(task, run_as_non_root=True)
        kubernetes.use_config_map_as_env(task, SETTINGS, {key: key for key in SETTING_KEYS}, optional=True)
        for secret, keys in {**SECRETS, **SECRETS_OF.get(step, {})}.items():
            kubernetes.use_secret_as_env(task, secret, {key: key for key in keys}, optional=True)
        for label, value in LABELS.items():
            kubernetes.add_pod_label(task, label, value)
        if self.queue and step in TRAIN and not self._on_nodes(step):
            kubernetes.add_pod_label(task, QUEUE_LABEL, self.queue)
        if self._on_gpu(step) and not self._on_nodes(step):
            self._place_on_gpu(task)
        return task

    def needs(self, step: str) -> StepResources:
        """Return what a step requests and may take: on a processor by what is trained."""
        needs = NEEDS[step]
        requested = self.size.requests(step) if self.size and not self._on_gpu(step) else None
        if not requested:
            return needs
        cpu, memory = requested
        twice = f"{2 * int(memory.removesuffix('Mi'))}Mi"
        return replace(needs, cpu=(cpu, needs.cpu[1]), memory=(memory, twice))

    def pod_requests(self, steps: Iterable[str]) -> "list[PodRequest]":
        """Return what the pods of steps request of a node."""
        from components.deploy.nodes import PodRequest
        from mynah.kubernetes.quantities import amount

        found = []
        for step in steps:
            needs, (label, tolerated) = self.needs(step), (self.gpu_pool, TAINTS) if self._on_gpu(step) else ("", ())
            found.append(PodRequest(step, amount(needs.cpu[0]), amount(needs.memory[0]), label, tolerated))
        return found

    def config(self) -> "PipelineConfig":
        """Return the limits of a run: its deadline, and the time for which Kubernetes keeps it."""
        from kfp.dsl import PipelineConfig

        kept = int(self.keep_minutes * 60)
        return PipelineConfig(  # all three: Argo's defaults of a cluster may set the others, which win
            ttl_seconds_after_finished=kept, ttl_seconds_after_success=kept, ttl_seconds_after_failure=kept,
            active_deadline_seconds=int(self.deadline * HOUR),
        )  # fmt: skip

    def _on_gpu(self, step: str) -> bool:
        return self.gpu and step in TRAIN

    def _on_nodes(self, step: str) -> bool:
        """Whether the step only waits for a TrainJob, whose nodes have its resources."""
        return self.nodes > 1 and step == NODES_STEP

    def _environment(self, step: str, needs: StepResources) -> dict[str, str]:
        kind = self.gpu_kind if self._on_gpu(step) else "cpu"
        variables = {
            MYNAH_NODE_KIND.name: kind,
            MYNAH_IMAGE.name: self.images[needs.target],
            HF_HUB_OFFLINE.name: "1",
            "HOME": "/tmp",  # noqa: S108 - in the pod
        }
        if step in (*TRAIN, "evaluate"):
            del variables[HF_HUB_OFFLINE.name]  # a base model may come from the hub
        if self._on_nodes(step):
            variables[MYNAH_NODE_KIND.name] = f"{self.nodes} x {kind}"  # what it costs
            variables[MYNAH_TRAIN_NODES.name] = node_request(self, needs)
        if step == "register":  # which promotes
            variables[MYNAH_LOCK.name] = self.lock
        return variables

    def _place_on_gpu(self, task: "PipelineTask") -> None:
        from kfp import kubernetes

        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(self.gpus)
        label, _, value = self.gpu_pool.partition("=")
        kubernetes.add_node_selector(task, label, value)
        for taint in TAINTS:
            kubernetes.add_toleration(task, key=taint, operator="Exists", effect="NoSchedule")
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=self.shared_memory)  # noqa: S108 - in the pod


def read_images(path: Path) -> dict[str, str]:
    """Return the images of build/images.json: {"data": "REF@sha256:…", "train": …}. Raises InputError for an invalid file."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the images in {path} cannot be read: {error}", "Write it with `make images`.") from error
    if not isinstance(record, dict) or not all(isinstance(record.get(target), str) for target in ("data", "train")):
        raise InputError(f"{path} does not name the images data and train", "Write it with `make images`.")
    return {target: record[target] for target in ("data", "train")}


REFERENCE = re.compile(r"[a-z0-9]+(?:[._/:-]+[A-Za-z0-9]+)*(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{64})?")


def pinned_image(target: str, name: str) -> str:
    """Return the name of an image that identifies one version.

    Kubeflow's cache and the nodes treat equal names as equal images, so with `latest` they would run old code.

    Args:
        target: data or train, for the message.
        name: the image's name.

    Raises:
        InputError: the name is invalid or has neither a digest nor a tag other than `latest`.
    """
    tag = name.rpartition("/")[2].partition(":")[2]
    if not REFERENCE.fullmatch(name):
        raise InputError(f"the image {name[:100]!r} ({target}) is no image's name", "Write REGISTRY/NAME@sha256:… or NAME:TAG.")
    if "@" not in name and tag in ("", "latest"):
        raise InputError(
            f"the image {name!r} ({target}) does not say which version it is",
            "Name its digest (NAME@sha256:…) or a tag of its own.",
        )
    return name
