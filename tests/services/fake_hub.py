"""The Hugging Face hub over real HTTP, in memory: what `mynah publish` asks of one through huggingface_hub 1.33.

What is imitated, as huggingface_hub reads it and the hub's documentation tells:

    repositories, whoami, settings       huggingface_hub/hf_api.py; errors by status, X-Error-Code and X-Error-Message (utils/_http.py)
    preupload, commits (NDJSON)          huggingface_hub/_commit_api.py
    large files                          git-lfs's batch API with `basic` and the hub's `multipart`; the storage takes no hub's token
    downloads                            HEAD and GET of resolve/, whose ETag is the file's SHA-256 for large ones, else git's SHA-1
    whom a private repository looks like none to    404 RepoNotFound, and 401 without a token
"""

import base64
import hashlib
import json
import re
from urllib.parse import parse_qs, unquote, urlsplit

from tests import http_fake
from tests.http_fake import Answer, HttpFake

NO_REPO = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
NO_REVISION = {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}
BAD_TOKEN = {"X-Error-Message": "Invalid credentials in Authorization header"}


class Refusal(http_fake.Refusal):
    def __init__(self, status, headers=(), error=""):
        headers = dict(headers)
        super().__init__(Answer(status, {"error": error or headers.get("X-Error-Message", "")}, headers), error)


class Repository:
    def __init__(self, private):
        self.private = private
        self.commits = []  # the newest first: (id, title, files: name to (data, is large))
        self.add("initial commit", {".gitattributes": (b"*.safetensors filter=lfs\n", False)})

    def add(self, title, files):
        number = hashlib.sha1(f"{title}{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.insert(0, (number, title, files))
        return number

    @property
    def files(self):
        return {name: data for name, (data, _) in self.commits[0][2].items()}

    def at(self, revision):
        for number, commit in enumerate(self.commits):
            if revision in ("main", commit[0]):
                return self.commits[number:]
        raise Refusal(404, NO_REVISION)


class FakeHub(HttpFake):
    """The hub; tests may look into what it holds, and set how it behaves."""

    def __init__(self):
        super().__init__()
        self.tokens = {"hf_ann": ("ann", ["birds"]), "hf_bob": ("bob", [])}  # who it is, and their organisations
        self.readers = set()  # tokens that may only read
        self.scopes = {}  # token to what it is for, where it is fine-grained
        self.repositories = {}
        self.objects = {}  # SHA-256 to data: what lies in the storage
        self.parts = {}
        self.chunk_size = 0  # large files go up in parts of so many bytes
        self.failing = []  # (method, part of the path, times, status, headers): answered so
        self.dropped = 0  # so many uploads break off in the middle
        self.cut = []  # (method, part of the path): answers whose end is not sent
        self.before = None  # called with (method, path) once a request is read, before it is carried out

    def uploads(self):
        return [each.target for each in self.requests if each.method == "PUT" and each.path.startswith("/storage/")]

    def handle(self, handler):
        if self.dropped and handler.path.startswith("/storage/"):
            self.dropped -= 1
            self.requests.append(handler.as_request())
            handler.rfile.read(int(handler.headers["Content-Length"]) // 2)
            handler.close_connection = True
            handler.connection.close()
            return
        super().handle(handler)

    def respond(self, request):
        if self.before:
            self.before(request.method, request.target)
        answer = self._failure(request) or self._answer_to(request)
        if any(request.method == method and part in request.target for method, part in self.cut):
            answer = answer._replace(cut=len(answer.encoded()) - len(answer.encoded()) // 2)
        return answer._replace(headers={"X-Request-Id": "Root=1-fake", **answer.headers})

    def _failure(self, request):
        for number, (method, part, times, status, headers) in enumerate(self.failing):
            if times and request.method == method and part in request.target:
                self.failing[number] = (method, part, times - 1, status, headers)
                return Answer(status, {"error": f"failing with {status}"}, headers)
        return None

    def _answer_to(self, request):
        try:
            status, headers, body = self.answer(request.method, request.target, request.headers, request.body)
        except Refusal as refusal:
            return refusal.answer
        return Answer(status, body, headers)

    def answer(self, method, path, headers, body):
        """(status, headers, JSON or bytes) for a request."""
        address = urlsplit(path)
        path, query = unquote(address.path), parse_qs(address.query)
        if path.startswith("/storage/"):
            return self._storage(path, query, headers, body)
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            raise Refusal(401, BAD_TOKEN)
        for pattern, work in ROUTES:
            if found := re.fullmatch(pattern, f"{method} {path}"):
                return work(self, token, body, *found.groups())
        raise Refusal(404, error="Sorry, we can't find the page you are looking for.")

    def _names(self, token):
        name, organisations = self.tokens.get(token, ("", []))
        return self.scopes.get(token, [name, *organisations])

    def _repo(self, token, name, *, write=False):
        name = next((each for each in self.repositories if each.casefold() == name.casefold()), name)
        found = self.repositories.get(name)
        is_ours = name.split("/")[0] in self._names(token)
        if not found or (found.private and not is_ours):
            raise Refusal(404 if token else 401, NO_REPO)
        if write and (not is_ours or token in self.readers):
            raise Refusal(403, error=f"403 Forbidden: Authorization error. You must use a write token for {name} {token}")
        return found

    def _whoami(self, token, _body):
        if not token:
            raise Refusal(401, error="Invalid username or password.")
        name, organisations = self.tokens[token]
        access = {"role": "read" if token in self.readers else "write"}
        if token in self.scopes:
            scoped = [{"entity": {"type": "org", "name": each}, "permissions": ["repo.write"]} for each in self.scopes[token]]
            access = {"role": "fineGrained", "fineGrained": {"global": [], "scoped": scoped}}
        orgs = [{"type": "org", "name": each, "roleInOrg": "admin"} for each in organisations]
        return 200, {}, {"type": "user", "name": name, "orgs": orgs, "auth": {"accessToken": access}}

    def _create(self, token, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self._names(token) or token in self.readers:
            raise Refusal(
                403, error=f'You don\'t have the rights to create a model under the namespace "{asked["organization"]}"'
            )
        if name in self.repositories:
            return 409, {}, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
        self.repositories[name] = Repository(asked.get("visibility") == "private")
        return 200, {}, {"url": f"{self.url}/{name}", "name": name, "id": "65f0"}

    def _delete(self, token, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        self._repo(token, name, write=True)
        del self.repositories[name]
        return 200, {}, b"OK"

    def _settings(self, token, body, name):
        self._repo(token, name, write=True).private = json.loads(body)["visibility"] == "private"
        return 200, {}, json.loads(body)

    def _info(self, token, _body, name, revision):
        repo = self._repo(token, name)
        number, _, files = repo.at(revision or "main")[0]
        siblings = [{"rfilename": each} for each in sorted(files)]
        return 200, {}, {"_id": "65f0", "id": name, "sha": number, "private": repo.private, "siblings": siblings, "tags": []}

    def _tree(self, token, _body, name, revision):
        _, _, files = self._repo(token, name).at(revision)[0]
        return 200, {}, [
            {"type": "file", "path": each, "size": len(data), "oid": _git(data), **(_pointer(data) if large else {})}
            for each, (data, large) in files.items()
        ]  # fmt: skip

    def _commits(self, token, _body, name, revision):
        return 200, {}, [
            {"id": number, "title": title, "message": "", "authors": [{"user": "ann"}], "date": "2026-11-24T12:00:00.000Z"}
            for number, title, _ in self._repo(token, name).at(revision)
        ]  # fmt: skip

    def _yaml(self, _token, body):
        card = json.loads(body)["content"]
        if not card.startswith("---\n"):
            return 200, {}, {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
        if "license: nonsense" in card:
            return 400, {}, {"errors": [{"message": '"license" must be one of [apache-2.0, mit, other]'}], "warnings": []}
        return 200, {}, {"errors": [], "warnings": []}

    def _preupload(self, token, body, name, revision):
        _, _, files = self._repo(token, name, write=True).at(revision)[0]
        return 200, {}, {"files": [self._mode(each, files.get(each["path"])) for each in json.loads(body)["files"]]}

    def _mode(self, asked, there):
        large = b"\0" in base64.b64decode(asked["sample"]) or asked["size"] > 10 << 20 or asked["path"].endswith(".safetensors")
        found = {"path": asked["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        return found | ({"oid": _sha256(there[0]) if there[1] else _git(there[0])} if there else {})

    def _batch(self, token, body, name):
        self._repo(token, name, write=True)
        return 200, {"Content-Type": "application/vnd.git-lfs+json"}, {"transfer": "basic", "objects": [
            each if each["oid"] in self.objects else each | {"authenticated": True, "actions": self._actions(name, each)}
            for each in json.loads(body)["objects"]
        ]}  # fmt: skip

    def _actions(self, name, asked):
        verify = {"href": f"{self.url}/{name}.git/info/lfs/objects/verify", "header": {}}
        if not self.chunk_size:
            return {"upload": {"href": f"{self.url}/storage/{asked['oid']}?X-Amz-Signature=abc"}, "verify": verify}
        count = -(-asked["size"] // self.chunk_size)
        parts = {f"{n:05d}": f"{self.url}/storage/{asked['oid']}?X-Amz-Signature=abc&partNumber={n}" for n in range(1, count + 1)}
        complete = f"{self.url}/{name}.git/info/lfs/objects/complete"
        return {"upload": {"href": complete, "header": {"chunk_size": str(self.chunk_size), **parts}}, "verify": verify}

    def _storage(self, path, query, headers, body):
        if headers.get("Authorization"):
            raise Refusal(400, error="Only one auth mechanism allowed")  # as S3 answers
        oid = path.removeprefix("/storage/")
        if "partNumber" in query:
            self.parts[oid, int(query["partNumber"][0])] = body
        elif _sha256(body) != oid:
            raise Refusal(400, error="BadDigest")
        else:
            self.objects[oid] = body
        return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""

    def _complete(self, _token, body, _name):
        asked = json.loads(body)
        data = b"".join(self.parts.pop((asked["oid"], part["partNumber"])) for part in asked["parts"])
        if _sha256(data) != asked["oid"]:
            raise Refusal(400, error="BadDigest")
        self.objects[asked["oid"]] = data
        return 200, {}, {}

    def _verify(self, token, body, name):
        self._repo(token, name, write=True)
        asked = json.loads(body)
        if len(self.objects.get(asked["oid"], b"")) != asked["size"]:
            raise Refusal(404, error="Object is not in the storage")
        return 200, {}, {}

    def _commit(self, token, body, name, revision):
        repo = self._repo(token, name, write=True)
        files, title = dict(repo.at(revision)[0][2]), ""
        for line in body.decode().splitlines():
            record = json.loads(line)
            value = record["value"]
            if record["key"] == "header":
                title = value["summary"]
            elif record["key"] == "file":
                files[value["path"]] = (base64.b64decode(value["content"]), False)
            elif record["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    raise Refusal(400, error=f"LFS pointer pointed to a file that does not exist: {value['path']}")
                files[value["path"]] = (self.objects[value["oid"]], True)
            elif record["key"] == "deletedFile":
                if value["path"] not in files:
                    raise Refusal(404, {"X-Error-Code": "EntryNotFound"}, "A file with this name doesn't exist")
                del files[value["path"]]
        number = repo.add(title, files)
        return 200, {}, {"success": True, "commitOid": number, "commitUrl": f"{self.url}/{name}/commit/{number}"}

    def _resolve(self, token, _body, name, revision, path):
        number, _, files = self._repo(token, name).at(revision)[0]
        if path not in files:
            raise Refusal(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": number})
        data, large = files[path]
        etag = _sha256(data) if large else _git(data)
        return 200, {"X-Repo-Commit": number, "ETag": f'"{etag}"', **({"X-Linked-Size": str(len(data))} if large else {})}, data


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    ("GET /api/whoami-v2", FakeHub._whoami), ("POST /api/repos/create", FakeHub._create), ("DELETE /api/repos/delete", FakeHub._delete),
    (f"PUT /api/models/{NAME}/settings", FakeHub._settings), ("POST /api/validate-yaml", FakeHub._yaml),
    (f"GET /api/models/{NAME}(?:/revision/([^/]+))?", FakeHub._info), (f"GET /api/models/{NAME}/tree/([^/]+)", FakeHub._tree),
    (f"GET /api/models/{NAME}/commits/([^/]+)", FakeHub._commits), (f"POST /api/models/{NAME}/preupload/([^/]+)", FakeHub._preupload),
    (f"POST /api/models/{NAME}/commit/([^/]+)", FakeHub._commit), (rf"POST /{NAME}\.git/info/lfs/objects/batch", FakeHub._batch),
    (rf"POST /{NAME}\.git/info/lfs/objects/verify", FakeHub._verify), (rf"POST /{NAME}\.git/info/lfs/objects/complete", FakeHub._complete),
    (rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", FakeHub._resolve),
]  # fmt: skip


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _pointer(data):
    return {"lfs": {"oid": _sha256(data), "size": len(data), "pointerSize": 130}}


def _git(data):
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
