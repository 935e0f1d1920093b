"""Stores of runs that do not answer, or are none: each is told soon, and in words."""

import socket
import sqlite3
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import registry_inputs

from mynah.tracking.open import open_store


class Answer(BaseHTTPRequestHandler):
    status = 403

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def answering(status):
    handler = type("Handler", (Answer,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "said"), [(403, "--allowed-hosts"), (404, "Is it an MLflow server?"), (500, "answers /health with 500")]
)
def test_what_is_no_mlflow_server(mynah, tmp_path, status, said):
    with answering(status) as url:
        done = mynah("bots", "--workdir", tmp_path, MLFLOW_TRACKING_URI=url)
    assert (done.returncode, len(done.stderr.splitlines()), said in done.stderr) == (3, 2, True), done.stderr


@pytest.mark.parametrize("uri", ["file:///x", "sqlite:///x.db", "postgresql://u:secret@h/d", "databricks"])
def test_an_address_that_is_no_servers(mynah, tmp_path, uri):
    done = mynah("bots", "--workdir", tmp_path, MLFLOW_TRACKING_URI=uri)
    assert (done.returncode, "is not an MLflow server" in done.stderr, "secret" in done.stderr) == (2, True, False)


def test_a_server_that_is_down_or_never_answers_is_told_soon(tmp_path):
    """Within the 25 seconds that the process is given; MLflow's own defaults take minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for url in (f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:9"):
            done = registry_inputs.mynah("bots", "--workdir", tmp_path, MLFLOW_TRACKING_URI=url, timeout=25)
            told = [line for line in done.stderr.splitlines() if line != "Opening the registry …"]  # shown where that takes long
            assert (done.returncode, len(told)) == (3, 2), done.stderr
            assert "does not answer" in done.stderr
            assert "secret" not in done.stderr


def test_a_locked_sqlite_store_is_told_soon(mynah, tmp_path):
    open_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        done = registry_inputs.mynah("bots", "--workdir", tmp_path, timeout=40)
    assert (done.returncode, "has been locked by another process" in done.stderr) == (3, True)
    assert mynah("bots", "--workdir", tmp_path).returncode == 0
