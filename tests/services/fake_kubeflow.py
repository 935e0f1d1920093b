"""Kubeflow Pipelines' API over real HTTP, in memory: what Mynah asks of one, answered as version 2.17 answers.

What is imitated was read in kubeflow/pipelines:

    paths, JSON names and states     backend/api/v2beta1/*.proto, kfp-server-api's models
    tasks, which tell no reasons     backend/src/apiserver/server/api_converter.go (toApiPipelineTaskDetail)
    the workflow in v1beta1's run    the same file (toApiRunDetailV1); names of pods: backend/src/common/util/workflow.go
    logs, whose errors come as 200   backend/src/apiserver/server/run_log_server.go
    pages                            backend/src/apiserver/list/list.go
    refusals                         grpc-gateway's status: code, message, details
    a canceled run                   seen: CANCELING, then FAILED, with both in state_history
    texts beyond the BMP             seen: 500 after the workflow was made (create_fails_after)
    terminating a lost run           backend/src/apiserver/resource/resource_manager.go (TerminateRun)
"""

import base64
import json
import re
import time
import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from tests import http_fake
from tests.http_fake import Answer, HttpFake

TOKEN = "let-me-in"
LOGIN_PAGE = "<!DOCTYPE html><html><body><form action=/dex/auth>Log in to Your Account</form></body></html>"
ARGO = {"PENDING": "Pending", "RUNNING": "Running", "SUCCEEDED": "Succeeded", "FAILED": "Failed", "SKIPPED": "Skipped"}
OVER = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
LOG = re.compile(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log")


class Refusal(http_fake.Refusal):
    def __init__(self, status, code, message):
        super().__init__(Answer(status, {"error": message, "code": code, "message": message, "details": []}), message)


BROKEN = Refusal(500, 13, "InternalServerError: database is locked: Failed to get a run").answer


class FakeKubeflow(HttpFake):
    """The server; tests may look into what it holds, and set how it behaves."""

    json_type = "application/json"

    def __init__(self):
        super().__init__()
        self.token = ""  # "" lets everybody in
        self.cookie = ""
        self.multi_user = False
        self.max_page = 200
        self.instead = None  # (code, headers, body): what it answers to everything
        self.cut = 0  # so many bytes of each answer are not sent
        self.delay = 0.0  # seconds before each answer
        self.keeps_workflows = True  # v1beta1 tells the workflow
        self.may_only_read = False  # every change is refused
        self.ends_canceled = True  # a run that is terminated ends
        self.on_terminate = lambda: None  # called before a run is terminated
        self.lost = set()  # runs whose Workflow somebody deleted: v1beta1 tells none, and terminating fails for ever
        self.answers_left = None  # after so many answers it is away: 503; None: it stays
        self.create_fails_after = False  # a create makes the workflow, and answers 500: the database refused a text
        self.on_create = lambda run_id: None  # what the steps of a run do, as soon as it is made
        self.experiments, self.runs, self.recurring = [], {}, []
        self.script = [("SUCCEEDED", {})]  # what a run looks like at each look: its state, and its steps'
        self.reasons = {}  # step to message
        self.attempt = ""  # "(0)": what Argo puts after each node, where a default of the cluster retries every template
        self.logs = {}  # pod to text

    def answer_to(self, request):
        time.sleep(self.delay)
        if self.answers_left is not None:
            self.answers_left -= 1
            if self.answers_left < 0:
                return Answer(503, "no healthy upstream")
        if self.instead:
            status, headers, text = self.instead
            return Answer(status, text, headers, self.cut)
        return super().answer_to(request)._replace(cut=self.cut)

    def respond(self, request):
        return Answer(*self.answer(request.method, request.target, request.headers, request.json()))

    def add_run(self, name, **parts):
        """A run that somebody else made."""
        run_id = str(uuid.uuid4())
        number = len(self.runs)
        self.runs[run_id] = {
            "run_id": run_id, "display_name": name, "experiment_id": "other", "storage_state": "AVAILABLE",
            "created_at": f"2026-11-{number % 28 + 1:02d}T03:{number // 28:02d}:00Z", "finished_at": "1970-01-01T00:00:00Z",
            "looks": 0, **parts,
        }  # fmt: skip
        return run_id

    def answer(self, method, path, headers, body):
        """(code, JSON or text) for a request."""
        if (self.token and headers.get("Authorization") != f"Bearer {self.token}") or (
            self.cookie and headers.get("Cookie") != self.cookie
        ):
            raise Refusal(401, 16, "Request header error: there is no user identity header.")
        address = urlsplit(path)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        if log := LOG.fullmatch(address.path):
            return 200, self._log(*log.groups())
        version, _, rest = address.path.removeprefix("/apis/").partition("/")
        parts, _, verb = rest.partition(":")
        kind, *names = parts.split("/")
        if version == "v1beta1" and kind == "runs" and self.keeps_workflows:
            return 200, self._workflow(names[0])
        if version != "v2beta1":
            raise Refusal(404, 5, "Not Found")
        if (
            self.multi_user
            and kind != "healthz"
            and not names
            and query.get("namespace", (body or {}).get("namespace")) == "other"
        ):
            raise Refusal(403, 7, "User 'ann' is not authorized with reason:  (request: namespace:other verb:list)")
        if self.may_only_read and method != "GET":
            raise Refusal(
                403,
                7,
                f"User 'ann' is not authorized with reason: RBAC denied (request: {' '.join([kind, *names[:1], verb or method])})",
            )
        return 200, getattr(self, f"_{kind}")(method, names, verb, query, body)

    def _healthz(self, *_):
        return {"commit_sha": "7b70c7b", "tag_name": "2.17.0", "multi_user": self.multi_user}

    def _experiments(self, method, names, _verb, query, body):
        if method == "GET" and names:
            return next(each for each in self.experiments if each["experiment_id"] == names[0])
        if method == "GET":
            wanted = json.loads(query["filter"])["predicates"][0] if query.get("filter") else None
            found = [each for each in self.experiments if not wanted or each["display_name"] == _value(wanted)]
            return {"experiments": found, "total_size": len(found)} if found else {}
        made = {**body, "experiment_id": str(uuid.uuid4()), "created_at": _now(), "storage_state": "AVAILABLE"}
        self.experiments.append(made)
        return made

    def _runs(self, method, names, verb, query, body):
        if method == "POST" and not names:
            if "pipeline_spec" not in body:
                raise Refusal(400, 3, "Failed to create a run: pipeline spec is missing")
            run_id = self.add_run(body["display_name"], **body, created_at=_now())
            self.on_create(run_id)
            self._fail_after_create("Failed to create a run: Error 1366: Incorrect string value")
            return self._shown(self.runs[run_id])
        if not names:
            return self._page("runs", sorted(self.runs.values(), key=lambda run: run["created_at"], reverse=True), query)
        if names[0] not in self.runs:
            raise Refusal(404, 5, f"ResourceNotFoundError: Run {names[0]} not found: Failed to get a run")
        run = self.runs[names[0]]
        if method == "DELETE":
            del self.runs[names[0]]  # with its Workflow
            return {}
        if verb == "terminate":
            self.on_terminate()
            if self._at(run)[0] in OVER:
                raise Refusal(400, 3, f"Failed to terminate run {names[0]}. Row not found")
            if names[0] in self.lost:
                run["canceled"] = ["CANCELING"]  # the state is stored before the Workflow is looked for
                raise Refusal(500, 13, f"Failed to terminate run {names[0]} due to error terminating its workflow")
            run["canceled"] = (
                ["CANCELING", "FAILED"] if self.ends_canceled else ["CANCELING"]
            )  # what it looks like at the next two looks; never CANCELED
            return {}
        run["looks"] += 1
        return self._shown(run)

    def _fail_after_create(self, message):
        if self.create_fails_after:
            raise Refusal(500, 13, f"InternalServerError: {message}")

    def _recurringruns(self, method, names, verb, query, body):
        if names:
            return self._recurring_run(method, names[0], verb)
        if method == "GET":
            return self._page("recurringRuns", self.recurring[::-1], query)
        cron = body["trigger"]["cron_schedule"]["cron"]
        fields = cron.split()
        if len(fields) not in (5, 6):
            raise Refusal(400, 3, "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron).")
        meant = " ".join(
            fields if len(fields) == 6 else [*fields, "*"]
        )  # of five the first is the second: no refusal, another time
        made = {**body, "recurring_run_id": str(uuid.uuid4()), "status": "ENABLED", "created_at": _now(), "meant": meant}
        self.recurring.append(made)
        self._fail_after_create("Failed to create a recurring run: Error 1366: Incorrect string value")
        return made

    def _recurring_run(self, method, recurring_id, verb):
        found = next((each for each in self.recurring if each["recurring_run_id"] == recurring_id), None)
        if not found:
            raise Refusal(404, 5, f"ResourceNotFoundError: Job {recurring_id} not found: Failed to get a recurring run")
        if method == "DELETE":
            self.recurring.remove(found)
            return {}
        if verb:
            found["status"] = f"{verb.upper()}D"  # enable, disable
            return {}
        return found

    def _page(self, kind, found, query):
        size = min(int(query.get("page_size") or 20), self.max_page)
        start = int(base64.b64decode(query["page_token"])) if query.get("page_token") else 0
        shown = self._shown if kind == "runs" else dict
        page = {kind: [shown(each) for each in found[start : start + size]], "total_size": len(found)}
        if start + size < len(found):
            page["next_page_token"] = base64.b64encode(str(start + size).encode()).decode()
        return page

    def _at(self, run):
        """What a run looks like now: its state (None: the API tells none for a moment), and its steps'."""
        state, steps = run.get("at") or self.script[min(max(run["looks"] - 1, 0), len(self.script) - 1)]
        return (run["canceled"][0] if run.get("canceled") else state), steps

    def _shown(self, run):
        state, steps = self._at(run)
        shown = {key: value for key, value in run.items() if key not in ("looks", "at", "canceled", "ended", "history")}
        history = run.setdefault("history", [])
        if not history or history[-1].get("state") != state:
            history.append({"update_time": _now(), **({"state": state} if state else {})})
        if len(run.get("canceled", [])) > 1:
            run["canceled"].pop(0)
        tasks = [self._task(run, "root", state), *(self._task(run, name, each) for name, each in steps.items())]
        if state in OVER:
            run.setdefault("ended", _now())
            shown["finished_at"] = run["ended"]
        state_shown = {"state": state} if state else {}
        return {**shown, **state_shown, "state_history": history, "run_details": {"task_details": tasks}}

    def _task(self, run, name, state):
        ended = _now() if state in OVER else "1970-01-01T00:00:00Z"
        return {
            "run_id": run["run_id"], "task_id": str(uuid.uuid4()), "display_name": name.partition("#")[0], "create_time": _now(),
            "start_time": _now(), "end_time": ended, "state": state, "state_history": [{"update_time": _now(), "state": state}],
            "child_tasks": [{"pod_name": f"{name}-child"}],
        }  # fmt: skip

    def _workflow(self, run_id):
        if run_id not in self.runs:
            raise Refusal(404, 5, f"ResourceNotFoundError: Run {run_id} not found: Failed to get a run")
        if run_id in self.lost:
            return {"run": {"id": run_id}, "pipeline_runtime": {}}
        nodes = {"wf-1": _node("wf-1", "wf-1", "wf-1", "DAG", "entrypoint", "", "Running", "")}
        for number, (step, state) in enumerate(self._at(self.runs[run_id])[1].items(), 10):
            name, phase = step.partition("#")[0] + self.attempt, ARGO[state]
            dag = f"wf-1-{number}0"
            nodes[dag] = _node(dag, f"wf-1.root.{step}", name, "DAG", "system-container-executor", "wf-1", phase, "")
            for at, (shown, template, within) in enumerate(
                [
                    (f"{step.partition('#')[0]}-driver{self.attempt}", "system-container-driver", "wf-1"),
                    ("executor", "system-container-impl", dag),
                ],
                1,
            ):
                is_driver = at == 1
                message = "" if is_driver else self.reasons.get(step, "")
                ran = "Succeeded" if is_driver else phase
                node = _node(f"wf-1-{number}{at}", f"wf-1.root.{step}.{shown}", shown, "Pod", template, within, ran, message)
                node["startedAt"] = self.runs[run_id]["created_at"]
                nodes[node["id"]] = node
        name = self.runs[run_id].get("workflow", "wf-1")
        manifest = {"metadata": {"name": name, "annotations": {}}, "status": {"phase": "Running", "nodes": nodes}}
        return {"run": {"id": run_id}, "pipeline_runtime": {"workflow_manifest": json.dumps(manifest)}}

    def _log(self, _run_id, pod):
        if pod in self.logs:
            return self.logs[pod]
        gone = f"BadRequestError: Failed to read logs for run: pods {pod!r} not found"
        return json.dumps({"error_message": gone, "error_details": gone})


def _node(node_id, name, shown, kind, template, boundary, phase, message):
    return {
        "id": node_id, "name": name, "displayName": shown, "type": kind, "templateName": template, "boundaryID": boundary,
        "phase": phase, "message": message, "startedAt": _now(), "finishedAt": None,
    }  # fmt: skip


def _value(predicate):
    return predicate.get("string_value", predicate.get("stringValue"))


def _now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
