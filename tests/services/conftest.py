"""The real server in a process of its own, and the real services behind it: PostgreSQL, S3 and MLflow."""

import contextlib
import sys
import uuid
from typing import NamedTuple

import pytest

from components.errors import PlatformError
from scripts.services import postgres as postgres_server
from scripts.services import s3 as s3_server
from scripts.services import start_mlflow, start_postgres, start_s3
from tests.conftest import needs
from tests.services.serving_process import running


@pytest.fixture
def start(tiny_checkpoint, tmp_path):
    """Start a server of one's own that serves the wren, after running the Python code `before` in its process."""
    return lambda before="", **settings: running([("wren", "3", str(tiny_checkpoint))], tmp_path, before, **settings)


@pytest.fixture(scope="session")
def server(tiny_checkpoint, long_checkpoint, tmp_path_factory):
    bots = [("wren", "3", str(tiny_checkpoint)), ("heron", "1", str(tiny_checkpoint)), ("crane", "1", str(long_checkpoint))]
    with running(bots, tmp_path_factory.mktemp("holding"), grpc_port=0) as started:
        yield started


class Done(NamedTuple):
    """What a command of `mynah` came to; unpacks into its exit code, stdout and stderr."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def mynah(monkeypatch, capsys):
    """The command line in this process, which has loaded MLflow already."""
    from pipelines.cli import main

    def call(*arguments, **environment):
        monkeypatch.setattr(sys, "argv", ["mynah", *map(str, arguments)])
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(ended.value.code or 0, *capsys.readouterr())

    return call


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
    return _use(monkeypatch, mlflow_server.url, postgres.url_of("direct"), "s3://direct/mlflow", s3.environment)


@pytest.fixture
def on_proxied(monkeypatch, mlflow_proxied, postgres, s3):
    """This process and its children use the MLflow server that hands artifacts through, and have no key of their own to S3."""
    return _use(monkeypatch, mlflow_proxied.url, postgres.url_of("proxied"), "s3://proxied/mlflow", {})


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
