"""Run the services that Mynah needs on loopback, for development and tests: PostgreSQL, S3 and MLflow.

`make services` starts them (see __main__.py); tests start what they need with the functions here. They are Debian's packages,
so no Docker is needed: apt-get install -y --no-install-recommends postgresql radosgw ceph-mon ceph-osd ceph-common
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.services.mlflow_server import MlflowServer, start_mlflow
from scripts.services.postgres import Postgres, start_postgres
from scripts.services.program import free_port
from scripts.services.s3 import S3, start_s3

__all__ = ["S3", "MlflowServer", "Postgres", "Services", "start_mlflow", "start_postgres", "start_s3", "start_services"]

BUCKET = "mynah"
ARTIFACTS = f"s3://{BUCKET}/mlflow"
POSTGRES_PORT, S3_PORT, MLFLOW_PORT = 5433, 9500, 5000  # Debian's own PostgreSQL has 5432


@dataclass(frozen=True)
class Services:
    """All services, running."""

    postgres: Postgres
    s3: S3
    mlflow: MlflowServer


def start_services(folder: Path) -> Services:
    """Start all services in `folder`, on their usual ports where these are free. MLflow's clients access S3 directly.

    When one does not start, or on Ctrl-C, the others are stopped again. Raises PlatformError.
    """
    postgres_port, s3_port, mlflow_port = (free_port(port, insist=False) for port in (POSTGRES_PORT, S3_PORT, MLFLOW_PORT))
    with ExitStack() as undo:
        postgres = undo.enter_context(start_postgres(folder / "postgres", postgres_port))
        s3 = undo.enter_context(start_s3(folder / "s3", s3_port))
        s3.create_bucket(BUCKET)
        mlflow = start_mlflow(
            folder / "mlflow",
            backend=postgres.url,
            artifacts=ARTIFACTS,
            proxied=False,
            environment=s3.environment,
            port=mlflow_port,
        )
        undo.pop_all()
    return Services(postgres, s3, mlflow)
