"""KServe 0.21 on the fake API server: what its webhooks refuse and its controller makes of an InferenceService, look by look.

Read in KServe's sources: pkg/apis/serving/v1beta1/inference_service_{defaults,validation,status}.go, and in
pkg/controller/v1beta1/inferenceservice controller.go (events), components/predictor.go (canaries, orphans, ReconcileFailed, stop),
reconcilers/knative/ksvc_reconciler.go (traffic).
How the pods of a version fare, `fates` says.
"""

import copy
import json
import os
import uuid

from fake_kubernetes import SERVICES
from fake_kubernetes_objects import Refusal

from components.deploy.serving_runtime import RUNTIME
from tests.services.fake_pod_status import QUOTA, S3_LOG, conditions, is_ready, status

MODE = "serving.kserve.io/deploymentMode"
LABEL = "serving.kserve.io/inferenceservice"
KINDS = {
    SERVICES, "servingruntimes.serving.kserve.io", "httproutes.gateway.networking.k8s.io", "deployments.apps", "pods", "nodes",
    "configmaps", "secrets", "serviceaccounts", "events",
}  # fmt: skip


class FakeKServe:
    """The webhooks, the controller, and the pods with our server in them."""

    def __init__(self, kubernetes, mode="Standard"):
        self.kubernetes, self.mode = kubernetes, mode
        self.fates = {}  # version to "good", "image", "init", "crash", "quota", "no node", "hangs", "mute", "other" or "key"
        self.looks = 2  # until a good pod is ready
        self.overlap = 3  # looks for which the pod before it serves on
        self.failures = {}  # version to (message of a failed reconciliation, whether a condition tells it too)
        self.url = "http://{name}.{namespace}.example.com"  # as it reports it, also where no gateway is
        self.lag = 3  # looks until the controller has seen a change: what it told before stands until then
        self._seen = {}
        self.asked = []  # (service, path, X-API-Key)
        self.real = None  # version to a function (method, path, headers, body) to (code, answer): a real server in its pods
        kubernetes.kinds |= KINDS
        kubernetes.kinds |= {"poddisruptionbudgets.policy", "pods.metrics.k8s.io"}  # with a metrics server
        kubernetes.namespaces |= {"mynah", "kserve"}
        kubernetes.admission, kubernetes.proxy = self.admit, self.answer
        kubernetes.reactions.append(self.reconcile)
        settings = {"deploy": json.dumps({"defaultDeploymentMode": mode}), "ingress": json.dumps({"enableGatewayApi": True})}
        kubernetes.put("configmaps", "kserve", "inferenceservice-config", data=settings)
        kubernetes.put("servingruntimes.serving.kserve.io", "mynah", RUNTIME)

    # Webhooks

    def admit(self, new, old):
        if new["kind"] != "InferenceService":
            return new
        annotations = new["metadata"].setdefault("annotations", {})
        if self.mode == "Standard":  # its default is Knative, which it writes nowhere
            annotations.setdefault(MODE, "Standard")
        annotations.setdefault("serving.kserve.io/modelFormat", new["spec"]["predictor"]["model"]["modelFormat"]["name"])
        stable = new["spec"]["predictor"]
        canaries = new["spec"].get("canary") or []
        names = [each["predictor"].get("name", "") for each in canaries]
        _require(not canaries or annotations.get(MODE) == "Standard", "canary is only supported in Standard deployment mode")
        if not all(each["predictor"]["model"].get("name") for each in canaries):  # the CRD's schema
            said = f'InferenceService.serving.kserve.io "{new["metadata"]["name"]}" is invalid: spec.canary[0].predictor.model.name: Required value'
            raise Refusal(422, "Invalid", said)
        _require(not stable["model"].get("name"), "the 'name' field is not allowed in standard predictor")
        _require(all(names), "canary[0] predictor.name is required")
        for each in (stable, *(each["predictor"] for each in canaries)):
            _require_storage(each)
        _require(
            stable.get("name", "") not in names,
            f'canary predictor.name "{stable.get("name")}" conflicts with stable predictor name',
        )
        if old:
            before = old["spec"]["predictor"]
            told = (old.get("status") or {}).get("deploymentMode") or annotations.get(MODE)
            _require(annotations.get(MODE, told) == told, "update rejected: deploymentMode cannot be changed")
            is_same_model = _uri(before) == _uri(stable)
            is_same_name = before.get("name") == stable.get("name")
            _require(is_same_name or not is_same_model, "predictor.name change requires a model change (e.g. storageUri)")
        return new

    # The controller

    def reconcile(self):
        for (kind, namespace, name), live in list(self.kubernetes.objects.items()):
            if kind == SERVICES and self._has_seen(live):
                status = copy.deepcopy(live.get("status") or {})
                status["deploymentMode"] = live["metadata"]["annotations"].get(MODE, "Knative")
                make = self._standard if status["deploymentMode"] == "Standard" else self._knative
                make(namespace, name, live, status)
                status["url"] = self.url.format(name=name, namespace=namespace)
                status["address"] = {"url": f"http://{name}-predictor.{namespace}.svc.cluster.local"}
                live["status"] = status
        for key in [key for key in self.kubernetes.objects if key[0] == "pods" and (SERVICES, *key[1:]) != key]:
            owner = self.kubernetes.objects[key]["metadata"]["labels"].get(LABEL)
            if owner and (SERVICES, key[1], owner) not in self.kubernetes.objects:
                del self.kubernetes.objects[key]

    def _has_seen(self, live):
        change = live["metadata"]["uid"], live["metadata"].get("generation")
        self._seen[change] = self._seen.get(change, 0) + 1
        return self._seen[change] >= self.lag

    def _standard(self, namespace, name, live, status):
        predictors = [live["spec"]["predictor"], *(each["predictor"] for each in live["spec"].get("canary") or [])]
        groups = {_service(name, each): each for each in predictors}
        if live["metadata"]["annotations"].get("serving.kserve.io/stop", "").lower() == "true":
            for key in self._pods(namespace, name):
                del self.kubernetes.objects[key]
            status["conditions"] = [
                {"type": "PredictorReady", "status": "False", "reason": "Stopped"},
                {"type": "Stopped", "status": "True"},
            ]
            return
        for key in self._pods(namespace, name):  # orphans go at once
            if self.kubernetes.objects[key]["metadata"]["labels"]["app"] not in groups:
                del self.kubernetes.objects[key]
        try:
            for group, made in groups.items():
                self._reconcile_deployment(namespace, name, group, made)
                self._roll(namespace, name, group, {**predictors[0], **made}, live["metadata"]["annotations"])
        except Failed as failed:
            self._report(live, status, failed)
            return
        ready = bool(self.ready_pods(namespace, _service(name, predictors[0])))
        status["conditions"] = conditions(ready)
        status.pop("canaryStatuses", None)
        if len(predictors) > 1:
            status["canaryStatuses"] = [
                {
                    "name": each["name"],
                    "ready": bool(self.ready_pods(namespace, _service(name, each))),
                    "trafficPercent": live["spec"]["canary"][0]["trafficPercent"],
                }
                for each in predictors[1:]
            ]

    def _reconcile_deployment(self, namespace, name, group, made):
        """Raises Failed where KServe's controller or the API server refuses what a predictor asks for."""
        message, has_condition = self.failures.get(made.get("annotations", {}).get("mynah.dev/version", ""), ("", False))
        if message:
            raise Failed(message, has_condition)
        key = "deployments.apps", namespace, group
        if key in self.kubernetes.objects:
            there = self.kubernetes.objects[key]
            try:
                self.kubernetes.update(key, {}, {**there, "spec": {"selector": {"matchLabels": {"app": f"isvc.{group}"}}}})
            except Refusal as refusal:
                raise Failed(refusal.status["message"], True) from refusal

    def _report(self, live, status, failed):
        """A condition that changes its time only with its words, and an event that counts its repetitions."""
        namespace, name, uid = (live["metadata"][part] for part in ("namespace", "name", "uid"))
        condition = {"status": "False", "reason": "ReconcileFailed", "message": failed.message}
        before = next((each for each in status.get("conditions", []) if each["type"] == "PredictorReady"), {})
        if failed.has_condition and not condition.items() <= before.items():
            about = condition | {"lastTransitionTime": f"at {self.kubernetes.next_version()}"}
            status["conditions"] = [{"type": kind, **about} for kind in ("PredictorReady", "Ready")]
        event = {"type": "Warning", "reason": "InternalError", "message": failed.message}
        for kind, *_, in_event in [key for key in self.kubernetes.objects if key[0] == "events"]:
            found = self.kubernetes.objects[kind, namespace, in_event]
            if event.items() <= found.items() and found["involvedObject"]["uid"] == uid:
                found["count"] += 1
                return
        involved = {"kind": "InferenceService", "name": name, "uid": uid}
        self.kubernetes.put("events", namespace, f"{name}.{uuid.uuid4().hex[:8]}", involvedObject=involved, count=1, **event)

    def _knative(self, namespace, name, live, status):
        made = live["spec"]["predictor"]
        parts = status.setdefault("components", {}).setdefault("predictor", {})
        template = json.dumps({key: part for key, part in made.items() if key != "canaryTrafficPercent"}, sort_keys=True)
        if parts.get("template") != template:
            number = int(parts.get("latestCreatedRevision", "0").rpartition("-")[2]) + 1
            parts |= {"template": template, "latestCreatedRevision": f"{name}-predictor-{number:05}"}
        latest = parts["latestCreatedRevision"]
        self._roll(namespace, name, latest, made, live["metadata"]["annotations"], replaces=False)
        if self.ready_pods(namespace, latest):
            parts["latestReadyRevision"] = latest
        percent = made.get("canaryTrafficPercent")
        stable = parts.get("latestRolledoutRevision")
        if percent is None and parts.get("latestReadyRevision"):
            parts["latestRolledoutRevision"] = parts["latestReadyRevision"]
        split = [
            {
                "latestRevision": True,
                "revisionName": parts.get("latestReadyRevision"),
                "percent": 100 if percent is None else percent,
            }
        ]
        if percent is not None and stable:
            split.append({"latestRevision": False, "revisionName": stable, "percent": 100 - percent, "tag": "prev"})
        parts["traffic"] = split
        status["conditions"] = conditions(parts.get("latestReadyRevision") == latest)

    def _roll(self, namespace, name, group, made, annotations, replaces=True):
        """One pod of the predictor `made`; the pods before it go when it is ready."""
        own = {**annotations, **made.get("annotations", {})}
        mark = own.get("mynah.dev/applied", _uri(made))
        version = own.get("mynah.dev/version", "")
        fate = self.fates.get(version, "good")
        keys = [key for key in self._pods(namespace, name) if self.kubernetes.objects[key]["metadata"]["labels"]["app"] == group]
        mine = [key for key in keys if self.kubernetes.objects[key]["mark"] == mark]
        self._deployment(namespace, name, group, fate)
        if not mine and fate != "quota":
            labels = {LABEL: name, "app": group, "serving.knative.dev/revision": group, **made.get("labels", {})}
            pod = f"{group}-{uuid.uuid4().hex[:5]}"
            metadata = {"labels": labels, "annotations": own}
            self.kubernetes.put("pods", namespace, pod, metadata=metadata, mark=mark, age=0, status=status(fate, False))
            self.kubernetes.logs[namespace, pod, "storage-initializer"] = S3_LOG
            self.kubernetes.logs[namespace, pod, "kserve-container"] = "RuntimeError: no checkpoint"
            mine = [("pods", namespace, pod)]
        for key in mine:
            pod = self.kubernetes.objects[key]
            pod["age"] += 1
            pod["status"] = status(fate, is_ready(pod) or pod["age"] >= self.looks)
            if is_ready(pod) and replaces and pod["age"] >= self.looks + self.overlap:
                for old in set(keys) - set(mine):
                    del self.kubernetes.objects[old]

    def _deployment(self, namespace, name, group, fate):
        conditions = [{"type": "Available", "status": "True"}]
        if fate == "quota":
            conditions.append({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA})
        spec = {"selector": {"matchLabels": {"app": f"isvc.{group}"}}}
        self.kubernetes.put(
            "deployments.apps", namespace, group, metadata={"labels": {LABEL: name}}, spec=spec, status={"conditions": conditions}
        )

    def _pods(self, namespace, name):
        return [
            key for key, found in self.kubernetes.objects.items()
            if key[:2] == ("pods", namespace) and found["metadata"].get("labels", {}).get(LABEL) == name
        ]  # fmt: skip

    def ready_pods(self, namespace, group):
        return [
            found for key, found in self.kubernetes.objects.items()
            if key[:2] == ("pods", namespace) and found["metadata"].get("labels", {}).get("app") == group and is_ready(found)
        ]  # fmt: skip

    def predictor(self, name="wren", namespace="mynah"):
        return self.kubernetes.objects[SERVICES, namespace, name]["spec"]["predictor"]

    # The pods, behind their Services

    def answer(self, namespace, service, method, path, headers, body):
        scheme, _, rest = service.partition(":")
        group, _, port = rest.partition(":")
        group = group.removesuffix("-private")
        self.asked.append((group, path, headers.get("X-API-Key", "")))
        assert (scheme, port, "Authorization" in headers) == ("http", "80", True)
        ready = self.ready_pods(namespace, group)
        if not ready:
            raise Refusal(503, "ServiceUnavailable", f'no endpoints available for service "{service}"')
        version = ready[0]["metadata"]["annotations"].get("mynah.dev/version", "")
        if self.real:
            return self.real(version, method, path, headers, body)
        return self.speak(version, path, headers, body)

    def speak(self, version, path, headers, body):
        fate = self.fates.get(version, "good")
        if fate == "mute":
            return 500, {"error": "internal error"}
        if fate == "key" and path.endswith("/infer") and headers.get("X-API-Key") != "mynah_right":
            return 401, {"error": "send the API key as Authorization: Bearer mynah_…"}
        if path.endswith("/ready"):
            return 200, {"name": path.split("/")[3], "ready": f"/versions/{version}/" in path}
        text = body["inputs"][0]["data"][0] + " is to fly."
        outputs = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["" if fate == "empty" else text]}]
        served = "99" if fate == "other" else version
        return 200, {"id": "1", "model_name": path.split("/")[3], "model_version": served, "outputs": outputs}


class Failed(Exception):  # noqa: N818 - what the controller says of a reconciliation
    def __init__(self, message, has_condition):
        super().__init__(message)
        self.message, self.has_condition = message, has_condition


def _require(is_well, message):
    if not is_well:
        said = f'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: {message}'
        raise Refusal(400, "BadRequest", said)


def _service(name, made):
    return f"{name}-{made['name']}-predictor" if made.get("name") else f"{name}-predictor"


def _uri(predictor):
    """What the webhook compares; storageUris it does not (getPredictorStorageURI in inference_service_validation.go)."""
    return predictor["model"].get("storageUri", "")


def _require_storage(predictor):
    """validateMultipleStorageURIs of the same file."""
    several = predictor.get("storageUris") or []
    _require(not (several and _uri(predictor)), "Setting both StorageURI and StorageURIs is not supported.")
    paths = [each["mountPath"] for each in several]
    _require(len(paths) < 2 or os.path.commonpath(paths) != "/", "storage paths must have a common parent directory")
