"""The rendered objects, and the pods that Kubernetes and KServe create from them."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.deploy.manifest import STANDARD, Serving, inference_service

Object = dict[str, Any]  # a Kubernetes object, as in the manifest
Labels = Mapping[str, str]

KSERVE_CONTAINER = "kserve-container"
CONTAINER_FIELDS = frozenset(
    "args command env envFrom image lifecycle livenessProbe ports readinessProbe resources securityContext startupProbe".split()  # noqa: SIM905 - shorter than a list
)  # that a predictor's model may set
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"  # Istio labels a Gateway's pods with it
NAME_LABEL = "kubernetes.io/metadata.name"  # Kubernetes puts it on every namespace
KUBEFLOW = "kubeflow"  # the namespace that Kubeflow Pipelines creates, and runs pipelines in


@dataclass(frozen=True, slots=True)
class Fault:
    """A violation of a check: the object, the problem and the fix. `check` is the name of the function that found it."""

    where: str
    problem: str
    fix: str
    check: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.fix} [{self.check}]"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that will be created: its spec and labels, and the object that creates it."""

    owner: Object
    namespace: str
    labels: Labels
    spec: Object

    @property
    def where(self) -> str:
        """The object that creates it, for messages."""
        return where(self.owner)

    @property
    def containers(self) -> list[Object]:
        """Its containers, init containers first."""
        return [*(self.spec.get("initContainers") or []), *(self.spec.get("containers") or [])]

    @property
    def is_server(self) -> bool:
        """Whether it runs until it is stopped, unlike a job, which ends."""
        return bool(self.owner["kind"] not in ("Job", "TrainingRuntime"))

    def ports(self) -> Iterator[Object]:
        """Yield the ports of its containers."""
        for container in self.spec.get("containers") or []:
            yield from container.get("ports") or []


@dataclass(frozen=True)
class Manifests:
    """One rendering: an overlay with components, by its name."""

    name: str
    objects: tuple[Object, ...]
    documented: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)  # (namespace, secret) to its keys
    readme: str = ""  # the text of k8s/README.md
    runbook: str = ""  # of docs/runbook.md

    def of(self, *kinds: str) -> list[Object]:
        """Return the objects of these kinds."""
        return [item for item in self.objects if item["kind"] in kinds]

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Find an object.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Its namespace; "" for kinds without namespaces.

        Returns:
            The object; None where it does not exist.
        """
        matching = (item for item in self.of(kind) if item["metadata"]["name"] == name and namespace_of(item) == namespace)
        return next(matching, None)

    @functools.cached_property
    def pods(self) -> list[Pod]:
        """The pods that these objects create, without their replicas."""
        return [pod for item in self.objects for pod in _pods(self, item)]

    def matching(self, selector: Object | None, namespace: str) -> list[Pod]:
        """Return the pods of a namespace that a label selector selects."""
        return [pod for pod in self.pods if pod.namespace == namespace and selects(selector, pod.labels)]


def where(item: Object) -> str:
    """Return an object's kind, namespace and name, for messages."""
    return "/".join(filter(None, (item["kind"], namespace_of(item), item["metadata"]["name"])))


def namespace_of(item: Object) -> str:
    """Return the namespace of an object; "" where it has none."""
    return str(item["metadata"].get("namespace", ""))


def selects(selector: Object | None, labels: Labels) -> bool:
    """Return whether a label selector selects an object with these labels; an empty one selects everything.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
    """
    selector = selector or {}
    plain = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return plain and all(_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _holds(expression: Object, labels: Labels) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    operators: dict[str, Callable[[], bool]] = {
        "In": lambda: value in values,
        "NotIn": lambda: value not in values,
        "Exists": lambda: value is not None,
        "DoesNotExist": lambda: value is None,
    }
    return operators[expression["operator"]]()


def runtime_of(manifests: Manifests, service: Object) -> Object | None:
    """Return the ServingRuntime that an InferenceService's model names, in its namespace; None where it does not exist."""
    name = (service["spec"]["predictor"].get("model") or {}).get("runtime", "")
    return manifests.find("ServingRuntime", name, namespace_of(service))


@functools.cache
def deployed_service() -> Object:
    """Return an InferenceService as `mynah deploy` writes it, of a bot called heron."""
    uri = "s3://mynah/mlflow/1/models/m-0123456789abcdef0123456789abcdef/artifacts/model/"
    return inference_service(Serving("heron", 3, uri, 8 << 20, "m-0123456789abcdef0123456789abcdef"), "mynah", STANDARD)


def deployed_bot() -> Pod:
    """Return the pod of that InferenceService: a cluster may have any number of such bots beside the rendered objects."""
    return _predictor(Manifests("", ()), deployed_service())


def _pods(manifests: Manifests, item: Object) -> Iterator[Pod]:
    spec = item.get("spec") or {}
    if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        template = spec["template"]
        yield Pod(item, namespace_of(item), template["metadata"].get("labels") or {}, template["spec"])
    elif item["kind"] == "InferenceService":
        yield _predictor(manifests, item)
    elif item["kind"] == "TrainingRuntime":
        for job in spec["template"]["spec"]["replicatedJobs"]:
            template = job["template"]["spec"]["template"]
            yield Pod(item, namespace_of(item), template["metadata"].get("labels") or {}, template["spec"])


def _predictor(manifests: Manifests, service: Object) -> Pod:
    """Return the pod that KServe's controller creates for an InferenceService in Standard mode.

    Its labels are those of the runtime, the service and the predictor, in this order, and KServe's own; its container is the runtime's,
    overridden by the model's fields.
    """
    about, predictor = service["metadata"], service["spec"]["predictor"]
    runtime = (runtime_of(manifests, service) or {}).get("spec") or {}
    own = {
        "serving.kserve.io/inferenceservice": about["name"],
        "component": "predictor",
        "app": f"isvc.{about['name']}-predictor",
    }
    labels = (runtime.get("labels") or {}) | (about.get("labels") or {}) | (predictor.get("labels") or {}) | own
    spec = predictor
    if model := predictor.get("model"):
        containers = [model_container(container, model, about["name"]) for container in runtime.get("containers") or []]
        volumes = [*(runtime.get("volumes") or []), *(predictor.get("volumes") or [])]
        spec = predictor | {"containers": containers, "volumes": volumes}
    return Pod(service, namespace_of(service), labels, spec)


def model_container(container: Object, model: Object, name: str) -> Object:
    """Return a runtime's container for one InferenceService.

    Args:
        container: The container.
        model: The model of the InferenceService's predictor, whose fields override the container's.
        name: The InferenceService, whose name is filled in.

    Returns:
        The container; unchanged unless it is the one that serves.
    """
    if container["name"] != KSERVE_CONTAINER:
        return container
    override = {key: value for key, value in model.items() if key in CONTAINER_FIELDS}
    return dict(_merge(_fill_in_name(container, name), override))


def _merge(base: Any, override: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Merge like Kubernetes' strategic merge patch, as far as containers need it: maps by key, lists of named items by name."""
    if isinstance(base, dict) and isinstance(override, dict):
        return base | {key: _merge(base.get(key), value) for key, value in override.items()}
    if isinstance(base, list) and isinstance(override, list) and all(isinstance(item, dict) for item in (*base, *override)):
        names = [item.get("name") for item in override]
        return [item for item in base if item.get("name") not in names] + override
    return override


def _fill_in_name(part: Any, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """Replace {{.Name}} in every text of a runtime's container, as KServe does."""
    if isinstance(part, str):
        return part.replace("{{.Name}}", name)
    if isinstance(part, list):
        return [_fill_in_name(item, name) for item in part]
    if isinstance(part, dict):
        return {key: _fill_in_name(value, name) for key, value in part.items()}
    return part
