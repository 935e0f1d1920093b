"""The InferenceService of one version of a bot, as KServe 0.20 and 0.21 take it.

What a pod is made from lies in the predictor's own annotations, never in the service's: those are on the pods of the stable version
and of a canary alike, so that changing them would restart both
(https://kserve.github.io/website/docs/reference/crd-api#componentextensionspec).
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from components.cluster import BOT_LABEL, Object, Resource

API_VERSION, KIND = "serving.kserve.io/v1beta1", "InferenceService"
SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", ("get", "list", "create", "patch", "delete"))
RUNTIME = MODEL_FORMAT = "mynah"
SERVICE_ACCOUNT_NAME = "mynah-serve"
PORT = 8080
VERSION, MODEL_ID, FORCED = "mynah.dev/version", "mynah.dev/model-id", "mynah.dev/forced"
APPLIED = "mynah.dev/applied"  # a digest of the predictor: pods that carry it were made from this very one
MODE = "serving.kserve.io/deploymentMode"
STANDARD, KNATIVE = "Standard", "Knative"  # KServe's two ways to run an InferenceService: Deployments, or Knative's revisions
USER = 10001  # of the images
MIB = 1 << 20
SERVER_MIB = 1024  # Python, torch and the requests of a server without a model: 0.7 GiB measured, and some room


@dataclass(frozen=True, slots=True)
class Serving:
    """A version to serve: `uri` is the folder of its files in S3, `size` the bytes of its checkpoint."""

    name: str
    version: int
    uri: str
    size: int
    model_id: str = ""
    forced: str = ""  # why, where the gate was against it


def predictor(serving: Serving, mode: str, name: str = "") -> Object:
    """What KServe makes the pods from; `name` is "" for the first one of a service, and tells a canary from it."""
    made: Object = {
        **(_standard(serving) if mode == STANDARD else {}),
        "serviceAccountName": SERVICE_ACCOUNT_NAME,
        "automountServiceAccountToken": False,
        "labels": {BOT_LABEL: serving.name},
        "model": {
            "modelFormat": {"name": MODEL_FORMAT, "version": "1"},
            "runtime": RUNTIME,
            "protocolVersion": "v2",
            "storageUri": f"{serving.uri.rstrip('/')}/",  # without its last slash, KServe would also download bots/10 for bots/1
            "env": [
                {"name": "MYNAH_MODEL_NAME", "value": serving.name},
                {"name": "MYNAH_MODEL_VERSION", "value": str(serving.version)},
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
        },
    }
    if name:
        made["name"] = name
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12]
    made["annotations"] = {VERSION: str(serving.version), MODEL_ID: serving.model_id, APPLIED: digest}
    return made


def _standard(serving: Serving) -> Object:
    """What Knative takes only with feature flags, or not at all: https://knative.dev/docs/serving/configuration/feature-flags."""
    return {
        "enableServiceLinks": False,
        "priorityClassName": "mynah-serving",
        "terminationGracePeriodSeconds": 45,  # the runtime's 5 s before SIGTERM, its 25 s for running requests, and some
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
    """CPU and memory for a checkpoint of `size` bytes: its weights twice, once while they are read, beside the server itself."""
    memory = f"{SERVER_MIB + 128 * math.ceil(2 * size / (128 * MIB))}Mi"
    cores = 1 if size <= 256 * MIB else 2
    return {"requests": {"cpu": str(cores), "memory": memory}, "limits": {"cpu": str(2 * cores), "memory": memory}}


def inference_service(serving: Serving, namespace: str, mode: str, name: str = "", percent: int | None = None) -> Object:
    """The InferenceService that serves a version by a predictor called `name`, in KServe's `mode`.

    percent: of the requests that it gets while the revision before it gets the rest; Knative only, None for all.
    """
    annotations = {MODE: mode, VERSION: str(serving.version), MODEL_ID: serving.model_id}
    if serving.forced:
        annotations[FORCED] = serving.forced[:500]
    labels = {
        "app.kubernetes.io/name": serving.name,
        "app.kubernetes.io/component": "bot",
        "app.kubernetes.io/part-of": "mynah",
        "app.kubernetes.io/managed-by": "mynah",
        BOT_LABEL: serving.name,
    }
    made = predictor(serving, mode, name)
    spec: Object = {"predictor": made if percent is None else {**made, "canaryTrafficPercent": percent}}
    metadata = {"name": serving.name, "namespace": namespace, "labels": labels, "annotations": annotations}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def with_canary(live: Object, serving: Serving, name: str, percent: int) -> Object:
    """The live InferenceService as it is, and beside it a predictor of `serving` that gets `percent` of the requests (Standard)."""
    stable, made = ours(live), predictor(serving, STANDARD, name)
    # The CRD wants the container's name here, which the webhook refuses in the stable predictor.
    made["model"] = {"name": "kserve-container", **made["model"]}
    return {**stable, "spec": {**stable["spec"], "canary": [{"predictor": made, "trafficPercent": percent}]}}


# What `inference_service` may set, so that what a service had of it can be put back.
OURS: Object = {
    "metadata": {
        "labels": dict.fromkeys([*(f"app.kubernetes.io/{part}" for part in ("name", "component", "part-of", "managed-by")), BOT_LABEL]),
        "annotations": dict.fromkeys([MODE, VERSION, MODEL_ID, FORCED]),
    },
    "spec": {
        "predictor": {
            **dict.fromkeys([*_standard(Serving("", 0, "", 0)), "serviceAccountName", "automountServiceAccountToken"]),
            **dict.fromkeys(["name", "canaryTrafficPercent"]),
            "labels": {BOT_LABEL: None},
            "annotations": dict.fromkeys([VERSION, MODEL_ID, APPLIED]),
            "model": {
                **dict.fromkeys(["modelFormat", "runtime", "protocolVersion", "storageUri"]),
                **dict.fromkeys(["readinessProbe", "resources", "securityContext"]),
                "env": ["MYNAH_MODEL_NAME", "MYNAH_MODEL_VERSION"],
            },
        },
        "canary": None,
    },
}  # fmt: skip


def ours(live: Object) -> Object:
    """What of a live InferenceService `inference_service` would have set: applied again, it puts the service back as it was."""
    about = live["metadata"]
    kept = _only(live, OURS)
    metadata = {"name": about["name"], "namespace": about["namespace"], **kept.get("metadata", {})}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": kept.get("spec", {})}


def applied(made: Object) -> str:
    """The digest that tells the pods of a predictor; "" for one that Mynah did not make."""
    return str((made.get("annotations") or {}).get(APPLIED, ""))


def version_of(made: Object) -> int:
    """The version that a predictor serves; 0 where nobody said."""
    said = str((made.get("annotations") or {}).get(VERSION, ""))
    return int(said) if said.isdecimal() else 0


def _only(found: Any, wanted: Any) -> Any:  # noqa: ANN401 - JSON
    """The part of `found` that `wanted` names: a dict of parts, a list of the names of items, or None for the whole."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        parts = {key: _only(found[key], part) for key, part in wanted.items() if found.get(key) is not None}
        return {key: part for key, part in parts.items() if part not in ({}, [])}
    if isinstance(wanted, list) and isinstance(found, list):
        return [each for each in found if each.get("name") in wanted]
    return found
