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

import contextlib
import copy
import re
import socket
import ssl
from urllib.parse import parse_qs, unquote, urlsplit

import fake_port_forward
import yaml
from fake_kubernetes_objects import LEASES, KubernetesObjects, Refusal

from tests.http_fake import Answer, HttpFake

PATH = re.compile(
    r"/api(?:s/(?P<group>[^/]+))?/v\w+(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<part>.+))?)?"
)
GROUP = re.compile(r"/apis/(?P<group>[^/]+)/(?P<version>v\w+)")
REVIEWS = "selfsubjectaccessreviews.authorization.k8s.io"
SERVICES = "inferenceservices.serving.kserve.io"
TOKEN = "let-me-in"


class FakeKubernetes(KubernetesObjects, HttpFake):
    """The server; tests may look into and change `objects`, and set how it behaves."""

    json_type = "application/json"

    def __init__(self, tls: ssl.SSLContext | None = None):
        KubernetesObjects.__init__(self)
        HttpFake.__init__(self, tls)
        self.kinds = {LEASES, SERVICES}
        self.forbidden = set()  # (verb, kind)
        self.reactions = []  # what controllers do: called before each answer
        self.proxy = None  # (namespace, service, method, path, headers, body) to (code, object): a Service behind services/proxy
        self.ports = {}  # (namespace, pod, port) to (HOST, PORT), or None where nothing listens: what port-forwards reach
        self.pings = False  # it pings while it forwards
        self.logs = {}  # (namespace, pod, container) to text
        self.token = TOKEN
        self.instead = None  # (code, headers, body): what it answers to everything
        self.answers_to_lose = 0  # it does what is asked, and the connection breaks before the answer
        self.calls = []  # (verb, path with query)

    def handle(self, handler):
        if handler.headers.get("Upgrade", "").lower() == "websocket":
            self._upgrade(handler)
            return
        if not self.answers_to_lose:
            super().handle(handler)
            return
        self.answers_to_lose -= 1
        self.answer_to(handler.read_request())
        handler.close_connection = True

    def _upgrade(self, handler):
        """Forward a port, or answer as to any request that is refused."""
        request = handler.read_request()
        self.requests.append(request)
        answer = self.answer_to(request)
        if answer.status != 101:
            handler.send(answer)
            return
        found = PATH.fullmatch(request.path)
        port = int(request.query["ports"])
        fake_port_forward.serve(handler, port, self.ports.get((found["namespace"], found["name"], port)), pings=self.pings)

    def respond(self, request):
        if self.instead:
            code, headers, body = self.instead
            return Answer(code, body, headers)
        return Answer(*self.answer(request.method, request.target, request.headers, request.json()))

    def asked(self, verb):
        return [path for each, path in self.calls if each == verb]

    def answer(self, method, path, headers, body):
        """(code, object) for a request."""
        with self.lock:
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
            return self.patch((kind, namespace, name), query, headers, body)
        if method == "POST":
            return self.create(kind, namespace, body)
        if not name:
            return self.list_objects(kind, namespace, query) if method == "GET" else (405, {})
        self.collect()
        return getattr(self, verb)((kind, namespace, name), query | (body or {}), body)

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
        if (kind, part) == ("pods", "portforward"):
            self.found(key)
            return 101, b""
        if (kind, part) == ("pods", "log"):
            self.found(key)
            said = self.logs.get((namespace, name, query["container"]), "")
            return 200, "".join(line + "\n" for line in said.splitlines()[-int(query.get("tailLines", 1000)) :])
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _authorize(self, verb, kind, namespace):
        if (verb, kind) in self.forbidden:
            plural, _, group = kind.partition(".")
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            raise Refusal(
                403, "Forbidden",
                f'{kind} is forbidden: User "system:serviceaccount:bots:default" cannot {verb} resource "{plural}" in API group '
                f'"{group}" {where}',
            )  # fmt: skip


def _verb(method, name):
    return {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]


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
