"""The InferenceService of one version of a bot, for KServe 0.20 and 0.21.

Pod metadata is in the predictor's own annotations, never in the service's: those are on the pods of the stable version and of a canary
alike, so that changing them would restart both (https://kserve.github.io/website/docs/reference/crd-api#componentextensionspec).
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from components.deploy.scaling import AUTOSCALER, FIELDS, Scaling, by_cpu
from components.deploy.serving_runtime import RUNTIME
from mynah.core.settings import MYNAH_MODEL_NAME, MYNAH_MODEL_VERSION
from mynah.kubernetes.cluster import Object, Resource
from mynah.kubernetes.endpoint import BOT_LABEL, storage_uri
from mynah.registry.base_names import BASES_FOLDER, MOUNT

API_VERSION, KIND = "serving.kserve.io/v1beta1", "InferenceService"
SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", ("get", "list", "create", "patch", "delete"))
MODEL_FORMAT = "mynah"
SERVICE_ACCOUNT_NAME = "mynah-serve"
PORT = 8080
VERSION, MODEL_ID, FORCED = "mynah.dev/version", "mynah.dev/model-id", "mynah.dev/forced"
APPLIED = "mynah.dev/applied"  # a digest of the predictor, on its pods
MODE = "serving.kserve.io/deploymentMode"
STANDARD, KNATIVE = "Standard", "Knative"  # KServe's two ways to run an InferenceService: Deployments, or Knative's revisions
USER = 10001  # of the images
MIB = 1 << 20
# Python, torch and requests of a server without its model: 0.7 GiB measured, and the limit leaves room for a busy one.
SERVER_MIB, BUSY_MIB = 768, 1024
# Cores that a bot requests by the bytes of its checkpoint; it may take more of what is idle.
SMALL, MEDIUM = 32 * MIB, 1024 * MIB
MILLICORES = ((SMALL, 250), (MEDIUM, 500))
LARGE_MILLICORES = 1000


@dataclass(frozen=True, slots=True)
class Serving:
    """A version to serve: `uri` is the folder of its files in S3, `size` the bytes of its checkpoint (an adapter's with its base model)."""

    name: str
    version: int
    uri: str
    size: int
    model_id: str = ""
    forced: str = ""  # the reason for deploying it against the gate
    base_uri: str = ""  # of an adapter: the folder of its base model in S3
    base_digest: str = ""  # and the digest of that base model's weights


def predictor(serving: Serving, mode: str, name: str = "") -> Object:
    """Return the predictor from which KServe creates pods.

    Args:
        serving: The version.
        mode: KServe's mode.
        name: The predictor's name, which distinguishes a canary; "" for the first one.

    Returns:
        The predictor, with a digest of itself among its annotations.
    """
    predictor_spec: Object = {
        **(_standard(serving) if mode == STANDARD else {}),
        "serviceAccountName": SERVICE_ACCOUNT_NAME,
        "automountServiceAccountToken": False,
        "labels": {BOT_LABEL: serving.name},
        "model": _model(serving),
        **({"storageUris": storage_uris(serving)} if serving.base_uri else {}),
    }
    if name:
        predictor_spec["name"] = name
    digest = hashlib.sha256(json.dumps(predictor_spec, sort_keys=True).encode()).hexdigest()[:12]
    predictor_spec["annotations"] = {VERSION: str(serving.version), MODEL_ID: serving.model_id, APPLIED: digest}
    return predictor_spec


def storage_uris(serving: Serving) -> list[Object]:
    """Return what KServe downloads into one volume: the version and, below it, the base model of an adapter, where the server finds it.

    All mount paths need a common folder, which becomes the volume: https://github.com/kserve/kserve/blob/v0.20.0/pkg/utils/storage.go
    """
    base = {"uri": storage_uri(serving.base_uri), "mountPath": f"{MOUNT}/{BASES_FOLDER}/{serving.base_digest}"}
    return [{"uri": storage_uri(serving.uri), "mountPath": MOUNT}, *([base] if serving.base_uri else [])]


def _model(serving: Serving) -> Object:
    """Return the predictor's model: what the runtime loads, and the fields of its container that differ from bot to bot.

    KServe refuses a storageUri beside storageUris.
    """
    return {
        "modelFormat": {"name": MODEL_FORMAT, "version": "1"},
        "runtime": RUNTIME,
        "protocolVersion": "v2",
        **({} if serving.base_uri else {"storageUri": storage_uri(serving.uri)}),
        "env": [
            {"name": MYNAH_MODEL_NAME.name, "value": serving.name},
            {"name": MYNAH_MODEL_VERSION.name, "value": str(serving.version)},
        ],
        "readinessProbe": {
            "httpGet": {"path": f"/v2/models/{serving.name}/ready", "port": PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 2,
        },
        "resources": resources(serving.size),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _standard(serving: Serving) -> Object:
    """Return fields that Knative accepts only with feature flags, or not at all: https://knative.dev/docs/serving/configuration/feature-flags."""
    return {
        "enableServiceLinks": False,
        "priorityClassName": "mynah-serving",
        "terminationGracePeriodSeconds": 45,  # the runtime's 5 s before SIGTERM, its 25 s for running requests, and a margin
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"serving.kserve.io/inferenceservice": serving.name}},
            }
        ],
    }


def resources(size: int) -> dict[str, dict[str, str]]:
    """Return CPU and memory for a checkpoint of `size` bytes: the weights exist twice while they are loaded, beside the server."""
    weights = 128 * math.ceil(2 * size / (128 * MIB))
    cpu = next((each for most, each in MILLICORES if size <= most), LARGE_MILLICORES)
    return {
        "requests": {"cpu": f"{cpu}m", "memory": f"{SERVER_MIB + weights}Mi"},
        "limits": {"cpu": "2" if size <= SMALL else "4", "memory": f"{BUSY_MIB + weights}Mi"},
    }


def inference_service(
    serving: Serving, namespace: str, mode: str, name: str = "", percent: int | None = None, scaling: Scaling | None = None
) -> Object:
    """Return the InferenceService that serves a version.

    Args:
        serving: The version.
        namespace: The namespace.
        mode: KServe's mode.
        name: The predictor's name.
        percent: Its share of requests while the previous revision gets the rest; Knative only, None for all.
        scaling: Its pods; None for what a mode has by default: by CPU, or Knative's own.

    Returns:
        The manifest.
    """
    scaling = scaling or (by_cpu() if mode == STANDARD else Scaling())
    annotations = {MODE: mode, VERSION: str(serving.version), MODEL_ID: serving.model_id}
    if scaling.autoscaler:
        annotations[AUTOSCALER] = scaling.autoscaler
    if serving.forced:
        annotations[FORCED] = serving.forced[:500]
    predictor_spec = {**scaling.fields, **predictor(serving, mode, name)}  # not in its digest: another number restarts no pod
    spec: Object = {"predictor": predictor_spec if percent is None else {**predictor_spec, "canaryTrafficPercent": percent}}
    metadata = {"name": serving.name, "namespace": namespace, "labels": labels_of(serving.name), "annotations": annotations}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def labels_of(name: str) -> dict[str, str]:
    """Return the labels of a bot's objects."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "bot",
        "app.kubernetes.io/part-of": "mynah",
        "app.kubernetes.io/managed-by": "mynah",
        BOT_LABEL: name,
    }


def with_canary(live: Object, serving: Serving, name: str, percent: int) -> Object:
    """Return an InferenceService in Standard mode with an additional predictor, the canary.

    Args:
        live: The InferenceService.
        serving: The canary's version.
        name: The canary's name.
        percent: Its share of the requests.

    Returns:
        The manifest.
    """
    stable, predictor_spec = ours(live), predictor(serving, STANDARD, name)
    if has_storage_uris(live["spec"]["predictor"]) and not serving.base_uri:
        # KServe lays a canary over the stable predictor, whose storageUris would stay beside another storageUri.
        model = {key: value for key, value in predictor_spec["model"].items() if key != "storageUri"}
        predictor_spec |= {"model": model, "storageUris": storage_uris(serving)}
    # The CRD requires the container's name here, which the webhook rejects in the stable predictor.
    predictor_spec["model"] = {"name": "kserve-container", **predictor_spec["model"]}
    return {**stable, "spec": {**stable["spec"], "canary": [{"predictor": predictor_spec, "trafficPercent": percent}]}}


# The fields that `inference_service` may set, so that a service's earlier values can be restored.
OURS: Object = {
    "metadata": {
        "labels": dict.fromkeys([*(f"app.kubernetes.io/{part}" for part in ("name", "component", "part-of", "managed-by")), BOT_LABEL]),
        "annotations": dict.fromkeys([MODE, VERSION, MODEL_ID, FORCED, AUTOSCALER]),
    },
    "spec": {
        "predictor": {
            **dict.fromkeys([*_standard(Serving("", 0, "", 0)), "serviceAccountName", "automountServiceAccountToken"]),
            **dict.fromkeys(["name", "canaryTrafficPercent", "storageUris", *FIELDS]),
            "labels": {BOT_LABEL: None},
            "annotations": dict.fromkeys([VERSION, MODEL_ID, APPLIED]),
            "model": {
                **dict.fromkeys(["modelFormat", "runtime", "protocolVersion", "storageUri"]),
                **dict.fromkeys(["readinessProbe", "resources", "securityContext"]),
                "env": [MYNAH_MODEL_NAME.name, MYNAH_MODEL_VERSION.name],
            },
        },
        "canary": None,
    },
}  # fmt: skip


def ours(live: Object) -> Object:
    """Return the fields of a live InferenceService that `inference_service` sets: applying them again restores the service."""
    live_metadata = live["metadata"]
    kept = _only(live, OURS)
    metadata = {"name": live_metadata["name"], "namespace": live_metadata["namespace"], **kept.get("metadata", {})}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": kept.get("spec", {})}


def has_storage_uris(predictor_spec: Object) -> bool:
    """Return whether a predictor serves several folders, as an adapter with its base model."""
    return bool(predictor_spec.get("storageUris"))


def applied(predictor_spec: Object) -> str:
    """Return the digest on the pods of a predictor; "" for one that Mynah did not create."""
    return str((predictor_spec.get("annotations") or {}).get(APPLIED, ""))


def version_of(predictor_spec: Object) -> int:
    """Return the version that a predictor serves; 0 where unknown."""
    version = str((predictor_spec.get("annotations") or {}).get(VERSION, ""))
    return int(version) if version.isdecimal() else 0


def _only(value: Any, selection: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the part of `value` that `selection` names: a dict of parts, a list of the names of items, or None for everything."""
    if isinstance(selection, dict) and isinstance(value, dict):
        parts = {key: _only(value[key], part) for key, part in selection.items() if value.get(key) is not None}
        return {key: part for key, part in parts.items() if part not in ({}, [])}
    if isinstance(selection, list) and isinstance(value, list):
        return [item for item in value if item.get("name") in selection]
    return value
