"""The objects of an API server of Kubernetes in memory: how they are created, applied, updated, listed and deleted.

What is imitated was read in the sources that fake_kubernetes.py names.
"""

import base64
import copy
import json
import re
import threading
import time
import uuid

import fake_apply

from tests import http_fake
from tests.http_fake import Answer

LEASES = "leases.coordination.k8s.io"
APPLY = "application/apply-patch+yaml"
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
FOREGROUND = "foregroundDeletion"
TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue "
    "parameter, or use the continue token in this response to retrieve the remainder of the results."
)


class Refusal(http_fake.Refusal):
    """What the server answers with a Status object."""

    def __init__(self, code: int, reason: str, message: str):
        failure = {"status": "Failure", "message": message, "reason": reason, "code": code}
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **failure}
        super().__init__(Answer(code, self.status), message)


class KubernetesObjects:
    """The objects; tests may look into and change `objects`. Each verb's method gives (code, object)."""

    def __init__(self):
        self.namespaces = {"bots", "other"}
        self.objects = {}  # (kind, namespace, name) to object; a core kind is its plural alone
        self.owners = {}  # (kind, namespace, name) to (manager, operation) to the fields that are theirs
        self.admission = None  # a webhook: (new, old or None) to the new object, or it raises Refusal
        self.seconds_to_collect = 0.0  # until the garbage collector has removed what belongs to a deleted object
        self.tokens_too_old = False
        self.version = 1000
        self._deleted_at = {}  # uid to time
        self.lock = threading.RLock()

    def put(self, kind, namespace, name, /, **parts):
        """Put an object there as its owner would; `parts` are what it has beside its metadata's own."""
        metadata = {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), **parts.pop("metadata", {})}
        with self.lock:
            self.objects[kind, namespace, name] = {"metadata": metadata | {"resourceVersion": self.next_version()}, **parts}

    def edit(self, kind, namespace, name, manager, change):
        """Change an object by the function `change`, as `kubectl edit` of the field manager `manager` would."""
        with self.lock:
            key = kind, namespace, name
            before, then = copy.deepcopy(self.objects[key]), self.objects[key]
            change(then)
            self.owners[key] = fake_apply.updated(before, then, manager, self.owners.get(key, {}))
            self._store(key, then, before)

    def change(self, kind, namespace, name, /, **spec):
        """Change an object's spec as somebody else would."""
        with self.lock:
            found = self.objects[kind, namespace, name]
            found["spec"] |= spec
            found["metadata"]["resourceVersion"] = self.next_version()

    def holder(self, name, namespace="bots"):
        """Who holds a Lease."""
        with self.lock:
            return self.objects[LEASES, namespace, name]["spec"]["holderIdentity"]

    def next_version(self):
        """The next resourceVersion."""
        self.version += 1
        return str(self.version)

    def patch(self, key, query, headers, config):
        """A server-side apply; no other patch is asked of it."""
        _, namespace, name = key
        if headers.get("Content-Type") != APPLY:
            raise Refusal(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        if not query.get("fieldManager"):
            raise Refusal(
                422, "Invalid", "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
            )
        if namespace not in self.namespaces:
            raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found')
        before = self.objects.get(key)
        try:
            force, owners = query.get("force") == "true", self.owners.get(key, {})
            then, owners = fake_apply.apply(before or {}, config, query["fieldManager"], owners, force)
        except fake_apply.Conflicts as conflicts:
            raise self._conflict(conflicts.found, config["apiVersion"]) from conflicts
        then |= {part: config[part] for part in ("apiVersion", "kind")}
        then["metadata"] |= {"name": name, "namespace": namespace}
        if self.admission:
            then = self.admission(then, copy.deepcopy(before))
        if query.get("dryRun") == "All":
            return (200 if before else 201), then
        self.owners[key] = owners
        self._store(key, then, before)
        return (200 if before else 201), self.objects[key]

    def _conflict(self, found, version):
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        causes = []
        for manager, operation, path in found:
            who = f'"{manager}"' if operation == "Apply" else f'"{manager}" using {version} at {when}'
            causes.append({"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": fake_apply.shown(path)})
        count = "1 conflict" if len(causes) == 1 else f"{len(causes)} conflicts"
        refusal = Refusal(409, "Conflict", f"Apply failed with {count}: {causes[0]['message']}: {causes[0]['field']}")
        refusal.status["details"] = {"causes": causes}
        return refusal

    def _store(self, key, then, before):
        """Keep an object; what is written as it was keeps its resourceVersion, and only a new spec its generation."""
        about = then["metadata"]
        about.setdefault("uid", str(uuid.uuid4()))
        old = before["metadata"] if before else {}
        is_same = before and {**then, "metadata": {**about, "managedFields": 0}} == {
            **before,
            "metadata": {**old, "managedFields": 0},
        }
        is_new_spec = not before or then.get("spec") != before.get("spec")
        about["generation"] = old.get("generation", 0) + is_new_spec
        about["resourceVersion"] = old["resourceVersion"] if is_same else self.next_version()
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        about["managedFields"] = fake_apply.managed_fields(self.owners.get(key, {}), then.get("apiVersion", "v1"), when)
        self.objects[key] = copy.deepcopy(then)

    def found(self, key):
        """The object of that (kind, namespace, name); raises Refusal where there is none."""
        if key not in self.objects:
            raise Refusal(404, "NotFound", f'{key[0]} "{key[2]}" not found')
        return self.objects[key]

    def create(self, kind, namespace, body):
        """Put a new object there; raises Refusal where one of its name is."""
        name = body["metadata"]["name"]
        if namespace not in self.namespaces:
            raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found')
        if (kind, namespace, name) in self.objects:
            raise Refusal(409, "AlreadyExists", f'{kind} "{name}" already exists')
        _validate(kind, body)
        self.put(kind, namespace, name, **body)
        return 201, self.objects[kind, namespace, name]

    def list_objects(self, kind, namespace, query):
        """A page of the objects of a kind, in one namespace or, for "", in all."""
        keys = sorted(key for key in self.objects if key[0] == kind and (not namespace or key[1] == namespace))
        if query.get("labelSelector"):
            label, has_value, value = query["labelSelector"].partition("=")
            labels = {key: self.objects[key]["metadata"].get("labels") or {} for key in keys}
            keys = [key for key in keys if (labels[key].get(label) == value if has_value else label in labels[key])]
        for field, _, value in (each.partition("=") for each in filter(None, query.get("fieldSelector", "").split(","))):
            keys = [key for key in keys if _field(self.objects[key], field) == value]
        start = 0
        if query.get("continue"):
            if self.tokens_too_old:
                raise Refusal(410, "Expired", TOO_OLD)
            start = json.loads(base64.urlsafe_b64decode(query["continue"]))["start"]
        end = start + int(query.get("limit") or len(keys))
        metadata = {"resourceVersion": str(self.version)}
        if end < len(keys):
            token = base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "start": end}).encode()).decode()
            metadata |= {"continue": token, "remainingItemCount": len(keys) - end}
        return 200, {"kind": "List", "metadata": metadata, "items": [self.objects[key] for key in keys[start:end]]}

    def get(self, key, _query, _body):
        """An object; raises Refusal where there is none."""
        return 200, self.found(key)

    def update(self, key, _query, body):
        """Replace an object; raises Refusal where `body` is of another resourceVersion or UID."""
        version, uid = (body["metadata"].get(part) for part in ("resourceVersion", "uid"))
        cannot = f'Operation cannot be fulfilled on {key[0]} "{key[2]}": '
        there = self.objects.get(key, {"metadata": {}})["metadata"]
        if uid and uid != there.get("uid"):  # also when it is gone
            said = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {there.get('uid', '')}"
            raise Refusal(409, "Conflict", f"{cannot}StorageError: invalid object, Code: 4, AdditionalErrorMsg: {said}")
        if not there:
            return self.create(key[0], key[1], body)  # a Lease may be created by an update
        if not version:
            raise Refusal(
                422, "Invalid", f'{key[0]} "{key[2]}" is invalid: metadata.resourceVersion: must be specified for an update'
            )
        if version != there["resourceVersion"]:
            said = "the object has been modified; please apply your changes to the latest version and try again"
            raise Refusal(409, "Conflict", cannot + said)
        _validate(key[0], body)
        _refuse_another_selector(key, body, self.objects[key])
        if body != self.objects[key]:  # writing what is there already changes nothing
            self.objects[key] = copy.deepcopy(body)
            self.objects[key]["metadata"]["resourceVersion"] = self.next_version()
        return 200, self.objects[key]

    def delete(self, key, query, _body):
        """Delete an object; one with finalizers only begins to go, and `collect` removes it."""
        metadata = self.found(key)["metadata"]
        finalizers = metadata.setdefault("finalizers", [])
        if query.get("propagationPolicy") == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        if finalizers:
            metadata.setdefault("deletionTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            self._deleted_at.setdefault(metadata["uid"], time.monotonic())
            return 200, self.objects[key]
        self._remove(key)
        details = {"name": key[2], "group": key[0].partition(".")[2], "kind": key[0].partition(".")[0], "uid": metadata["uid"]}
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def collect(self):
        """What the garbage collector does in the background: finish what only waits for it."""
        for key, found in list(self.objects.items()):
            metadata = found["metadata"]
            due = self._deleted_at.get(metadata["uid"], float("inf")) + self.seconds_to_collect <= time.monotonic()
            if due and FOREGROUND in metadata["finalizers"]:
                metadata["finalizers"].remove(FOREGROUND)
            if due and not metadata["finalizers"]:
                self._remove(key)

    def _remove(self, key):
        """Remove an object, and those that it owns."""
        uid = self.objects.pop(key)["metadata"]["uid"]
        self.owners.pop(key, None)
        for other, found in list(self.objects.items()):
            if uid in [owner["uid"] for owner in found["metadata"].get("ownerReferences") or []]:
                self._remove(other)


def _field(found, path):
    """What a field selector compares; "" for none."""
    for part in path.split("."):
        found = (found or {}).get(part)
    return str(found or "")


def _refuse_another_selector(key, body, before):
    """ValidateDeploymentUpdate's rule of apps/v1 (pkg/registry/apps/deployment/strategy.go)."""
    kind, _, name = key
    if kind == "deployments.apps" and (selector := body["spec"]["selector"]) != before["spec"]["selector"]:
        said = f"spec.selector: Invalid value: {json.dumps(selector)}: field is immutable"
        raise Refusal(422, "Invalid", f'Deployment.apps "{name}" is invalid: {said}')


def _validate(kind, body):
    if kind != LEASES:
        return
    spec = body["spec"]
    for part in ("acquireTime", "renewTime"):
        if part in spec and not MICRO_TIME.fullmatch(spec[part]):
            raise Refusal(400, "BadRequest", f'Lease in version "v1" cannot be handled as a Lease: parsing time "{spec[part]}"')
    duration = spec.get("leaseDurationSeconds", 1)
    if not isinstance(duration, int) or duration <= 0:
        raise Refusal(
            422, "Invalid", f"Lease is invalid: spec.leaseDurationSeconds: Invalid value: {duration}: must be greater than 0"
        )
