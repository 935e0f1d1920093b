"""The real server in a process of its own, the real services behind it (PostgreSQL, S3 and MLflow), and fake clusters."""

import contextlib
import shutil
import uuid

import pytest
from fake_kubernetes import FakeKubernetes, write_kubeconfig
from mlflow import MlflowClient
from registry_inputs import make_outputs

from mynah.core.errors import PlatformError
from mynah.mlflow_client.store import EXPERIMENT
from mynah.registry import tombstones
from mynah.tracking.kfp_runs import KFP_RUN_TAG
from scripts.services import postgres as postgres_server
from scripts.services import s3 as s3_server
from scripts.services import start_mlflow, start_postgres, start_s3
from tests.conftest import needs
from tests.services.fake_kubeflow import FakeKubeflow
from tests.services.serving_process import running

# The helpers below assert; pytest explains a failed assertion in them as it does in a test.
pytest.register_assert_rewrite(
    *(f"tests.services.{name}" for name in ("kubeflow_commands", "serving_requests", "source_refusals")),
    *(f"tests.services.{name}" for name in ("auth", "aviary", "cluster_client", "deploy", "lease", "observability")),
)


@pytest.fixture
def start(tiny_checkpoint, tmp_path):
    """Start a server of one's own that serves the wren, after running the Python code `before` in its process."""
    return lambda before="", **settings: running([("wren", "3", str(tiny_checkpoint))], tmp_path, before, **settings)


@pytest.fixture(scope="session")
def server(tiny_checkpoint, long_checkpoint, tmp_path_factory):
    bots = [("wren", "3", str(tiny_checkpoint)), ("heron", "1", str(tiny_checkpoint)), ("crane", "1", str(long_checkpoint))]
    with running(bots, tmp_path_factory.mktemp("holding"), grpc_port=0) as started:
        yield started


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, tiny_checkpoint):
    """What the steps before `register` leave of a bot of ann_author: the folders model, data, report and card."""
    return make_outputs(tmp_path_factory.mktemp("outputs"), tiny_checkpoint, "ann_author")


@pytest.fixture(scope="module")
def chromium():
    """A browser. Not for the session: Playwright holds the thread's event loop, which other files need."""
    needs(shutil.which("chromium") is not None, "Chromium is not installed (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """An API server of Kubernetes; in the kubeconfig it is called `fake`."""
    for name in ("MYNAH_API_KEY", "MYNAH_KUBE_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeKubernetes()
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", fake.url)))
    yield fake
    fake.stop()


@pytest.fixture
def kubeflow(monkeypatch, bucket, s3):
    """The API of Kubeflow Pipelines, which every command asks without waiting long, and the bucket of the installation."""
    from pipelines.kubeflow import create, follow

    for name in ("TOKEN", "SA_TOKEN_PATH", "COOKIE", "NAMESPACE", "SSL_CA_CERT"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in {**s3.environment, "MYNAH_S3_BUCKET": bucket[1]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MYNAH_WAIT_SECONDS", "0")
    monkeypatch.setattr(create, "PAUSES", (0.0,))
    monkeypatch.setattr(follow, "MIN_PAUSE", 0.01)
    monkeypatch.setattr(follow, "MAX_PAUSE", 0.02)
    monkeypatch.setattr(follow, "SECONDS_BETWEEN_REASONS", 0.0)
    started = FakeKubeflow()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", started.url)
    yield started
    started.stop()


def needs_programs(programs):
    """Skip (or fail: see `needs`) when `programs`, which looks for what a service needs, misses one."""
    try:
        programs()
    except PlatformError as error:
        needs(False, f"{error.problem}: {error.fix}")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server, with the empty database `mynah`."""
    needs_programs(postgres_server.programs)
    with start_postgres(tmp_path_factory.mktemp("services") / "postgres") as started:
        yield started


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server."""
    needs_programs(s3_server.programs)
    with start_s3(tmp_path_factory.mktemp("services") / "s3") as started:
        yield started


@pytest.fixture
def bucket(s3):
    """A fresh bucket: a client of boto3, and the bucket's name."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    with contextlib.closing(s3.client()) as client:
        client.create_bucket(Bucket=name)
        yield client, name


@pytest.fixture(scope="session")
def mlflow_server(postgres, s3, tmp_path_factory):
    """MLflow over PostgreSQL, whose clients read and write artifacts in S3 themselves."""
    s3.create_bucket("direct")
    reached = {"backend": postgres.create_database("direct"), "artifacts": "s3://direct/mlflow", "environment": s3.environment}
    with start_mlflow(tmp_path_factory.mktemp("services") / "mlflow", proxied=False, **reached) as started:
        yield started


@pytest.fixture(scope="session")
def mlflow_proxied(postgres, s3, tmp_path_factory):
    """MLflow over a database and a bucket of its own, which hands artifacts through (mlflow-artifacts:/)."""
    s3.create_bucket("proxied")
    reached = {"backend": postgres.create_database("proxied"), "artifacts": "s3://proxied/mlflow", "environment": s3.environment}
    with start_mlflow(tmp_path_factory.mktemp("services") / "mlflow", proxied=True, **reached) as started:
        yield started


@pytest.fixture
def on_server(monkeypatch, mlflow_server, postgres, s3):
    """This process and its children use the MLflow server, and S3 directly; the environment that says so."""
    yield _use(monkeypatch, mlflow_server.url, postgres.url_of("direct"), "s3://direct/mlflow", s3.environment)
    _remember_all(mlflow_server.url)


@pytest.fixture
def on_proxied(monkeypatch, mlflow_proxied, postgres, s3):
    """This process and its children use the MLflow server that hands artifacts through, and have no key of their own to S3."""
    yield _use(monkeypatch, mlflow_proxied.url, postgres.url_of("proxied"), "s3://proxied/mlflow", {})
    _remember_all(mlflow_proxied.url)


def _use(monkeypatch, url, database, artifacts, keys):
    environment = {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        **keys,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def _remember_all(url):
    """The server outlives a test: whoever one forgot, the next may register, and none has to name the Kubeflow of another."""
    api = MlflowClient(url)
    if found := api.get_experiment_by_name(EXPERIMENT):
        for tag in found.tags:
            if tag.startswith(tombstones.PREFIX):
                api.delete_experiment_tag(found.experiment_id, tag)
        for run in api.search_runs([found.experiment_id], f"tags.`{KFP_RUN_TAG}` != ''", max_results=5000):
            api.delete_tag(run.info.run_id, KFP_RUN_TAG)
