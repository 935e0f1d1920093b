"""Invariants of references: everything that an object refers to exists, or k8s/README.md says how to create it."""

import re
from collections.abc import Iterator

from components.deploy.preflight import RIGHTS
from mynah.kubernetes.cluster import INFERENCE_SERVICES
from mynah.kubernetes.lease import LEASES
from mynah.kubernetes.train_jobs import TRAIN_JOBS
from pipelines.placement import SECRETS, SECRETS_OF, SETTING_KEYS, SETTINGS
from scripts.manifests.objects import KUBEFLOW, Fault, Manifests, Object, Pod, namespace_of, where

SA = "ServiceAccount"
STEPS = "mynah-pipeline"  # the account of runs' pods
PAST_THE_POLICIES = (
    "/proxy",
    "/exec",
    "/portforward",
    "/attach",
)  # subresources by which the API server forwards traffic to pods


def accounts_exist(manifests: Manifests) -> Iterator[Fault]:
    """Every pod has a service account of its own, which exists."""
    for pod in manifests.pods:
        name = pod.spec.get("serviceAccountName", "default")
        if name == "default" or not manifests.find(SA, name, pod.namespace):
            yield Fault(pod.where, f"there is no service account {name!r} for it in {pod.namespace}", "Add it to base/access.")


def settings_exist(manifests: Manifests) -> Iterator[Fault]:
    """Every ConfigMap and key that a pod refers to exists; the shared settings also reach the steps, and boto3."""
    for pod in manifests.pods:
        for name, key, optional in _referred(pod, "configMap"):
            config_map = manifests.find("ConfigMap", name, pod.namespace)
            if config_map is None and not optional:
                yield Fault(pod.where, f"there is no ConfigMap {name!r} in {pod.namespace}", "Add it, or correct the name.")
            elif config_map and key and key not in (config_map.get("data") or {}):
                yield Fault(pod.where, f"the ConfigMap {name!r} has no key {key!r}", "Add it, or correct the key.")
    for shared in (config_map for config_map in manifests.of("ConfigMap") if config_map["metadata"]["name"] == SETTINGS):
        data = shared["data"]
        for key in sorted(data.keys() - {*SETTING_KEYS}):
            yield Fault(where(shared), f"no step gets {key}", "Add it to SETTING_KEYS of pipelines/placement.py.")
        if "AWS_REGION" not in data or data["AWS_REGION"] != data.get("AWS_DEFAULT_REGION"):
            problem = "AWS_REGION and AWS_DEFAULT_REGION differ, and boto3 reads the second alone"
            yield Fault(where(shared), problem, "Set both alike.")


def secrets_exist_or_are_documented(manifests: Manifests) -> Iterator[Fault]:
    """Every Secret and key that is referred to, optional or not, exists, or k8s/README.md has the command that creates it.

    No pod gets the whole Secret of MLflow, which has the key that signs sessions.
    """
    wanted = [(pod.where, pod.namespace, name, key) for pod in manifests.pods for name, key, _ in _referred(pod, "secret")]
    wanted += [
        (where(account), namespace_of(account), secret["name"], "")
        for account in manifests.of(SA)
        for secret in account.get("secrets") or []
    ]
    for secrets in (SECRETS, *SECRETS_OF.values()):
        wanted += [("pipeline runs", KUBEFLOW, name, key) for name, keys in secrets.items() for key in keys]
    for gateway in manifests.of("Gateway"):
        for listener in gateway["spec"]["listeners"]:
            for secret in (listener.get("tls") or {}).get("certificateRefs") or []:
                wanted.append((where(gateway), namespace_of(gateway), secret["name"], "tls.key"))
    for at, namespace, name, key in wanted:
        made = manifests.find("Secret", name, namespace)
        keys = {*((made or {}).get("data") or {}), *manifests.documented.get((namespace, name), ())}
        if not keys or (key and key not in keys):
            what = f"the key {key!r} of the Secret {name!r}" if key else f"the Secret {name!r}"
            yield Fault(at, f"nothing makes {what} in {namespace}", "Write its `kubectl create secret` into k8s/README.md.")
    for pod in manifests.pods:
        if any("mynah-mlflow" in str(source) for container in pod.containers for source in container.get("envFrom") or []):
            yield Fault(
                pod.where, "it gets the key that MLflow signs sessions with", "Name the keys of mynah-mlflow that it needs."
            )


def _referred(pod: Pod, kind: str) -> Iterator[tuple[str, str, bool]]:
    """Yield name, key ("" for all keys) and whether it is optional, for every ConfigMap or Secret that a pod refers to."""
    for container in pod.containers:
        for variable in container.get("env") or []:
            if reference := (variable.get("valueFrom") or {}).get(f"{kind}KeyRef"):
                yield reference["name"], reference["key"], bool(reference.get("optional"))
        for source in container.get("envFrom") or []:
            if reference := source.get(f"{kind}Ref"):
                yield reference["name"], "", bool(reference.get("optional"))
    for volume in pod.spec.get("volumes") or []:
        if reference := volume.get(kind):
            name = reference.get("secretName") or reference.get("name")
            yield name, "", bool(reference.get("optional"))
            for key in _files(pod, volume["name"]):
                yield name, key, bool(reference.get("optional"))


def _files(pod: Pod, volume: str) -> Iterator[str]:
    """Yield the files of a volume that a container's arguments or variables name: the keys of a Secret or ConfigMap."""
    for container in pod.containers:
        words = [*(container.get("command") or []), *(container.get("args") or [])]
        words += [str(variable.get("value", "")) for variable in container.get("env") or []]
        for mount in container.get("volumeMounts") or []:
            if mount["name"] == volume:
                pattern = re.compile(rf"(?:^|=){re.escape(mount['mountPath'])}/([^/=]+)$")
                yield from (match[1] for word in words if (match := pattern.search(word)))


def priorities_exist(manifests: Manifests) -> Iterator[Fault]:
    """Every pod has an existing PriorityClass; that of servers is higher than that of training."""
    for pod in manifests.pods:
        name = pod.spec.get("priorityClassName", "")
        if not manifests.find("PriorityClass", name):
            yield Fault(pod.where, f"there is no PriorityClass {name!r}", "Use mynah-serving, or add it to base/priorities.yaml.")
    values = {priority["metadata"]["name"]: priority["value"] for priority in manifests.of("PriorityClass")}
    if values.get("mynah-serving", 0) <= values.get("mynah-training", 0):
        yield Fault("PriorityClass/mynah-serving", "training is as important as answers, or more", "Raise its value.")


def roles_exist(manifests: Manifests) -> Iterator[Fault]:
    """The role of every binding exists, and so does every account that it binds."""
    for binding in manifests.of("RoleBinding", "ClusterRoleBinding"):
        role = binding["roleRef"]
        namespace = namespace_of(binding) if role["kind"] == "Role" else ""
        if not manifests.find(role["kind"], role["name"], namespace):
            yield Fault(where(binding), f"there is no {role['kind']} {role['name']!r}", "Add it, or correct roleRef.")
        for subject in binding.get("subjects") or []:
            if not manifests.find(SA, subject["name"], subject.get("namespace", "")):
                at = subject.get("namespace", "no namespace")
                yield Fault(where(binding), f"there is no service account {subject['name']!r} in {at}", "Correct the subject.")


def rights_are_least(manifests: Manifests) -> Iterator[Fault]:
    """Roles grant the least permissions.

    No role has a wildcard; Secrets and ConfigMaps are read by name; ClusterRoles only read; and no step can bypass the network policies.
    """
    for role in manifests.of("Role", "ClusterRole"):
        for rule in role["rules"]:
            if any("*" in rule.get(part, []) for part in ("apiGroups", "resources", "verbs")):
                yield Fault(where(role), f"a rule has a wildcard: {rule}", "Name what is needed.")
            if {"secrets", "configmaps"} & {*rule["resources"]} and not rule.get("resourceNames"):
                yield Fault(where(role), f"it reads all {' and '.join(rule['resources'])}", "Name them in resourceNames.")
            if role["kind"] == "ClusterRole" and {*rule["verbs"]} - {"get", "list", "watch"}:
                yield Fault(where(role), "it changes things in every namespace", "Move the rule into a Role.")
    for rule in _rules(manifests, STEPS, KUBEFLOW):
        if any(resource.endswith(PAST_THE_POLICIES) for resource in rule["resources"]):
            problem = f"by {' and '.join(rule['resources'])} a step reaches pods past the NetworkPolicies"
            yield Fault(f"{SA}/{KUBEFLOW}/{STEPS}", problem, "Open its way in a NetworkPolicy instead.")
    if not manifests.find("Role", "mynah-serve-in", "mynah") and any(
        "serving.kserve.io" in rule["apiGroups"] for rule in _rules(manifests, STEPS, KUBEFLOW)
    ):
        yield Fault(f"{SA}/{KUBEFLOW}/{STEPS}", "every run may change InferenceServices", "Leave that to components/serve-in.")


def rights_suffice(manifests: Manifests) -> Iterator[Fault]:
    """Accounts have the permissions that our code needs: for the lock of promotions, to find, deploy and delete endpoints, and for TrainJobs."""
    asked = [(STEPS, KUBEFLOW, verb, LEASES.group, LEASES.plural) for verb in LEASES.verbs]
    if manifests.find("Role", "mynah-serve-in", "mynah"):  # in a pod, deploy asks the bot itself
        asked += [(STEPS, KUBEFLOW, *right) for right in RIGHTS if right[2] != "services/proxy"]
    deploys = {(verb, kind.group, kind.plural) for kind in (LEASES, INFERENCE_SERVICES) for verb in kind.verbs} | {*RIGHTS}
    asked += [("mynah-deploy", "mynah", *right) for right in sorted(deploys)]
    wanted = [("mynah", *right) for right in asked]
    if manifests.of("TrainingRuntime"):
        wanted += [(KUBEFLOW, STEPS, KUBEFLOW, verb, TRAIN_JOBS.group, TRAIN_JOBS.plural) for verb in TRAIN_JOBS.verbs]
        wanted += [(KUBEFLOW, STEPS, KUBEFLOW, verb, "", "pods") for verb in ("get", "list")]
    for place, name, namespace, verb, group, resource in wanted:
        rules = _rules(manifests, name, namespace, place)
        if not any(group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"] for rule in rules):
            fix = f"Grant {{apiGroups: [{group!r}], resources: [{resource}], verbs: [{verb}]}}."
            yield Fault(f"{SA}/{namespace}/{name}", f"it may not {verb} {resource}", fix)


def _rules(manifests: Manifests, account: str, namespace: str, place: str = "mynah") -> Iterator[Object]:
    """Yield the RBAC rules of an account in the namespace `place`."""
    subject = {"kind": SA, "name": account, "namespace": namespace}
    for binding in manifests.of("RoleBinding", "ClusterRoleBinding"):
        if subject in (binding.get("subjects") or []) and namespace_of(binding) in ("", place):
            role = binding["roleRef"]
            bound_role = manifests.find(role["kind"], role["name"], namespace_of(binding) if role["kind"] == "Role" else "")
            yield from (bound_role or {}).get("rules") or []
