"""Ways to break what is rendered, each with the check that must see it, and only it."""

import copy
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.deploy.serving_runtime import RUNTIME
from scripts.manifests.objects import Manifests, Object


@dataclass(frozen=True)
class Mutation:
    """`change` breaks the object of that kind (or kinds, with | between) and name, in a rendering's own copy; "remove" takes it out."""

    check: str
    told: str
    kind: str
    name: str
    change: Callable[[Object], Any] | str
    overlay: str = "laptop"

    def applied(self, manifests: Manifests) -> Manifests:
        objects = copy.deepcopy(manifests.objects)
        found = [each for each in objects if each["kind"] in self.kind.split("|") and each["metadata"]["name"] == self.name]
        assert found, (self.kind, self.name)
        if self.change == "remove":
            return dataclasses.replace(manifests, objects=tuple(each for each in objects if each not in found))
        assert callable(self.change)
        for each in found:
            self.change(each)
        assert objects != manifests.objects, "nothing was changed"
        return dataclasses.replace(manifests, objects=objects)


def put(path: str, value: Any) -> Callable[[Object], None]:
    """Set what lies at a path such as spec/template/spec/containers/0/image; ~ stands for a / in a key."""

    def change(found: Object) -> None:
        *way, last = [int(part) if part.isdigit() else part.replace("~", "/") for part in path.split("/")]
        part: Any = found
        for step in way:
            part = part[step] if isinstance(step, int) else part.setdefault(step, {})
        part[last] = value

    return change


def cut(path: str) -> Callable[[Object], None]:
    """Take out what lies at a path."""

    def change(found: Object) -> None:
        *way, last = [int(part) if part.isdigit() else part.replace("~", "/") for part in path.split("/")]
        part: Any = found
        for step in way:
            part = part[step]
        del part[last]

    return change


def add(path: str, value: Any) -> Callable[[Object], None]:
    """Append to the list at a path."""

    def change(found: Object) -> None:
        part: Any = found
        for step in path.split("/"):
            part = part[int(step) if step.isdigit() else step]
        part.append(value)

    return change


def renamed(name: str) -> Callable[[Object], None]:
    """Of a bot's objects, wherever they have its name."""

    def change(found: Object) -> None:
        text = json.dumps(found).replace("wren", name)
        found.clear()
        found.update(json.loads(text))

    return change


def env_of(service: Object, name: str) -> Object:
    variables = service["spec"]["predictor"]["containers"][0]["env"]
    return next(each for each in variables if each["name"] == name)


def hosts(value: str) -> Callable[[Object], None]:
    def change(found: Object) -> None:
        variables = found["spec"]["template"]["spec"]["containers"][0]["env"]
        next(each for each in variables if each["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS")["value"] = value

    return change


def panel(expression: str) -> Callable[[Object], None]:
    def change(found: Object) -> None:
        board = json.loads(found["data"]["mynah.json"])
        board["panels"][0]["targets"][0]["expr"] = expression
        found["data"]["mynah.json"] = json.dumps(board)

    return change


POD, PREDICTOR = "spec/template/spec", "spec/predictor"
SERVER = f"{POD}/containers/0"  # MLflow's
AVIARY = f"{PREDICTOR}/containers/0"
ALERT = "spec/groups/0/rules/0"
MODE, SCALER = "metadata/annotations/serving.kserve.io~deploymentMode", "metadata/annotations/serving.kserve.io~autoscalerClass"
CANARY = [{"predictor": {"name": "next", "model": {"modelFormat": {"name": "mynah"}}}, "trafficPercent": 120}]
RATE = 'sum(rate(istio_requests_total{destination_service_name="aviary-predictor"}[2m]))'
STEPS = {"kind": "ServiceAccount", "name": "mynah-pipeline", "namespace": "kubeflow"}
NODES = "spec/template/spec/replicatedJobs/0/template/spec"
QUOTA = "spec/resourceGroups/0/flavors/0/resources/0"
NOBODY = {"matchLabels": {"app.kubernetes.io/name": "nobody"}}


def _of(
    check: str, kind: str, name: str, *changes: tuple[str, Callable[[Object], Any] | str], overlay: str = "laptop"
) -> list[Mutation]:
    return [Mutation(check, told, kind, name, change, overlay) for told, change in changes]


MUTATIONS = [
    *_of("fits_its_schema", "Deployment", "mlflow",
        ("unknown key", put("spec/replica", 1)), ("wrong type", put("spec/replicas", "two"))),
    *_of("fits_its_schema", "InferenceService", "aviary",
        ("unknown key", put(f"{PREDICTOR}/minimumReplicas", 1)), ("in its container", put(f"{AVIARY}/enviroment", []))),
    *_of("fits_its_schema", "ServingRuntime", RUNTIME, ("unknown key", put("spec/serviceAccountName", "mynah-serve"))),
    *_of("kserve_accepts_names", "InferenceService|PodDisruptionBudget", "wren",
        ("starts with a digit", renamed("1wren")), ("too long", renamed("w" * 48)), ("upper case", renamed("Wren"))),
    *_of("kserve_finds_one_server", "InferenceService", "aviary",
        ("two servers", put(f"{PREDICTOR}/sklearn", {"storageUri": "s3://b/a/"})), ("another name", put(f"{AVIARY}/name", "server"))),
    *_of("kserve_can_download", "InferenceService", "wren",
        ("no slash", put(f"{PREDICTOR}/model/storageUri", "s3://mynah/bots/wren/1")),
        ("an alias", put(f"{PREDICTOR}/model/storageUri", "models:/wren@champion")),
        ("multi-model mode", cut(f"{PREDICTOR}/model/storageUri"))),
    *_of("kserve_finds_the_runtime", "InferenceService", "wren",
        ("another format", put(f"{PREDICTOR}/model/modelFormat/name", "sklearn")),
        ("another version", put(f"{PREDICTOR}/model/modelFormat/version", "9")),
        ("another protocol", put(f"{PREDICTOR}/model/protocolVersion", "grpc-v1"))),
    *_of("kserve_finds_the_runtime", "ServingRuntime", RUNTIME, ("for many models", put("spec/multiModel", True))),
    *_of("kserve_can_scale", "InferenceService", "wren",
        ("no range", put(f"{PREDICTOR}/minReplicas", 5)), ("below none", put(f"{PREDICTOR}/minReplicas", -1)),
        ("no such scaler", put(SCALER, "magic")), ("Knative's metric", put(f"{PREDICTOR}/scaleMetric", "rps"))),
    *_of("kserve_can_split", "InferenceService", "wren",
        ("in Standard mode", put(f"{PREDICTOR}/canaryTrafficPercent", 10)), ("no mode", cut(MODE)),
        ("over 100 %", put("spec/canary", CANARY))),
    *_of("kserve_accepts_the_environment", "InferenceService", "aviary",
        ("blocked", add(f"{AVIARY}/env", {"name": "PYTHONPATH", "value": "/tmp"}))),
    *_of("kserve_leaves_batching_to_us", "InferenceService", "aviary", ("batcher", put(f"{PREDICTOR}/batcher", {"maxBatchSize": 8}))),
    *_of("images_are_pinned", "InferenceService", "aviary",
        ("no tag", put(f"{AVIARY}/image", "registry.example:5000/mynah-serve")), ("latest", put(f"{AVIARY}/image", "mynah-serve:latest"))),
    *_of("images_are_pinned", "Deployment", "mlflow", ("a name", put(f"{POD}/initContainers/0/image", "mlflow:stable"))),
    *_of("resources_are_set", "InferenceService", "aviary",
        ("no limit", cut(f"{AVIARY}/resources/limits/memory")), ("no request", cut(f"{AVIARY}/resources/requests/cpu")),
        ("over its limit", put(f"{AVIARY}/resources/requests/cpu", "3"))),
    *_of("resources_are_set", "ServingRuntime", RUNTIME, ("none", put("spec/containers/0/resources", {}))),
    *_of("pods_are_restricted", "Deployment", "mlflow",
        ("root", put(f"{POD}/securityContext/runAsUser", 0)), ("maybe root", cut(f"{POD}/securityContext/runAsNonRoot")),
        ("no seccomp", cut(f"{POD}/securityContext/seccompProfile")), ("host's network", put(f"{POD}/hostNetwork", True)),
        ("escalation", cut(f"{SERVER}/securityContext/allowPrivilegeEscalation")),
        ("capabilities", put(f"{SERVER}/securityContext/capabilities/add", ["NET_ADMIN"])),
        ("writable", put(f"{SERVER}/securityContext/readOnlyRootFilesystem", False)),
        ("init container", put(f"{POD}/initContainers/0/securityContext/privileged", True)),
        ("node's folder", add(f"{POD}/volumes", {"name": "node", "hostPath": {"path": "/"}}))),
    *_of("pods_are_restricted", "InferenceService", "wren", ("a bot's", put(f"{PREDICTOR}/model/securityContext/capabilities/drop", []))),
    *_of("tokens_stay_out", "InferenceService", "aviary", ("token", cut(f"{PREDICTOR}/automountServiceAccountToken"))),
    *_of("tokens_stay_out", "StatefulSet", "s3", ("token", put(f"{POD}/automountServiceAccountToken", True))),
    *_of("servers_are_probed", "StatefulSet", "postgres", ("no readiness", cut(f"{SERVER}/readinessProbe"))),
    *_of("servers_are_probed", "Deployment", "mlflow", ("another port", put(f"{SERVER}/livenessProbe/httpGet/port", 8080))),
    *_of("servers_are_probed", "InferenceService", "wren",
        ("the server instead of the bot", put(f"{PREDICTOR}/model/readinessProbe/httpGet/path", "/v2/health/ready"))),
    *_of("servers_are_probed", "InferenceService", "aviary",
        ("liveness for readiness", put(f"{AVIARY}/readinessProbe/httpGet/path", "/v2/health/live"))),
    *_of("servers_drain_in_time", "InferenceService", "aviary",
        ("killed while it drains", put(f"{PREDICTOR}/terminationGracePeriodSeconds", 30)), ("no preStop", cut(f"{AVIARY}/lifecycle"))),
    *_of("servers_drain_in_time", "InferenceService", "wren", ("Kubernetes' 30 s", cut(f"{PREDICTOR}/terminationGracePeriodSeconds"))),
    *_of("servers_spread", "InferenceService", "aviary", ("one node", cut(f"{PREDICTOR}/topologySpreadConstraints")),
        ("others", put(f"{PREDICTOR}/topologySpreadConstraints/0/labelSelector", NOBODY))),
    *_of("everything_fits_the_quota", "ResourceQuota", "mynah",
        ("CPU", put("spec/hard/requests.cpu", "2")), ("memory", put("spec/hard/limits.memory", "4Gi"))),
    *_of("accounts_exist", "Deployment", "mlflow",
        ("another", put(f"{POD}/serviceAccountName", "nobody")), ("default", cut(f"{POD}/serviceAccountName"))),
    *_of("settings_exist", "InferenceService", "aviary", ("another", put(f"{AVIARY}/envFrom/0/configMapRef/name", "settings"))),
    *_of("settings_exist", "ConfigMap", "mynah-settings",
        ("key", cut("data/MYNAH_S3_BUCKET")), ("boto3's region", cut("data/AWS_DEFAULT_REGION")),
        ("two regions", put("data/AWS_REGION", "eu-central-1")), ("no step gets it", put("data/MYNAH_COLOUR", "blue"))),
    *_of("secrets_exist_or_are_documented", "Deployment", "mlflow",
        ("another key", put(f"{POD}/initContainers/0/env/1/valueFrom/secretKeyRef/key", "USER"))),
    *_of("secrets_exist_or_are_documented", "InferenceService", "aviary",
        ("another file", put(f"{AVIARY}/args/4", "--keys=/etc/mynah/keys/other.json")),
        ("another", put(f"{AVIARY}/envFrom/1/secretRef/name", "s3")),
        ("all keys", add(f"{AVIARY}/envFrom", {"secretRef": {"name": "mynah-mlflow"}})),
        ("another key", lambda found: env_of(found, "MLFLOW_TRACKING_PASSWORD")["valueFrom"]["secretKeyRef"].update(key="PASSWORD"))),
    *_of("secrets_exist_or_are_documented", "ServiceAccount", "mynah-serve", ("another", put("secrets/0/name", "s3"))),
    *_of("priorities_exist", "Deployment", "mlflow", ("another", put(f"{POD}/priorityClassName", "urgent"))),
    *_of("priorities_exist", "PriorityClass", "mynah-training", ("before answers", put("value", 20000))),
    *_of("roles_exist", "RoleBinding", "mynah-pipeline",
        ("role", put("roleRef/name", "pipeline-runner")), ("account", put("subjects/0/name", "pipeline-runner"))),
    *_of("rights_are_least", "Role", "mynah-pipeline",
        ("wildcard", put("rules/1/verbs", ["*"])), ("all secrets", cut("rules/3/resourceNames"))),
    *_of("rights_are_least", "ClusterRole", "mynah-endpoints", ("deletes everywhere", add("rules/0/verbs", "delete"))),
    *_of("rights_are_least", "RoleBinding", "mynah-deploy", ("steps too", add("subjects", STEPS))),
    *_of("rights_are_least", "Role", "mynah-serve-in", ("past the policies", add("rules/2/resources", "services/proxy"))),
    *_of("rights_suffice", "Role", "mynah-serve-in", ("no patch", put("rules/0/verbs", ["get", "list", "create", "delete"]))),
    *_of("rights_suffice", "Role", "mynah-locks", ("no renewal", put("rules/0/verbs", ["get", "create"]))),
    *_of("rights_suffice", "Role", "mynah-deploy", ("no deletion", put("rules/0/verbs", ["get", "list", "create", "patch"]))),
    *_of("workloads_select_their_own", "Deployment", "mlflow", ("nobody", put("spec/selector", NOBODY))),
    *_of("services_lead_to_pods", "Service", "mlflow",
        ("nobody", put("spec/selector", {"app": "mlflow"})), ("port", put("spec/ports/0/targetPort", "grpc"))),
    *_of("budgets_protect_pods", "PodDisruptionBudget", "aviary",
        ("drain waits", lambda found: found["spec"].update(minAvailable=1) or found["spec"].pop("maxUnavailable")), ("none", "remove")),
    *_of("budgets_protect_pods", "PodDisruptionBudget", "wren",
        ("nobody", put("spec/selector", NOBODY)), ("blocked by a sick pod", cut("spec/unhealthyPodEvictionPolicy")),
        ("all bots", put("spec/selector", {"matchExpressions": [{"key": "mynah.dev/bot", "operator": "Exists"}]}))),
    *_of("routes_lead_to_servers", "HTTPRoute", "aviary",
        ("Service", put("spec/rules/0/backendRefs/0/name", "aviary")), ("port", put("spec/rules/0/backendRefs/0/port", 8080)),
        ("listener", put("spec/parentRefs/0/sectionName", "http"))),
    *_of("scalers_scale_something", "ScaledObject", "aviary", ("target", put("spec/scaleTargetRef/name", "aviary"))),
    *_of("scalers_scale_something", "InferenceService", "aviary", ("two scalers", put(SCALER, "hpa"))),
    *_of("monitors_find_pods", "PodMonitor", "mynah",
        ("port", put("spec/podMetricsEndpoints/0/port", "prometheus")), ("nobody", put("spec/selector", NOBODY))),
    *_of("monitors_find_pods", "PodMonitor", "mynah-gateway", ("none", "remove"),
        ("port", put("spec/podMetricsEndpoints/0/port", "http-metrics")), ("nobody", put("spec/selector", NOBODY))),
    *_of("namespaces_are_restricted", "Namespace", "mynah",
        ("baseline", put("metadata/labels/pod-security.kubernetes.io~enforce", "baseline"))),
    *_of("namespaces_are_restricted", "LimitRange", "mynah", ("no defaults", "remove")),
    *_of("mlflow_answers_its_names", "Deployment", "mlflow", ("no port", hosts("mlflow.mynah.svc.cluster.local"))),
    *_of("mlflow_answers_its_names", "ConfigMap", "mynah-settings",
        ("another name", put("data/MLFLOW_TRACKING_URI", "http://mlflow.mynah.svc.cluster.example:5000")),
        ("another port", put("data/MLFLOW_TRACKING_URI", "http://mlflow.mynah.svc.cluster.local:80"))),
    *_of("policies_mean_something", "NetworkPolicy", "servers",
        ("a peer that is nobody", add("spec/ingress/0/from", {"podSelector": NOBODY}))),
    *_of("policies_mean_something", "NetworkPolicy", "mynah-steps-to-s3",
        ("a namespace that is not", add("spec/egress/0/to", {"namespaceSelector": {"matchLabels": {"name": "mynah"}}}))),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "mlflow",
        ("everybody", cut("spec/ingress/0/from")), ("a port", put("spec/ingress/0/ports/0/port", 5001))),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "to-s3", ("closed", "remove")),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "dns", ("closed", "remove")),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "mynah-steps", ("closed", "remove")),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "scraping", ("the wrong port", put("spec/ingress/0/ports/0/port", 8080))),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "gateway", ("everywhere", add("spec/egress", {}))),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "gateway-scraping", ("closed", "remove")),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "mynah-steps-to-bots", ("closed", "remove")),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "bots-from-steps",
        ("closed", "remove"), ("the Service's port", put("spec/ingress/0/ports/0/port", 80))),
    *_of("metrics_are_exported", "PrometheusRule", "mynah",
        ("metric", put(f"{ALERT}/expr", 'sum(mynah_requests_count{namespace="mynah"}) > 1')),
        ("label", put(f"{ALERT}/expr", 'sum(mynah_requests_total{code="500"}) > 1')),
        ("group", put(f"{ALERT}/expr", 'sum by (model) (mynah_queue_waiting{namespace="mynah"}) > 1')),
        ("no selector", put(f"{ALERT}/expr", "mynah_queue_length > 1"))),
    *_of("silence_is_heard", "PrometheusRule", "mynah", ("no pods", put(f"{ALERT}/expr", 'sum(up{namespace="mynah"}) == 0'))),
    *_of("silence_is_heard", "ScaledObject", "aviary", ("the first request", put("spec/triggers/1/metadata/query", RATE))),
    *_of("metrics_are_exported", "ScaledObject", "aviary",
        ("metric", put("spec/triggers/0/metadata/query", 'sum(mynah_queue_depth{namespace="mynah"})'))),
    *_of("metrics_are_exported", "ConfigMap", "mynah-dashboard", ("metric", panel('sum(mynah_errors_total{namespace="$namespace"})'))),
    *_of("alerts_have_runbooks", "PrometheusRule", "mynah",
        ("no section", put(f"{ALERT}/annotations/runbook", "docs/runbook.md#what-to-do")),
        ("no runbook", cut(f"{ALERT}/annotations/runbook")), ("at once", cut(f"{ALERT}/for")),
        ("no severity", put(f"{ALERT}/labels", {}))),
    *_of("fits_its_schema", "TrainingRuntime", "mynah",
        ("unknown key", put("spec/mlPolicy/torch/numProcPerNode", "auto")), ("in its job", put(f"{NODES}/backOffLimit", 0)),
        ("in its pod", put(f"{NODES}/template/spec/containers/0/enviroment", []))),
    *_of("fits_its_schema", "ClusterQueue", "team-a",
        ("v1beta1's cohort", put("spec/cohort", "mynah")), ("no quantity", put(f"{QUOTA}/nominalQuota", "many"))),
    *_of("pods_are_restricted", "TrainingRuntime", "mynah",
        ("root", put(f"{NODES}/template/spec/securityContext/runAsNonRoot", False))),
    *_of("rights_suffice", "Role", "mynah-train-jobs", ("delete", put("rules/0/verbs", ["get", "create", "patch"]))),
    *_of("ways_are_open_or_closed", "NetworkPolicy", "mynah-training-nodes",
        ("one port", put("spec/ingress/0/ports", [{"protocol": "TCP", "port": 29500}])),
        ("from steps", put("spec/ingress/0/from", [{"podSelector": {}}]))),
    *_of("queues_lead_to_quota", "LocalQueue", "team-a", ("another team", put("spec/clusterQueue", "team-c"))),
    *_of("queues_lead_to_quota", "ResourceFlavor", "mynah-gpu-spot",
        ("missing", "remove"), ("another pool", put("spec/nodeLabels", {"mynah.dev/pool": "gpu-spot"}))),
    *_of("queues_lead_to_quota", "ClusterQueue", "team-b",
        ("another namespace", put("spec/namespaceSelector/matchLabels/kubernetes.io~metadata.name", "team-b")),
        ("not covered", put("spec/resourceGroups/0/coveredResources", ["cpu", "memory"]))),
    *_of("fits_its_schema", "Service", "postgres", ("unknown key", put("spec/externalname", "x")), overlay="gpu"),
    *_of("secrets_exist_or_are_documented", "Gateway", "mynah",
        ("certificate", put("spec/listeners/0/tls/certificateRefs/0/name", "tls")), overlay="gpu"),
]  # fmt: skip
