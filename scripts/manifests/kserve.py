"""The rules of KServe's admission webhooks and controller that no schema has, and settings that they accept but ignore.

The rules are those of kserve/kserve 0.21: pkg/apis/serving/v1beta1 (inference_service_validation.go, component.go),
pkg/webhook/admission/servingruntime and the predictor's reconciler.
"""

import os
import re
from collections.abc import Iterator

from components.deploy.service_name import LONGEST
from mynah.kubernetes.endpoint import storage_uri
from mynah.registry.base_names import MOUNT
from scripts.manifests.objects import KSERVE_CONTAINER, Fault, Manifests, Object, namespace_of, runtime_of, where

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
SCHEMES = ("s3://", "gs://", "hdfs://", "webhdfs://", "hf://", "pvc://", "oci://", "https://", "http://")
IMPLEMENTATIONS = frozenset(
    "model sklearn xgboost tensorflow pytorch triton onnx huggingface pmml lightgbm paddle".split()  # noqa: SIM905 - shorter than a list
)
SCALERS = {
    "hpa": ("cpu", "memory"),
    "keda": (),
    "external": (),
    "none": (),
}  # autoscaler class to its scaleMetrics, in Standard mode
BLOCKED = {"PYTHONPATH"}
ANNOTATION = "serving.kserve.io/"
STANDARD, KNATIVE = "Standard", "Knative"


def kserve_accepts_names(manifests: Manifests) -> Iterator[Fault]:
    """An InferenceService's name is a DNS label that leaves room for what KServe appends: NAME-predictor-NAMESPACE."""
    for service in manifests.of("InferenceService"):
        name, longest = service["metadata"]["name"], LONGEST - len(namespace_of(service))
        if not NAME.fullmatch(name) or len(name) > longest:
            yield Fault(where(service), f"KServe refuses the name {name!r}", f"Use a-z, 0-9 and -, {longest} at most.")


def kserve_finds_one_server(manifests: Manifests) -> Iterator[Fault]:
    """A predictor has a model or containers of its own, never both; the container that serves has KServe's name."""
    for service in manifests.of("InferenceService"):
        predictor = service["spec"]["predictor"]
        implementations = sorted(IMPLEMENTATIONS & predictor.keys())
        if len(implementations) + bool(predictor.get("containers")) != 1:
            servers = [*implementations, *["containers"] * bool(predictor.get("containers"))]
            yield Fault(
                where(service), f"its predictor has {' and '.join(servers) or 'no server'}", "Keep one of model and containers."
            )
        names = [container["name"] for container in predictor.get("containers") or []]
        if names and KSERVE_CONTAINER not in names:
            yield Fault(where(service), f"no container is called {KSERVE_CONTAINER} (but {', '.join(names)})", "Rename it.")
    for runtime in manifests.of("ServingRuntime"):
        if KSERVE_CONTAINER not in [container["name"] for container in runtime["spec"]["containers"]]:
            yield Fault(where(runtime), f"no container is called {KSERVE_CONTAINER}", "Rename it.")


def kserve_can_download(manifests: Manifests) -> Iterator[Fault]:
    """A model's storageUri, or each of its predictor's storageUris, is a folder at a location that KServe supports.

    Without either KServe assumes multi-model mode, with both it refuses the service, and without its last slash `bots/1` includes `bots/10`.
    """
    for service in manifests.of("InferenceService"):
        if (model := service["spec"]["predictor"].get("model")) is None:
            continue
        several = service["spec"]["predictor"].get("storageUris") or []
        uris = [uri for uri in (model.get("storageUri", ""), *(each["uri"] for each in several)) if uri]
        if not uris:
            yield Fault(where(service), "its model has no storageUri, which means multi-model mode", "Name the folder.")
        if several and model.get("storageUri"):
            yield Fault(where(service), "it has both storageUri and storageUris", "Keep one of them.")
        paths = [each.get("mountPath", MOUNT) for each in several]
        if len(paths) > 1 and (len(set(paths)) < len(paths) or os.path.commonpath(paths) == "/"):
            yield Fault(where(service), f"its storageUris are mounted at {' and '.join(paths)}", "Mount each below one folder.")
        for uri in uris:
            yield from _cannot_download(service, uri)


def _cannot_download(service: Object, uri: str) -> Iterator[Fault]:
    if not uri.startswith(SCHEMES):
        yield Fault(where(service), f"KServe cannot download {uri}", "Resolve the alias to its s3:// folder.")
    elif uri.startswith(("s3://", "gs://")) and not uri.endswith("/"):
        yield Fault(where(service), f"the storageUri {uri} has no last slash", f"Write {storage_uri(uri)}.")


def kserve_finds_the_runtime(manifests: Manifests) -> Iterator[Fault]:
    """The runtime that a model names exists, is enabled, is for single models, and supports its format and protocol."""
    for service in manifests.of("InferenceService"):
        if (model := service["spec"]["predictor"].get("model")) is None:
            continue
        runtime = runtime_of(manifests, service)
        if runtime is None:
            name = model.get("runtime", "")
            yield Fault(where(service), f"there is no ServingRuntime {name!r} in {namespace_of(service)}", "Apply it first.")
            continue
        yield from _unsupported(service, model, runtime)


def _unsupported(service: Object, model: Object, runtime: Object) -> Iterator[Fault]:
    spec, wanted = runtime["spec"], model["modelFormat"]
    formats = [
        supported for supported in spec.get("supportedModelFormats") or [] if supported["name"].lower() == wanted["name"].lower()
    ]
    version = wanted.get("version")
    if not [supported for supported in formats if version in (None, supported.get("version"))]:
        yield Fault(where(service), f"{where(runtime)} does not serve the format {wanted}", "Correct modelFormat.")
    if spec.get("disabled") or spec.get("multiModel"):
        yield Fault(where(service), f"{where(runtime)} is disabled, or for many models", "Set multiModel: false in it.")
    protocol = model.get("protocolVersion", "v1")
    if protocol not in (spec.get("protocolVersions") or ["v1"]):
        yield Fault(where(service), f"{where(runtime)} does not speak {protocol}", "Correct protocolVersion.")


def kserve_can_scale(manifests: Manifests) -> Iterator[Fault]:
    """The range of replicas is valid, and an existing autoscaler sets their number by a metric that it knows."""
    for service in manifests.of("InferenceService"):
        annotations, predictor = service["metadata"].get("annotations") or {}, service["spec"]["predictor"]
        least, most = predictor.get("minReplicas", 1), predictor.get("maxReplicas", 0)
        if least < 0 or most < 0 or 0 < most < least:
            yield Fault(where(service), f"from {least} to {most} replicas is no range", "Correct minReplicas and maxReplicas.")
        scaler, metric = annotations.get(f"{ANNOTATION}autoscalerClass", "hpa"), predictor.get("scaleMetric")
        if scaler not in SCALERS:
            yield Fault(where(service), f"{scaler!r} is no autoscaler class", f"Use one of {', '.join(SCALERS)}.")
        elif metric is not None and metric not in SCALERS[scaler]:
            yield Fault(where(service), f"the scaler {scaler} does not know the metric {metric!r}", "Take scaleMetric out.")


def kserve_can_split(manifests: Manifests) -> Iterator[Fault]:
    """A canary is defined as its mode requires: canaryTrafficPercent is ignored in Standard mode, spec.canary refused elsewhere."""
    for service in manifests.of("InferenceService"):
        mode = (service["metadata"].get("annotations") or {}).get(f"{ANNOTATION}deploymentMode", "")
        if mode not in (STANDARD, KNATIVE):
            yield Fault(where(service), f"its deploymentMode {mode!r} is left to the cluster", "Say Standard in the annotation.")
        if "canaryTrafficPercent" in service["spec"]["predictor"] and mode != KNATIVE:
            yield Fault(where(service), "canaryTrafficPercent is ignored without Knative", "Use spec.canary.")
        if service["spec"].get("canary") and mode != STANDARD:
            yield Fault(where(service), "spec.canary is refused outside Standard mode", "Use canaryTrafficPercent.")
        shares = [canary.get("trafficPercent", 0) for canary in service["spec"].get("canary") or []]
        if sum(shares) > 100 or any(share < 0 for share in shares):
            yield Fault(where(service), f"its canaries take {sum(shares)} % of the requests", "Give them 100 at most.")


def kserve_accepts_the_environment(manifests: Manifests) -> Iterator[Fault]:
    """No container sets an environment variable that KServe blocks."""
    services = [pod for pod in manifests.pods if pod.owner["kind"] == "InferenceService"]
    containers = [(pod.where, container) for pod in services for container in pod.containers]
    containers += [
        (where(runtime), container) for runtime in manifests.of("ServingRuntime") for container in runtime["spec"]["containers"]
    ]
    for at, container in containers:
        for name in sorted(BLOCKED & {variable["name"] for variable in container.get("env") or []}):
            yield Fault(at, f"KServe refuses the variable {name} in {container['name']}", "Take it out.")


def kserve_leaves_batching_to_us(manifests: Manifests) -> Iterator[Fault]:
    """No InferenceService uses KServe's batcher, which would merge requests for different bots."""
    for service in manifests.of("InferenceService"):
        if "batcher" in service["spec"]["predictor"]:
            yield Fault(where(service), "KServe's batcher merges requests for different bots", "Take batcher out.")
