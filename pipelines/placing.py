"""Where a cluster runs the steps, and with what: images, resources, the GPU node pool, retries, secrets; all of it in one place.

What Kubeflow Pipelines 2.17 cannot say is not here: a pod's PriorityClass. Let the namespace's quota or an admission policy give
`mynah-training` to the pods labelled app.kubernetes.io/component=pipeline.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import InputError
from components.machine import price_per_hour
from components.steps import image

if TYPE_CHECKING:
    from kfp.dsl import PipelineConfig, PipelineTask

SETTINGS = "mynah-settings"  # ConfigMap: where MLflow and S3 are, and what else an installation chooses
# Each optional. MYNAH_CHECKPOINTS is none of them: states of a cluster lie in its bucket, where `mynah forget` finds them from any machine.
SETTING_KEYS = (
    "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "MYNAH_S3_BUCKET", "MYNAH_CHECKPOINT_SECONDS",
    "MYNAH_MLFLOW_URL",
)  # fmt: skip
# Secrets, each optional: with workload identity there is no key to S3, and without basic auth none to MLflow.
SECRETS: dict[str, tuple[str, ...]] = {
    "mynah-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "mynah-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}
# Those of a single step: no other has a use for them.
SECRETS_OF: dict[str, dict[str, tuple[str, ...]]] = {"fetch": {"mynah-x": ("X_BEARER_TOKEN",)}}
# Taints of GPU and of spot nodes; tolerating one that a cluster does not have does no harm.
TAINTS = (
    "nvidia.com/gpu",
    "cloud.google.com/gke-spot",  # https://cloud.google.com/kubernetes-engine/docs/concepts/spot-vms
    "kubernetes.azure.com/scalesetpriority",  # https://learn.microsoft.com/azure/aks/spot-node-pool
    "karpenter.sh/capacity-type",  # EKS taints no spot node by itself; these are what people name theirs after
    "eks.amazonaws.com/capacityType",
)
HOUR = 3600
LABELS = {
    "app.kubernetes.io/name": "mynah", "app.kubernetes.io/component": "pipeline", "app.kubernetes.io/part-of": "mynah",
    "app.kubernetes.io/managed-by": "kubeflow-pipelines",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Needs:
    """What one step asks of a node. CPU in cores, memory in Kubernetes' notation, time in seconds."""

    target: str  # of images/Containerfile: data or train
    cpu: tuple[str, str]  # request and limit
    memory: tuple[str, str]
    timeout: int  # of one attempt; 0: as long as the run may take
    cached: bool = False
    retries: int = 2
    backoff: str = "10s"  # before the second attempt, and twice as long before each further one


LIGHT = Needs("data", ("100m", "1"), ("512Mi", "1Gi"), HOUR // 2)
# What has an effect outside the pipeline, or reads what changes outside it, is never taken from Kubeflow's cache. The cache's key
# holds the image's name and the inputs, but no environment: the code's version is in the image's digest or tag, and the MLflow run is
# among the inputs, so that a step is taken from the cache only within the run that recorded it.
NEEDS = {
    "begin": LIGHT,
    "fetch": Needs("data", ("250m", "1"), ("1Gi", "2Gi"), 2 * HOUR),
    "filter-posts": Needs("data", ("250m", "1"), ("1Gi", "2Gi"), HOUR, cached=True),
    "news": LIGHT,
    "trial": Needs("train", ("2", "8"), ("8Gi", "16Gi"), 0, retries=3, backoff="60s"),  # reads what its siblings found
    "choose": Needs("train", ("250m", "1"), ("1Gi", "2Gi"), HOUR),
    "finetune": Needs("train", ("2", "8"), ("8Gi", "16Gi"), 0, cached=True, retries=3, backoff="60s"),
    "evaluate": Needs("train", ("1", "4"), ("4Gi", "8Gi"), 2 * HOUR, cached=True),
    "card": Needs("data", ("250m", "1"), ("1Gi", "2Gi"), HOUR),
    "register": Needs("train", ("250m", "1"), ("2Gi", "4Gi"), HOUR),
    "promote": Needs("train", ("500m", "2"), ("2Gi", "4Gi"), HOUR),
    "deploy": Needs("train", ("100m", "1"), ("1Gi", "2Gi"), HOUR),
    "close": LIGHT,
}
TRAIN = ("trial", "finetune")  # the steps that a GPU is for


@dataclass(frozen=True, slots=True)
class Placement:
    """How a cluster runs the pipelines; refuses nonsense when it is built."""

    images: Mapping[str, str] = field(default_factory=lambda: {target: image(target) for target in ("data", "train")})
    gpu: bool = True
    gpu_pool: str = "mynah.dev/pool=gpu"  # the label of the nodes that fine-tune
    gpus: int = 1  # of a pod; several train together, by torchrun
    gpu_kind: str = "gpu"  # of prices.yaml; gpu-spot for a spot pool
    shared_memory: str = "2Gi"  # /dev/shm, for torch's workers; Kubernetes gives 64 MB
    hours: float = 24.0  # after which the whole run is ended
    keep_days: float = 7.0  # that Kubernetes keeps the finished workflow with its pods
    pull_policy: str = "IfNotPresent"
    lock: str = "lease:mynah"  # MYNAH_LOCK: where promotions from other clusters and laptops wait for ours

    def __post_init__(self) -> None:
        for target, name in self.images.items():
            pinned_image(target, name)
        if not re.fullmatch(r"[A-Za-z0-9./_-]+=[A-Za-z0-9._-]+", self.gpu_pool):
            raise InputError(
                f"the GPU node pool {self.gpu_pool[:80]!r} is no label", "Write KEY=VALUE, as its nodes are labelled."
            )
        if not 0 < self.hours <= 24 * 30 or not 0 < self.keep_days <= 365:
            raise InputError(f"{self.hours:g} hours and {self.keep_days:g} days cannot be", "Give 1 to 720 hours.")
        price_per_hour(self.gpu_kind)

    def place(self, task: "PipelineTask") -> "PipelineTask":
        """Give a task of the pipeline all that its step needs on a cluster."""
        from kfp import kubernetes

        step = task.component_spec.name
        needs = NEEDS[step]
        task.set_container_image(self.images[needs.target])
        task.set_cpu_request(needs.cpu[0]).set_cpu_limit(needs.cpu[1])
        task.set_memory_request(needs.memory[0]).set_memory_limit(needs.memory[1])
        task.set_caching_options(enable_caching=needs.cached)
        # What kfp calls the longest back-off is Argo's maxDuration: all attempts, counted from the start of the first, end with it.
        whole = int(self.hours * HOUR)
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
        if self._on_gpu(step):
            self._to_the_gpus(task)
        return task

    def config(self) -> "PipelineConfig":
        """The run's own limits: its active deadline, and how long what it leaves in Kubernetes is kept."""
        from kfp.dsl import PipelineConfig

        return PipelineConfig(
            ttl_seconds_after_finished=int(self.keep_days * 24 * HOUR), active_deadline_seconds=int(self.hours * HOUR)
        )

    def with_images(self, path: Path) -> "Placement":
        """The same with the images in a file that `make images` wrote. Raises InputError when it is none."""
        return replace(self, images=read_images(path))

    def _on_gpu(self, step: str) -> bool:
        return self.gpu and step in TRAIN

    def _environment(self, step: str, needs: Needs) -> dict[str, str]:
        kind = self.gpu_kind if self._on_gpu(step) else "cpu"
        found = {"MYNAH_NODE_KIND": kind, "MYNAH_IMAGE": self.images[needs.target], "HF_HUB_OFFLINE": "1", "HOME": "/tmp"}  # noqa: S108
        if step in (*TRAIN, "evaluate"):
            del found["HF_HUB_OFFLINE"]  # a base model may come from the hub
        if step == "promote":  # deploy takes no turn: it applies what promote decided
            found["MYNAH_LOCK"] = self.lock
        return found

    def _to_the_gpus(self, task: "PipelineTask") -> None:
        from kfp import kubernetes

        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(self.gpus)
        label, _, value = self.gpu_pool.partition("=")
        kubernetes.add_node_selector(task, label, value)
        for taint in TAINTS:
            kubernetes.add_toleration(task, key=taint, operator="Exists", effect="NoSchedule")
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=self.shared_memory)  # noqa: S108


def read_images(path: Path) -> dict[str, str]:
    """The images of build/images.json: {"data": "REF@sha256:…", "train": …}. Raises InputError when it is no such file."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the images in {path} cannot be read: {error}", "Write it with `make images`.") from error
    if not isinstance(found, dict) or not all(isinstance(found.get(target), str) for target in ("data", "train")):
        raise InputError(f"{path} does not name the images data and train", "Write it with `make images`.")
    return {target: found[target] for target in ("data", "train")}


REFERENCE = re.compile(r"[a-z0-9]+(?:[._/:-]+[A-Za-z0-9]+)*(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{64})?")


def pinned_image(target: str, name: str) -> str:
    """`name` when it is an image's name with a digest or a tag of its own. Raises InputError otherwise.

    Kubeflow's cache and the nodes both take the same name for the same image; `latest` makes them run old code.
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
