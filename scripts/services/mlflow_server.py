"""MLflow's own server on loopback, over a database and a bucket."""

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
    """A running server; `environment` leads Mynah, MLflow's clients and boto3 to it and to what lies behind it."""

    port: int
    program: Program
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """The tracking URI."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Stop it; the database and the bucket keep what it knew."""
        self.program.stop()

    def kill(self) -> None:
        """Kill every process of it at once."""
        self.program.kill()

    def restart(self) -> None:
        """Stop it where it runs, and start it on the same port."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers. Raises PlatformError with the end of its log when it does not."""
        self.program.start()
        self.program.wait_until(lambda: answers(self.port, "/health"), SECONDS_TO_START)

    def __enter__(self) -> "MlflowServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_mlflow(
    folder: Path, *, backend: str, artifacts: str, proxied: bool, environment: Mapping[str, str], port: int = 0
) -> MlflowServer:
    """Start MLflow over the database `backend` (brought to its schema first) and the artifacts at `artifacts` (s3://…).

    `proxied`: the server hands artifacts through (mlflow-artifacts:/); else clients go to the bucket themselves. `environment`
    lets the server into the bucket; `folder` gets its log. Raises PlatformError when it does not come up.
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
    # Once and before the server: its workers would race to bring the schema up.
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
