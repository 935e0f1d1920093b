"""`mynah forget --context NAME` finds and reaches the database of MLflow by itself: an API server's port-forward to a real PostgreSQL."""

import base64
import contextlib
import json
import os
import socket
import threading
from pathlib import Path

import psycopg2
import pytest
from fake_kubernetes import FakeKubernetes, write_kubeconfig
from registry_inputs import register_all, unique

from mynah.core.errors import InputError, PlatformError
from mynah.kubernetes.backend_store import reached_backend
from mynah.kubernetes.cluster import Cluster
from mynah.kubernetes.port_forward import PodPort, forwarded
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.services.certificates import self_signed
from tests.services.kubeflow_commands import refused

POD = PodPort("mynah", "postgres-0", 5432)
LABELS = {"app.kubernetes.io/name": "postgres"}


def install(fake, postgres, database="direct", password=""):
    """What overlays/laptop makes: a Secret, a Service and a ready pod of PostgreSQL."""
    fake.kinds |= {"secrets", "services", "pods"}
    login = {"POSTGRES_USER": "mynah", "POSTGRES_PASSWORD": password or postgres.password, "POSTGRES_DB": database}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in login.items()}
    fake.put("secrets", "mynah", "mynah-postgres", data=encoded)
    ports = [{"name": "postgres", "port": 5432, "targetPort": "postgres"}]
    fake.put("services", "mynah", "postgres", spec={"clusterIP": "None", "selector": LABELS, "ports": ports})
    fake.put("pods", "mynah", "other-0", metadata={"labels": {}}, spec={"containers": []}, status=ready("True"))
    fake.put("pods", "mynah", "postgres-0", metadata={"labels": LABELS}, spec=containers(), status=ready("True"))
    fake.ports["mynah", "postgres-0", 5432] = ("127.0.0.1", postgres.port)


def containers():
    return {"containers": [{"name": "postgres", "ports": [{"name": "postgres", "containerPort": 5432}]}]}


def ready(status):
    return {"conditions": [{"type": "Ready", "status": status}]}


@pytest.fixture
def database(on_server, kubernetes, postgres, monkeypatch):
    """A cluster with MLflow's database, which no variable names."""
    install(kubernetes, postgres)
    return kubernetes


@pytest.fixture
def bot(database, outputs, tmp_path, monkeypatch):
    name = unique("wren")
    register_all({name: outputs}, tmp_path / "work")
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI")
    return name


def test_a_bot_is_forgotten_without_an_address_of_the_database(bot, database, postgres, mynah, tmp_path):
    words = ("--context", "fake", "--workdir", tmp_path / "work")
    planned = json.loads(mynah("forget", bot, *words, "--dry-run", "--json").stdout)["items"]
    assert {"version", "run"} <= {item["kind"] for item in planned}
    done = mynah("forget", bot, *words, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning: the connection" not in done.stderr
    with pytest.raises(InputError, match="there is no bot"):
        Registry(open_store(tmp_path / "work")).bot(bot)
    receipt = json.loads(done.stdout)["receipt"]
    text = Path(receipt).read_text()
    assert "postgresql+psycopg2://postgres.mynah:5432/direct of the cluster at" in text
    assert postgres.password not in text + done.stderr + done.stdout
    checked = mynah("receipt", receipt, *words)
    assert checked.returncode == 0, checked.stderr
    assert any("portforward" in path for path in database.asked("get"))
    assert not any(thread.name == "port-forward" for thread in threading.enumerate())  # the listener is gone with the command


def test_the_variable_comes_first(bot, database, postgres, mynah, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", postgres.url_of("direct"))
    done = mynah("forget", bot, "--context", "fake", "--yes", "--workdir", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert not [path for _, path in database.calls if "secrets" in path or "portforward" in path]


def test_the_database_of_another_server_is_refused(bot, database, postgres, mynah, tmp_path, mlflow_proxied):
    install(database, postgres, "proxied")
    done = mynah("forget", bot, "--context", "fake", "--yes", "--workdir", tmp_path / "work")
    refused(done, 2, "postgres.mynah:5432/proxied of the cluster at", "is not the database of")
    assert Registry(open_store(tmp_path / "work")).bot(bot)


FORBIDDEN = [("get", "secrets"), ("get", "services"), ("list", "pods"), ("get", "pods/portforward")]


@pytest.mark.parametrize(("verb", "kind"), FORBIDDEN)
def test_a_right_that_lacks_is_named_and_nothing_erased(bot, database, mynah, tmp_path, verb, kind):
    database.forbidden.add((verb, kind))
    done = mynah("forget", bot, "--context", "fake", "--yes", "--workdir", tmp_path / "work")
    refused(done, 3, "refused it (403)", f"resources: [{kind}], verbs: [{verb}")
    assert Registry(open_store(tmp_path / "work")).bot(bot)


def test_a_wrong_password_is_told_without_it(bot, database, postgres, mynah, tmp_path):
    install(database, postgres, password="of-yesterday")
    done = mynah("forget", bot, "--context", "fake", "--yes", "--workdir", tmp_path / "work")
    refused(done, 3, "password authentication failed", "postgres.mynah:5432")
    assert "of-yesterday" not in done.stderr


def change(database, kind, name, **parts):
    database.objects[kind, "mynah", name] |= parts


@pytest.mark.parametrize(
    ("break_it", "code", "said"),
    [
        (lambda fake: fake.objects.pop(("secrets", "mynah", "mynah-postgres")), 2, "has no Secret mynah/mynah-postgres"),
        (lambda fake: fake.objects.pop(("services", "mynah", "postgres")), 2, "has no Service mynah/postgres"),
        (lambda fake: fake.objects.pop(("pods", "mynah", "postgres-0")), 3, "no pod of the Service mynah/postgres"),
        (lambda fake: change(fake, "pods", "postgres-0", status=ready("False")), 3, "no pod of the Service mynah/postgres"),
        (lambda fake: change(fake, "secrets", "mynah-postgres", data={"POSTGRES_USER": "bXluYWg="}), 2, "lacks POSTGRES_USER, POSTGRES_P"),
        (lambda fake: change(fake, "secrets", "mynah-postgres", data=None), 2, "lacks POSTGRES_USER"),
        (lambda fake: change(fake, "services", "postgres", spec={"ports": []}), 2, "names no pods"),
        (lambda fake: fake.ports.clear(), 3, "connection refused"),
    ],
)  # fmt: skip
def test_an_installation_of_another_form_is_named(bot, database, mynah, tmp_path, monkeypatch, break_it, code, said):
    monkeypatch.setenv("MYNAH_WAIT_SECONDS", "0")
    break_it(database)
    done = mynah("forget", bot, "--context", "fake", "--yes", "--workdir", tmp_path / "work")
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert Registry(open_store(tmp_path / "work")).bot(bot)


def test_without_a_context_the_fix_names_it(bot, mynah, tmp_path):
    done = mynah("forget", bot, "--no-cluster", "--yes", "--workdir", tmp_path / "work")
    refused(done, 2, "needs its database", "--context", "MLFLOW_BACKEND_STORE_URI")


def test_a_database_outside_of_the_cluster_is_reached_by_its_own_name(kubernetes, postgres):
    install(kubernetes, postgres)
    change(kubernetes, "services", "postgres", spec={"type": "ExternalName", "externalName": "mynah.example.com"})
    with reached_backend(Cluster.connect("fake")) as backend:
        assert backend.shown == "postgresql+psycopg2://mynah.example.com:5432/direct"
        assert backend.url.endswith("@mynah.example.com:5432/direct")
        assert postgres.password not in repr(backend)


@pytest.mark.parametrize("is_tls", [False, True])
def test_much_data_both_ways_over_several_connections(kubernetes, postgres, tmp_path, monkeypatch, is_tls):
    fake = FakeKubernetes(self_signed(tmp_path)) if is_tls else kubernetes
    if is_tls:
        authority = {"certificate-authority": str(tmp_path / "ca.crt")}
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "tls", fake.url, **authority)))
    install(fake, postgres)
    fake.pings = True
    text = os.urandom(1_000_000).hex()
    with reached_backend(Cluster.connect("fake")) as backend:
        address = backend.url.replace("+psycopg2", "").replace("/direct", "/mynah")
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(contextlib.closing(psycopg2.connect(address))) for _ in range(3)]
            for connection in connections:
                cursor = connection.cursor()
                cursor.execute("SELECT %s || 'é'", (text,))
                assert cursor.fetchone() == (text + "é",)
    if is_tls:
        fake.stop()


def test_a_connection_that_breaks_ends_the_clients(kubernetes, postgres, capsys):
    """Whoever waits for an answer is not left waiting."""
    with socket.create_server(("127.0.0.1", 0)) as pod:
        install(kubernetes, postgres)
        kubernetes.ports["mynah", "postgres-0", 5432] = pod.getsockname()
        with forwarded(Cluster.connect("fake"), POD) as port, socket.create_connection(("127.0.0.1", port), 20) as client:
            pod.accept()[0].close()  # the check's
            client.sendall(b"hello")
            there = pod.accept()[0]
            assert there.recv(5) == b"hello"
            there.close()
            assert client.recv(1) == b""


def test_a_pod_that_is_gone_is_told_before_anything_connects(kubernetes, postgres):
    install(kubernetes, postgres)
    del kubernetes.objects["pods", "mynah", "postgres-0"]
    with pytest.raises(PlatformError, match='pods "postgres-0" not found'), forwarded(Cluster.connect("fake"), POD):
        pytest.fail("it was forwarded")
