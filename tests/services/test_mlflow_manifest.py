"""MLflow with the very words of k8s/base/mlflow, over a real PostgreSQL."""

import re
import shutil
import sys
import urllib.error
import urllib.request

import pytest

from scripts.manifests.render import render
from scripts.services.program import Program, answers, free_port, run
from tests.conftest import needs

NAMED = re.compile(r"\$\((\w+)\)")
SETTINGS = {"MYNAH_S3_BUCKET": "mynah"}  # of the ConfigMap


@pytest.fixture(scope="module")
def address(postgres, tmp_path_factory):
    """Where the server listens, after its init container has run."""
    needs(shutil.which("kubectl") is not None, "kubectl is not installed: k8s/README.md names its version")
    postgres.create_database("manifest")
    pod = next(pod for pod in render("laptop").pods if pod.owner["metadata"]["name"] == "mlflow")
    secret = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "mynah", "PGPASSWORD": postgres.password}
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    said = {name: value for each in pod.containers for name, value in plain(each).items()}
    environment = said | SETTINGS | secret | {"PGDATABASE": "manifest", "HOME": str(folder)}
    upgrade, server = ([sys.executable, "-m", *words(each)] for each in pod.containers)
    run(upgrade, folder / "upgrade.log", environment)
    program = Program("mlflow", [word.replace("--port=5000", f"--port={port}") for word in server], folder, environment)
    program.start()
    try:
        program.wait_until(lambda: answers(port, "/health"), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        program.stop()


def plain(container):
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def words(container):
    """Its command and arguments, with $(NAME) filled in as Kubernetes does."""
    return [NAMED.sub(lambda found: SETTINGS[found[1]], each) for each in [*container["command"], *container.get("args", [])]]


def status(address, host):
    asked = urllib.request.Request(f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Host": host})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_cluster_reaches_it_by_its_service_and_strangers_do_not(address):
    code, text = status(address, "mlflow.mynah.svc.cluster.local:5000")
    assert code == 200
    assert "s3://mynah/mlflow/0" in text  # where clients write artifacts themselves
    assert status(address, "mlflow.mynah:5000")[0] == 200
    assert status(address, "localhost:5000")[0] == 200  # kubectl port-forward
    assert status(address, "evil.example:5000")[0] == 403
    assert status(address, "mlflow.mynah.svc.cluster.local")[0] == 403  # another port
