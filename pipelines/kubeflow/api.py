"""A client of Kubeflow Pipelines' API (on kfp.Client), with timeouts and errors that name the fix."""

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import strip_control_chars
from mynah.core.settings import KF_PIPELINES_ENDPOINT, KF_PIPELINES_NAMESPACE, KUBERNETES_SERVICE_HOST
from mynah.core.wait_for_server import when_reachable
from mynah.mlflow_client.store import public
from pipelines.kfp_compat import api_client, health
from pipelines.kubeflow.client import PORT_FORWARD, answers, http_status, make_client
from pipelines.kubeflow.create import create_once
from pipelines.kubeflow.pods import Pod, pods_of
from pipelines.kubeflow.records import KubeflowRun, RecurringRun, recurring_run_of, run_of

if TYPE_CHECKING:
    import kfp

PAGE = 100  # runs per request
IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"  # kfp.Client's own default within a pod
LOST_AFTER = 600.0  # seconds for which a run may have no Workflow, and after its deadline may not have ended


class Kubeflow:
    """The API of one Kubeflow Pipelines. All methods raise PlatformError when it is unreachable or returns an error."""

    def __init__(self, client: "kfp.Client", host: str, namespace: str) -> None:
        self._client = client
        self.host = host
        self.namespace = namespace

    @classmethod
    def connect(cls, endpoint: str = "", namespace: str = "", token_file: Path | None = None) -> Self:
        """Connect to Kubeflow Pipelines, and check that it answers.

        Credentials are a token in a file (read again for each request, because such tokens expire), KF_PIPELINES_TOKEN, or
        KF_PIPELINES_COOKIE for an authenticating proxy. KF_PIPELINES_SSL_CA_CERT names a private certificate authority.

        Args:
            endpoint: the URL; "" is KF_PIPELINES_ENDPOINT, or else the cluster that this pod runs in.
            namespace: the user's namespace in a multi-user installation; "" is KF_PIPELINES_NAMESPACE.
            token_file: a file with a token; None is KF_PIPELINES_SA_TOKEN_PATH.

        Raises:
            InputError: there is no endpoint, or no namespace in a multi-user installation.
        """
        host = endpoint or KF_PIPELINES_ENDPOINT.get()
        if not host and not KUBERNETES_SERVICE_HOST.get():
            raise InputError(
                "no endpoint of Kubeflow Pipelines is set", f"Set KF_PIPELINES_ENDPOINT or --endpoint; try {PORT_FORWARD}"
            )
        host = (host or IN_CLUSTER).rstrip("/")
        if not host.startswith(("http://", "https://")):
            raise InputError(f"the endpoint {public(host)[:100]!r} is no address", "Write http://… or https://….")
        namespace = namespace or KF_PIPELINES_NAMESPACE.get()
        client = make_client(host, namespace, token_file)
        with answers(host):
            is_shared = bool(when_reachable(lambda: health(client), f"Kubeflow Pipelines at {public(host)}").multi_user)
        if is_shared and not namespace:
            raise InputError(
                f"the Kubeflow at {public(host)} is shared by several people",
                "Name your profile's namespace: --namespace or KF_PIPELINES_NAMESPACE.",
            )
        return cls(client, public(host), namespace if is_shared else "")

    def submit(self, package: Path, name: str, experiment: str, arguments: dict[str, Any], service_account: str) -> str:
        """Create a run of a compiled pipeline.

        Args:
            package: The compiled pipeline, a YAML file.
            name: The run's name.
            experiment: The name of Kubeflow's experiment, which is created if necessary.
            arguments: The pipeline's arguments.
            service_account: The Kubernetes service account of the run's pods.

        Returns:
            The run's id.
        """
        return self._create(
            "run_pipeline", "run_id", self._run_named, experiment, job_name=name, params=arguments, pipeline_package_path=str(package),
            service_account=service_account,
        )  # fmt: skip

    def schedule(
        self, package: Path, name: str, experiment: str, arguments: dict[str, Any], service_account: str, cron: str
    ) -> str:
        """Create a recurring run, of which one runs at a time and missed ones are not made up for.

        Args:
            package: The compiled pipeline, a YAML file.
            name: The recurring run's name.
            experiment: The name of Kubeflow's experiment, which is created if necessary.
            arguments: The pipeline's arguments.
            service_account: The Kubernetes service account of the runs' pods.
            cron: The schedule, with Kubeflow's six fields.

        Returns:
            The recurring run's id.
        """
        return self._create(
            "create_recurring_run", "recurring_run_id", self._recurring_run_named, experiment, job_name=name, params=arguments,
            pipeline_package_path=str(package), service_account=service_account, cron_expression=cron, no_catchup=True, max_concurrency=1,
        )  # fmt: skip

    def _create(self, action: str, key: str, find: Callable[[str], str], experiment: str, **options: Any) -> str:  # noqa: ANN401 - kfp is untyped
        with answers(self.host), contextlib.redirect_stdout(None):  # the client prints links
            created = self._client.create_experiment(experiment, namespace=self.namespace or None)

        def create() -> str:
            with answers(self.host), contextlib.redirect_stdout(None):
                return str(getattr(getattr(self._client, action)(created.experiment_id, **options), key))

        return create_once(create, find, options["job_name"], self.namespace)

    def _run_named(self, name: str) -> str:
        return next((run.run_id for run in self.runs(PAGE) if run.name == name), "")

    def _recurring_run_named(self, name: str) -> str:
        with answers(self.host):
            page = self._client.list_recurring_runs(page_size=PAGE, sort_by="created_at desc", namespace=self.namespace or None)
        return next((str(run.recurring_run_id) for run in page.recurring_runs or [] if run.display_name == name), "")

    def run(self, run_id: str) -> KubeflowRun:
        """Return a run with its tasks. Raises InputError when there is no such run."""
        with self._run_errors(run_id):
            return run_of(self._client.get_run(run_id))

    def runs(self, count: int) -> list[KubeflowRun]:
        """Return the newest `count` runs."""
        runs: list[KubeflowRun] = []
        token = ""
        with answers(self.host):
            while len(runs) < count:
                page = self._client.list_runs(
                    token, min(PAGE, count - len(runs)), "created_at desc", namespace=self.namespace or None
                )
                runs += [run_of(run) for run in page.runs or []]
                token = page.next_page_token or ""
                if not token:
                    break
        return runs[:count]

    def recurring_runs(self) -> list[RecurringRun]:
        """Return all recurring runs, newest first."""
        found: list[RecurringRun] = []
        token = ""
        with answers(self.host):
            while True:
                page = self._client.list_recurring_runs(token, PAGE, "created_at desc", namespace=self.namespace or None)
                found += [recurring_run_of(run) for run in page.recurring_runs or []]
                token = page.next_page_token or ""
                if not token:
                    return found

    def change_recurring_run(self, recurring_id: str, action: Literal["enable", "disable", "delete"]) -> None:
        """Enable, disable or delete a recurring run; runs that it made stay. Raises InputError when there is none."""
        with self._run_errors(recurring_id, "schedule", "mynah schedules"):
            getattr(self._client, f"{action}_recurring_run")(recurring_id)

    def find(self, text: str) -> KubeflowRun:
        """Return the run whose id is `text` or starts with it. Raises InputError for none or several."""
        if len(text) >= 36:
            return self.run(text)
        matches = [run for run in self.runs(1000) if text and run.run_id.startswith(text)]
        if len(matches) != 1:
            problem = f"several runs begin with {text[:40]!r}" if matches else f"there is no run {text[:40]!r}"
            raise InputError(f"{problem} at {self.host}", "See `mynah runs`.")
        return self.run(matches[0].run_id)

    def cancel(self, run_id: str) -> None:
        """Terminate a run; its pods end within a second."""
        with self._run_errors(run_id):
            self._client.terminate_run(run_id)

    def is_lost(self, run: KubeflowRun) -> bool:
        """Return whether the Workflow of a run is gone, although the API calls the run running, and always will.

        Argo would have ended it at its deadline; Kubeflow has no workflow of it; or the pods that it says are running do not exist.
        """
        age = (datetime.now(UTC) - run.created).total_seconds() if run.created else 0.0
        if run.is_over or age < LOST_AFTER:
            return False
        if run.deadline and age > run.deadline + LOST_AFTER:
            return True
        manifest = self._manifest(run.run_id)
        if manifest is None:
            return False
        running = [pod for pod in pods_of(manifest) if pod.phase == "Running" and pod.started_before(LOST_AFTER)]
        return not manifest or (bool(running) and all(self._is_gone(run.run_id, pod.name) for pod in running))

    def pods(self, run_id: str) -> list[Pod]:
        """Return the pods of a run, with the reasons why they wait or failed, from the stored workflow.

        [] when there is none: the v2beta1 API has no reasons, and v1beta1, which has them, may be disabled.
        """
        return pods_of(self._manifest(run_id) or "")

    def _manifest(self, run_id: str) -> str | None:
        """Return the workflow of a run as JSON, "" when Kubeflow has none; None when the API does not say."""
        try:
            with self._run_errors(run_id):
                answer = self._call("/apis/v1beta1/runs/{run_id}", {"run_id": run_id})
        except (InputError, PlatformError):
            return None
        runtime = answer.get("pipeline_runtime") if isinstance(answer, dict) else None
        return str(runtime.get("workflow_manifest") or "") if isinstance(runtime, dict) else None

    def _is_gone(self, run_id: str, pod: str) -> bool:
        """Return whether a pod does not exist and left no log."""
        try:
            self.log(run_id, pod)
        except InputError as error:
            return "not found" in error.problem
        except PlatformError:
            return False
        return False

    def log(self, run_id: str, pod: str) -> str:
        """Return a pod's log, from the pod or from Kubeflow's archive.

        Args:
            run_id: the run's id.
            pod: the pod's name.

        Raises:
            InputError: neither has the log.
        """
        path = "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log"
        with self._run_errors(run_id):
            answer = self._call(path, {"run_id": run_id, "node_id": pod}, as_text=True)
        text = strip_control_chars(answer)
        with contextlib.suppress(ValueError):  # errors have status 200, as a JSON object after the log
            refused = json.loads(text[text.rindex('{"error_message"') :])
            reason = str(refused["error_message"]).split("\n")[0][:200]
            raise InputError(f"the log of pod {pod} is gone: {reason}", "Kubeflow keeps logs where archiveLogs is on.")
        return text

    def _call(self, path: str, parts: dict[str, str], *, as_text: bool = False) -> Any:  # noqa: ANN401 - JSON, or text
        """Send a GET for which the generated client has no method, with its host, credentials and timeouts."""
        api = api_client(self._client)
        options = {"auth_settings": ["Bearer"], "_return_http_data_only": True}
        if as_text:
            answer = api.call_api(path, "GET", parts, _preload_content=False, **options)
            return answer.data.decode("utf-8", "replace")
        return api.call_api(path, "GET", parts, response_type="object", **options)

    @contextlib.contextmanager
    def _run_errors(self, run_id: str, kind: str = "run", see: str = "mynah runs") -> Iterator[None]:
        try:
            with answers(self.host):
                yield
        except PlatformError as error:
            if http_status(error) == HTTPStatus.NOT_FOUND:
                raise InputError(f"there is no {kind} {run_id[:40]!r} at {self.host}", f"See `{see}`.") from error
            raise
