"""Run MLflow's server on loopback, with a database and a bucket."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.services.program import Program, answers, free_port, run

SECONDS_TO_START = 120.0
# `mlflow db upgrade`, but with the database's address from the environment: `ps` shows arguments, and it holds a password.
UPGRADE = "import os; from mlflow.db import upgrade; upgrade([os.environ['MLFLOW_BACKEND_STORE_URI']])"


@dataclass(frozen=True)
class MlflowServer:
    """A running server; `environment` has the variables by which Mynah, MLflow's clients and boto3 reach it, its database and its bucket."""

    port: int
    program: Program
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """The tracking URI."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Stop the server; the data stays in the database and the bucket."""
        self.program.stop()

    def kill(self) -> None:
        """Kill all processes of the server."""
        self.program.kill()

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it responds. Raises PlatformError with the end of its log when it does not."""
        self.program.start()
        self.program.wait_until(lambda: answers(self.port, "/health"), SECONDS_TO_START)

    def __enter__(self) -> "MlflowServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_mlflow(
    folder: Path, *, backend: str, artifacts: str, proxied: bool, environment: Mapping[str, str], port: int = 0
) -> MlflowServer:
    """Start MLflow's server.

    Args:
        folder: The folder for its log.
        backend: The URL of the database, whose schema is upgraded first.
        artifacts: Where to store artifacts, s3://BUCKET/PREFIX.
        proxied: Whether the server proxies artifacts (mlflow-artifacts:/); else clients access the bucket directly.
        environment: The variables with the credentials of the bucket.
        port: The port; 0 for any free one.

    Returns:
        The running server.

    Raises:
        PlatformError: The server does not start.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = free_port(port)
    settings = {
        **environment,
        "MLFLOW_BACKEND_STORE_URI": backend,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # with its defaults the server is 15 processes and 2.4 GB, so 2 and 0.5
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    direct = ["--no-serve-artifacts", "--default-artifact-root", artifacts]
    where = ["--serve-artifacts", "--artifacts-destination", artifacts] if proxied else direct
    # Before the server starts: its workers would all upgrade the schema at the same time.
    run([sys.executable, "-c", UPGRADE], folder / "upgrade.log", settings, SECONDS_TO_START)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *where]
    clients = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_BACKEND_STORE_URI": backend,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
    }
    server = MlflowServer(port, Program("mlflow", command, folder, settings), clients | dict(environment))
    try:
        server.start()
    except BaseException:
        server.kill()
        raise
    return server
