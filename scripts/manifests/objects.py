"""What was rendered, as objects, and the pods that it will become: also those that KServe makes of its own kinds."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]  # one of Kubernetes' own, as it is written
Labels = Mapping[str, str]

KSERVE_CONTAINER = "kserve-container"
CONTAINER_FIELDS = frozenset(
    "args command env envFrom image lifecycle livenessProbe ports readinessProbe resources securityContext startupProbe".split()  # noqa: SIM905
)  # that a model may say
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"  # Istio labels a Gateway's pods with it
KUBEFLOW = "kubeflow"  # the namespace that Kubeflow Pipelines made, and runs pipelines in


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not hold: of which object, what, and what to do. `check` is the name of the function that saw it."""

    where: str
    problem: str
    fix: str
    check: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.fix} [{self.check}]"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as it will be: its spec and labels, and the object that makes it."""

    owner: Object
    namespace: str
    labels: Labels
    spec: Object

    @property
    def where(self) -> str:
        """Whose it is, for people."""
        return where(self.owner)

    @property
    def containers(self) -> list[Object]:
        """Init containers first."""
        return [*(self.spec.get("initContainers") or []), *(self.spec.get("containers") or [])]

    @property
    def runs_on(self) -> bool:
        """Whether it is a server, which goes on until it is stopped; not a job, which ends."""
        return bool(self.owner["kind"] != "Job")

    def ports(self) -> Iterator[Object]:
        """The ports of its containers."""
        for container in self.spec.get("containers") or []:
            yield from container.get("ports") or []


@dataclass(frozen=True)
class Manifests:
    """One rendering: an overlay with components, by its name."""

    name: str
    objects: tuple[Object, ...]
    documented: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)  # (namespace, secret) to its keys
    told: str = ""  # the text of k8s/README.md
    runbook: str = ""  # of docs/runbook.md

    def of(self, *kinds: str) -> list[Object]:
        """The objects of these kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """The object of that name; `namespace` is "" for kinds that have none."""
        matching = (each for each in self.of(kind) if each["metadata"]["name"] == name and namespace_of(each) == namespace)
        return next(matching, None)

    @functools.cached_property
    def pods(self) -> list[Pod]:
        """Every pod that these objects make, once each."""
        return [pod for each in self.objects for pod in _pods(self, each)]

    def matching(self, selector: Object | None, namespace: str) -> list[Pod]:
        """The pods of a namespace that a label selector means."""
        return [pod for pod in self.pods if pod.namespace == namespace and selects(selector, pod.labels)]


def where(found: Object) -> str:
    """An object's kind, namespace and name, for people."""
    return "/".join(filter(None, (found["kind"], namespace_of(found), found["metadata"]["name"])))


def namespace_of(found: Object) -> str:
    """The namespace that an object lies in; "" where it lies in none."""
    return str(found["metadata"].get("namespace", ""))


def selects(selector: Object | None, labels: Labels) -> bool:
    """Whether a label selector means what has these labels; an empty one means everything
    (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)."""
    selector = selector or {}
    plain = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return plain and all(_holds(each, labels) for each in selector.get("matchExpressions") or [])


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
    """The ServingRuntime that an InferenceService's model names, in its namespace."""
    name = (service["spec"]["predictor"].get("model") or {}).get("runtime", "")
    return manifests.find("ServingRuntime", name, namespace_of(service))


@functools.cache
def deployed_service() -> Object:
    """An InferenceService as `mynah deploy` writes it, of a bot called heron."""
    from components.deploy.manifest import STANDARD, Serving, inference_service

    uri = "s3://mynah/mlflow/1/models/m-0123456789abcdef0123456789abcdef/artifacts/model/"
    return inference_service(Serving("heron", 3, uri, 8 << 20, "m-0123456789abcdef0123456789abcdef"), "mynah", STANDARD)


def deployed_bot() -> Pod:
    """Its pod, by its labels: there may be any number of such, whatever a rendering holds."""
    return _predictor(Manifests("", ()), deployed_service())


def _pods(manifests: Manifests, found: Object) -> Iterator[Pod]:
    spec = found.get("spec") or {}
    if found["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        template = spec["template"]
        yield Pod(found, namespace_of(found), template["metadata"].get("labels") or {}, template["spec"])
    elif found["kind"] == "InferenceService":
        yield _predictor(manifests, found)


def _predictor(manifests: Manifests, service: Object) -> Pod:
    """The pod of an InferenceService in Standard mode, as KServe's controller makes it: labels of the runtime, the service and the
    predictor, in this order, and its own; the runtime's container with what the model says in its stead."""
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
        containers = [model_container(each, model, about["name"]) for each in runtime.get("containers") or []]
        volumes = [*(runtime.get("volumes") or []), *(predictor.get("volumes") or [])]
        spec = predictor | {"containers": containers, "volumes": volumes}
    return Pod(service, namespace_of(service), labels, spec)


def model_container(container: Object, model: Object, name: str) -> Object:
    """A runtime's container for one InferenceService: its name filled in, and over it what the model says of a container."""
    if container["name"] != KSERVE_CONTAINER:
        return container
    said = {key: value for key, value in model.items() if key in CONTAINER_FIELDS}
    return dict(_over(_named(container, name), said))


def _over(under: Any, said: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Kubernetes' strategic merge, as far as containers need it: maps by key, lists of what has a name by name."""
    if isinstance(under, dict) and isinstance(said, dict):
        return under | {key: _over(under.get(key), value) for key, value in said.items()}
    if isinstance(under, list) and isinstance(said, list) and all(isinstance(each, dict) for each in said):
        names = [each.get("name") for each in said]
        return [each for each in under if each.get("name") not in names] + said
    return said


def _named(part: Any, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """KServe fills {{.Name}} into every text of a runtime's container."""
    if isinstance(part, str):
        return part.replace("{{.Name}}", name)
    if isinstance(part, list):
        return [_named(each, name) for each in part]
    if isinstance(part, dict):
        return {key: _named(value, name) for key, value in part.items()}
    return part
