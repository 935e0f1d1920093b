"""A new pod's first connections are refused or cut: what begins waits for its servers, and says so once."""

import socket
import time
import uuid
from contextlib import ExitStack

import pytest
from registry_inputs import mynah as mynah_process
from registry_inputs import register_all, unique

from components.fetch.component import fetch
from components.handover import publish_file
from components.run_inputs import RunInputs
from mynah.core.errors import PlatformError, StoreRefused
from mynah.mlflow_client.client import client
from mynah.mlflow_client.store import Store
from mynah.registry.locks import alias_lock
from mynah.storage.run_files import RunFiles, new_id
from mynah.storage.s3 import S3ArtifactStore
from mynah.tracking.database import Database
from mynah.tracking.runs import start_parent, steps_of
from mynah.tracking.step_run import step_run
from mynah.tracking.tags import attempts
from tests.services.kubeflow_commands import SUBMIT, refused
from tests.services.policy_engine import PolicyEngine

SECONDS = 3.0
WAITING = "waiting up to 30 s for "


@pytest.fixture(params=[False, True], ids=["refused", "cut"])
def behind(request, monkeypatch):
    """A function that puts a server behind a policy engine, and gives the engine; the process waits up to 30 s."""
    monkeypatch.setenv("MYNAH_WAIT_SECONDS", "30")
    with ExitStack() as stack:
        yield lambda port, seconds=SECONDS: stack.enter_context(PolicyEngine(port, seconds, cuts=request.param))


def told(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if WAITING in line]


def told_any(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("waiting")]


def test_a_step_waits_for_mlflow_and_loses_no_attempt(on_server, mlflow_server, behind, monkeypatch, capsys):
    parent = start_parent(Store(mlflow_server.url), unique("wren"), {})
    engine = behind(mlflow_server.port)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{engine.port}")
    with step_run("fetch", Store.from_environment(), parent) as run:
        run.params({"limit": 7})
    [step] = steps_of(Store(mlflow_server.url), parent).values()
    assert (run.attempt, step.info.status, step.data.params) == (1, "FINISHED", {"limit": "7"})
    assert told(capsys) == [
        f"waiting up to 30 s for the MLflow server http://127.0.0.1:{engine.port}, which cannot be reached yet"
    ]


def test_a_step_waits_for_s3(s3, bucket, behind, monkeypatch, capsys, tmp_path):
    _, name = bucket
    engine = behind(s3.port)
    for variable, value in (s3.environment | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{engine.port}"}).items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "posts").write_text("posts")
    S3ArtifactStore(name, "runs").put("posts", tmp_path / "posts")
    assert S3ArtifactStore(name, "runs").same("posts", tmp_path / "posts")
    assert told(capsys) == [f"waiting up to 30 s for S3 at http://127.0.0.1:{engine.port}, which cannot be reached yet"]


def test_a_step_waits_for_postgresql(on_server, mlflow_server, postgres, behind, monkeypatch, capsys):
    address = postgres.url_of("direct")
    engine = behind(postgres.port)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", address.replace(f":{postgres.port}/", f":{engine.port}/"))
    database = Database(Store(mlflow_server.url))
    assert database.rows("experiments", "name", ["nobody"]) == []
    database.close()
    [line] = told(capsys)
    assert line.startswith(f"{WAITING}the database postgresql+psycopg2://127.0.0.1:{engine.port}/direct")

    another = behind(postgres.port)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", address.replace(f":{postgres.port}/", f":{another.port}/"))
    with alias_lock(unique("wren"), Store(mlflow_server.url)) as still_held:
        still_held()
    assert len(told(capsys)) == 1


def test_a_command_behind_a_policy_engine_reaches_all_three(on_server, mlflow_server, postgres, s3, outputs, tmp_path):
    """`mynah forget --dry-run` asks MLflow, PostgreSQL and S3."""
    name = unique("wren")
    register_all({name: outputs}, tmp_path / "work")
    with ExitStack() as stack:
        mlflow, database, store = (
            stack.enter_context(PolicyEngine(port, SECONDS, cuts=True)) for port in (mlflow_server.port, postgres.port, s3.port)
        )
        environment = on_server | {
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow.port}",
            "MLFLOW_BACKEND_STORE_URI": postgres.url_of("direct").replace(f":{postgres.port}/", f":{database.port}/"),
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{store.port}",
            "MYNAH_WAIT_SECONDS": "30",
        }
        done = mynah_process("forget", name, "--dry-run", "--no-cluster", "--workdir", tmp_path / "work", **environment)
    assert done.returncode == 0, done.stderr
    assert [line.split(" for ")[1].split(" ")[0] for line in done.stderr.splitlines() if WAITING in line] == ["the", "the", "S3"]
    assert all(engine.refused for engine in (mlflow, database, store))


@pytest.mark.slow
def test_the_first_step_of_a_run_gets_through_after_twenty_seconds(
    on_server, mlflow_server, s3, bucket, monkeypatch, tmp_path, capfd
):
    """In a pod, whose wait is the default; its MLflow and its S3 are behind one policy engine each."""
    files, kfp_run, name = RunFiles(bucket[1], new_id()), str(uuid.uuid4()), unique("wren")
    for variable, value in {**s3.environment, "MYNAH_S3_BUCKET": bucket[1], "KUBERNETES_SERVICE_HOST": "10.0.0.1"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("MYNAH_WAIT_SECONDS", raising=False)
    RunInputs(name, ["sample"], "fledgling").write(tmp_path / "spec.json")
    spec = publish_file(files.spec, tmp_path / "spec.json")
    with PolicyEngine(mlflow_server.port, 20, cuts=True) as mlflow, PolicyEngine(s3.port, 20, cuts=True) as store:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mlflow.port}")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{store.port}")
        raw, run = fetch.python_func(spec, kfp_run, "")
        assert mlflow.refused
        assert store.refused
    assert raw.startswith(f"{files.of(kfp_run)}/raw#")
    [step] = steps_of(Store(mlflow_server.url), run).values()
    assert (step.info.status, attempts(step.data.tags)) == ("FINISHED", 1)
    assert capfd.readouterr().err.count(f"waiting up to 60 s for the MLflow server http://127.0.0.1:{mlflow.port}") == 1


def test_submit_waits_for_a_port_forward(mynah, kubeflow, behind, monkeypatch, capsys):
    engine = behind(int(kubeflow.url.rpartition(":")[2]))
    done = mynah(*SUBMIT, "--no-wait", "--endpoint", f"http://127.0.0.1:{engine.port}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{WAITING}Kubeflow Pipelines at http://127.0.0.1:{engine.port}") == 1
    assert len(kubeflow.runs) == 1


def test_a_pod_waits_for_a_minute_and_a_person_for_seconds(kubeflow, mynah, monkeypatch, capsys):
    from mynah.core.wait_for_server import seconds_to_wait

    monkeypatch.delenv("MYNAH_WAIT_SECONDS")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert seconds_to_wait() == 4
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert seconds_to_wait() == 60
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    kubeflow.stop()
    started = time.monotonic()
    refused(mynah("runs"), 3, "cannot be reached")
    assert time.monotonic() - started < 10


def test_what_waiting_does_not_mend_fails_at_once(s3, bucket, postgres, mlflow_server, on_server, monkeypatch, capsys, tmp_path):
    """An unknown host, a refused login, a missing bucket, a server that speaks no TLS."""
    monkeypatch.setenv("MYNAH_WAIT_SECONDS", "300")
    for variable, value in s3.environment.items():
        monkeypatch.setenv(variable, value)
    failing = [
        (PlatformError, lambda: client("http://no-such-host.invalid:5000")),
        (PlatformError, lambda: client(f"https://127.0.0.1:{mlflow_server.port}")),
        (StoreRefused, lambda: S3ArtifactStore("no-such-bucket", "x").check()),
    ]
    for kind, attempt in failing:
        with pytest.raises(kind):
            attempt()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreRefused, match="SignatureDoesNotMatch"):
        S3ArtifactStore(bucket[1], "x").check()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://no-such-host.invalid:8333")
    with pytest.raises(PlatformError, match="S3 failed"):
        S3ArtifactStore(bucket[1], "x").check()
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", postgres.url_of("direct").replace(postgres.password, "wrong"))
    with pytest.raises(PlatformError, match="password authentication failed"):
        Database(Store(mlflow_server.url)).rows("experiments", "name", ["nobody"])
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql+psycopg2://mynah@no-such-host.invalid/x")
    with pytest.raises(PlatformError, match="could not translate host name"):
        Database(Store(mlflow_server.url)).rows("experiments", "name", ["nobody"])
    assert not told_any(capsys)


def test_a_name_server_that_does_not_answer_is_waited_for(mlflow_server, monkeypatch, capsys):
    """It lies behind the policy engine too; the tests' own name server always answers."""
    monkeypatch.setenv("MYNAH_WAIT_SECONDS", "30")
    resolve, failures = socket.getaddrinfo, iter([socket.EAI_AGAIN, socket.EAI_AGAIN])

    def lookup(host, *rest, **options):
        if host == "mlflow.mynah.svc" and (code := next(failures, None)) is not None:
            raise socket.gaierror(code, "Temporary failure in name resolution")
        return resolve("127.0.0.1" if host == "mlflow.mynah.svc" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    try:
        client(f"http://mlflow.mynah.svc:{mlflow_server.port}")
    except PlatformError as error:  # its --allowed-hosts do not have this name: it was reached
        assert "(403)" in error.problem
    assert len(told_any(capsys)) == 1
