"""An API server of Kubernetes in memory, over real HTTP: what Mynah asks of one, answered as the real one answers.

kmock 0.8, the API server for tests from PyPI, merges every PUT like a patch, knows neither resourceVersion nor pages, nor who manages
a field, and so can show neither whether a lock holds nor what an apply may change. What is imitated here was read in Kubernetes'
sources:

    resourceVersion, UID and conflicts   apiserver/pkg/registry/generic/registry/store.go
    Leases                               pkg/registry/coordination/lease/strategy.go, pkg/apis/coordination/validation
    pages, and tokens that are too old   apiserver/pkg/storage/etcd3/store.go
    refusals                             apimachinery/pkg/api/errors, apiserver/pkg/endpoints/handlers/responsewriters
    server-side apply                    fake_apply.py
    deletion in the foreground           https://kubernetes.io/docs/concepts/architecture/garbage-collection
"""

import base64
import contextlib
import copy
import json
import re
import socket
import ssl
import threading
import time
import uuid
from urllib.parse import parse_qs, unquote, urlsplit

import fake_apply
import yaml

from tests import http_fake
from tests.http_fake import Answer, HttpFake

PATH = re.compile(
    r"/api(?:s/(?P<group>[^/]+))?/v\w+(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<part>.+))?)?"
)
GROUP = re.compile(r"/apis/(?P<group>[^/]+)/(?P<version>v\w+)")
REVIEWS = "selfsubjectaccessreviews.authorization.k8s.io"
APPLY = "application/apply-patch+yaml"
LEASES, SERVICES = "leases.coordination.k8s.io", "inferenceservices.serving.kserve.io"
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
FOREGROUND = "foregroundDeletion"
TOKEN = "let-me-in"
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


class FakeKubernetes(HttpFake):
    """The server; tests may look into and change `objects`, and set how it behaves."""

    json_type = "application/json"

    def __init__(self, tls: ssl.SSLContext | None = None):
        super().__init__(tls)
        self.kinds = {LEASES, SERVICES}
        self.namespaces = {"bots", "other"}
        self.objects = {}  # (kind, namespace, name) to object; a core kind is its plural alone
        self.owners = {}  # (kind, namespace, name) to (manager, operation) to the fields that are theirs
        self.forbidden = set()  # (verb, kind)
        self.reactions = []  # what controllers do: called before each answer
        self.admission = None  # a webhook: (new, old or None) to the new object, or it raises Refusal
        self.proxy = None  # (namespace, service, method, path, headers, body) to (code, object): a Service behind services/proxy
        self.logs = {}  # (namespace, pod, container) to text
        self.token = TOKEN
        self.seconds_to_collect = 0.0  # until the garbage collector has removed what belongs to a deleted object
        self.tokens_too_old = False
        self.instead = None  # (code, headers, body): what it answers to everything
        self.answers_to_lose = 0  # it does what is asked, and the connection breaks before the answer
        self.calls = []  # (verb, path with query)
        self._version = 1000
        self._deleted_at = {}  # uid to time
        self._lock = threading.RLock()

    def handle(self, handler):
        if not self.answers_to_lose:
            super().handle(handler)
            return
        self.answers_to_lose -= 1
        self.answer_to(handler.read_request())
        handler.close_connection = True

    def respond(self, request):
        if self.instead:
            code, headers, body = self.instead
            return Answer(code, body, headers)
        return Answer(*self.answer(request.method, request.target, request.headers, request.json()))

    def put(self, kind, namespace, name, /, **parts):
        """Put an object there as its owner would; `parts` are what it has beside its metadata's own."""
        metadata = {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), **parts.pop("metadata", {})}
        with self._lock:
            self.objects[kind, namespace, name] = {"metadata": metadata | {"resourceVersion": self._next()}, **parts}

    def edit(self, kind, namespace, name, manager, change):
        """Change an object by the function `change`, as `kubectl edit` of the field manager `manager` would."""
        with self._lock:
            key = kind, namespace, name
            before, then = copy.deepcopy(self.objects[key]), self.objects[key]
            change(then)
            self.owners[key] = fake_apply.updated(before, then, manager, self.owners.get(key, {}))
            self._store(key, then, before)

    def change(self, kind, namespace, name, /, **spec):
        """Change an object's spec as somebody else would."""
        with self._lock:
            found = self.objects[kind, namespace, name]
            found["spec"] |= spec
            found["metadata"]["resourceVersion"] = self._next()

    def holder(self, name, namespace="bots"):
        with self._lock:
            return self.objects[LEASES, namespace, name]["spec"]["holderIdentity"]

    def asked(self, verb):
        return [path for each, path in self.calls if each == verb]

    def answer(self, method, path, headers, body):
        """(code, object) for a request."""
        with self._lock:
            return copy.deepcopy(self._answer(method, path, headers, body))

    def _answer(self, method, path, headers, body):
        authorization = headers.get("Authorization", "")
        if authorization.lower() != f"bearer {self.token}":
            raise Refusal(401, "Unauthorized", "Unauthorized")
        address = urlsplit(path)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        if address.path == "/version":
            return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.1", "platform": "linux/amd64"}
        if group := GROUP.fullmatch(address.path):
            return self._discover(group["group"], f"{group['group']}/{group['version']}")
        found = PATH.fullmatch(address.path)
        kind = found["plural"] + (f".{found['group']}" if found["group"] else "") if found else ""
        namespace, name, part = (found and unquote(found[part] or "") for part in ("namespace", "name", "part"))
        verb = _verb(method, name)
        self.calls.append((verb, path))
        for react in self.reactions:
            react()
        if part:
            return self._subresource(verb, method, (kind, namespace, name), part, query, headers, body)
        if kind == REVIEWS:
            return 201, body | {"status": {"allowed": not self._is_forbidden(body["spec"]["resourceAttributes"])}}
        self._authorize(verb, kind, namespace)
        if kind not in self.kinds:
            return 404, "404 page not found\n"  # no Status: the path is unknown to every API group
        if method == "PATCH":
            return self._patch((kind, namespace, name), query, headers, body)
        if method == "POST":
            return self._create(kind, namespace, body)
        if not name:
            return self._list(kind, namespace, query) if method == "GET" else (405, {})
        self._collect()
        return getattr(self, f"_{verb}")((kind, namespace, name), query | (body or {}), body)

    def _next(self):
        self._version += 1
        return str(self._version)

    def _discover(self, group, version):
        kinds = [kind.partition(".")[0] for kind in sorted(self.kinds) if kind.partition(".")[2] == group]
        if not kinds:
            return 404, "404 page not found\n"
        resources = [{"name": kind, "namespaced": True} for kind in kinds]
        return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}

    def _is_forbidden(self, wanted):
        kind = "/".join(filter(None, [wanted["resource"], wanted.get("subresource")]))
        return (wanted["verb"], f"{kind}.{wanted['group']}" if wanted["group"] else kind) in self.forbidden

    def _subresource(self, verb, method, key, part, query, headers, body):
        kind, namespace, name = key
        self._authorize(verb if part != "proxy" else "create", f"{kind}/{part.partition('/')[0]}", namespace)
        if kind == "services" and self.proxy:
            return self.proxy(namespace, name, method, part.removeprefix("proxy"), headers, body)
        if (kind, part) == ("pods", "log"):
            self._found(key)
            said = self.logs.get((namespace, name, query["container"]), "")
            return 200, "".join(line + "\n" for line in said.splitlines()[-int(query.get("tailLines", 1000)) :])
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _patch(self, key, query, headers, config):
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
        about["resourceVersion"] = old["resourceVersion"] if is_same else self._next()
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        about["managedFields"] = fake_apply.managed_fields(self.owners.get(key, {}), then.get("apiVersion", "v1"), when)
        self.objects[key] = copy.deepcopy(then)

    def _authorize(self, verb, kind, namespace):
        if (verb, kind) in self.forbidden:
            plural, _, group = kind.partition(".")
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            raise Refusal(
                403, "Forbidden",
                f'{kind} is forbidden: User "system:serviceaccount:bots:default" cannot {verb} resource "{plural}" in API group '
                f'"{group}" {where}',
            )  # fmt: skip

    def _found(self, key):
        if key not in self.objects:
            raise Refusal(404, "NotFound", f'{key[0]} "{key[2]}" not found')
        return self.objects[key]

    def _create(self, kind, namespace, body):
        name = body["metadata"]["name"]
        if namespace not in self.namespaces:
            raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found')
        if (kind, namespace, name) in self.objects:
            raise Refusal(409, "AlreadyExists", f'{kind} "{name}" already exists')
        _validate(kind, body)
        self.put(kind, namespace, name, **body)
        return 201, self.objects[kind, namespace, name]

    def _list(self, kind, namespace, query):
        keys = sorted(key for key in self.objects if key[0] == kind and (not namespace or key[1] == namespace))
        if query.get("labelSelector"):
            label, _, value = query["labelSelector"].partition("=")
            keys = [key for key in keys if (self.objects[key]["metadata"].get("labels") or {}).get(label) == value]
        start = 0
        if query.get("continue"):
            if self.tokens_too_old:
                raise Refusal(410, "Expired", TOO_OLD)
            start = json.loads(base64.urlsafe_b64decode(query["continue"]))["start"]
        end = start + int(query.get("limit") or len(keys))
        metadata = {"resourceVersion": str(self._version)}
        if end < len(keys):
            token = base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "start": end}).encode()).decode()
            metadata |= {"continue": token, "remainingItemCount": len(keys) - end}
        return 200, {"kind": "List", "metadata": metadata, "items": [self.objects[key] for key in keys[start:end]]}

    def _get(self, key, _query, _body):
        return 200, self._found(key)

    def _update(self, key, _query, body):
        version, uid = (body["metadata"].get(part) for part in ("resourceVersion", "uid"))
        cannot = f'Operation cannot be fulfilled on {key[0]} "{key[2]}": '
        there = self.objects.get(key, {"metadata": {}})["metadata"]
        if uid and uid != there.get("uid"):  # also when it is gone
            said = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {there.get('uid', '')}"
            raise Refusal(409, "Conflict", f"{cannot}StorageError: invalid object, Code: 4, AdditionalErrorMsg: {said}")
        if not there:
            return self._create(key[0], key[1], body)  # a Lease may be created by an update
        if not version:
            raise Refusal(
                422, "Invalid", f'{key[0]} "{key[2]}" is invalid: metadata.resourceVersion: must be specified for an update'
            )
        if version != there["resourceVersion"]:
            said = "the object has been modified; please apply your changes to the latest version and try again"
            raise Refusal(409, "Conflict", cannot + said)
        _validate(key[0], body)
        if body != self.objects[key]:  # writing what is there already changes nothing
            self.objects[key] = copy.deepcopy(body)
            self.objects[key]["metadata"]["resourceVersion"] = self._next()
        return 200, self.objects[key]

    def _delete(self, key, query, _body):
        metadata = self._found(key)["metadata"]
        finalizers = metadata.setdefault("finalizers", [])
        if query.get("propagationPolicy") == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        if finalizers:
            metadata.setdefault("deletionTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            self._deleted_at.setdefault(metadata["uid"], time.monotonic())
            return 200, self.objects[key]
        del self.objects[key]
        self.owners.pop(key, None)
        details = {"name": key[2], "group": key[0].partition(".")[2], "kind": key[0].partition(".")[0], "uid": metadata["uid"]}
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _collect(self):
        """What the garbage collector does in the background: finish what only waits for it."""
        for key, found in list(self.objects.items()):
            metadata = found["metadata"]
            due = self._deleted_at.get(metadata["uid"], float("inf")) + self.seconds_to_collect <= time.monotonic()
            if due and FOREGROUND in metadata["finalizers"]:
                metadata["finalizers"].remove(FOREGROUND)
            if due and not metadata["finalizers"]:
                del self.objects[key]


def _verb(method, name):
    return {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]


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


@contextlib.contextmanager
def silent_server():
    """A server that takes every connection and never answers; yields its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # the kernel completes the connections by itself
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def write_kubeconfig(path, url, token=TOKEN, context="fake", **cluster):
    """A kubeconfig with one context, which is not the current one."""
    elsewhere = {"name": "elsewhere", "context": {"cluster": "elsewhere", "user": "nobody"}}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "elsewhere",
        "clusters": [
            {"name": "fake", "cluster": {"server": url, **cluster}},
            {"name": "elsewhere", "cluster": {"server": "http://127.0.0.1:9"}},
        ],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": context, "context": {"cluster": "fake", "user": "me"}}, elsewhere],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path
