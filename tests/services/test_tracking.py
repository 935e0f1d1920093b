"""What runs record, on a real MLflow server with PostgreSQL and S3: retried steps, outages, restarts, stores that do not answer."""

import json
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from registry_inputs import mynah

from components.artifacts import place
from components.errors import PlatformError
from components.lineage import authors_of, record_sources
from components.outbox import keep_for_later
from components.posts import Post, write_posts
from components.store import Store, client, experiment, open_store
from components.tracking import end_run, start_parent, step_run, steps_of
from scripts.services import start_mlflow


@pytest.fixture
def store(on_server, tmp_path):
    return open_store(tmp_path / "work")


def history(store, run_id, key):
    return [(point.step, point.value) for point in client(store.tracking_uri).get_metric_history(run_id, key)]


def record(store, parent, steps, *, fails=False, depth=2):
    """A step that records a curve, parameters and tags; in a process's own words: a training."""
    with step_run("finetune", store, parent) as run:
        run.params({"epochs": 3, "depth": depth})
        for step in range(steps):
            run.step_metrics(step, {"loss": 10.0 - step})
        run.metrics({"kept": 7.0}, headline=True)
        if fails:
            raise KeyboardInterrupt
    return run


def test_a_retried_step_goes_on_in_its_run_and_doubles_nothing(store):
    parent = start_parent(store, "wren", {})
    with pytest.raises(KeyboardInterrupt):
        record(store, parent, 3, fails=True)
    assert steps_of(store, parent)["finetune"].info.status == "KILLED"
    run = record(store, parent, 5, depth=4)
    assert (run.attempt, len(steps_of(store, parent))) == (2, 1)
    again = steps_of(store, parent)["finetune"]
    assert (again.info.status, again.data.tags["mynah.attempts"]) == ("FINISHED", "2")
    assert sorted(history(store, run.run_id, "loss")) == [(step, 10.0 - step) for step in range(5)]
    assert again.data.params == {"epochs": "3", "depth": "2", "depth.attempt_2": "4"}
    assert history(store, parent, "kept") == [(0, 7.0), (1, 7.0)]  # one an attempt
    end_run(store, parent, "FINISHED")
    ended = client(store.tracking_uri).get_run(parent)
    assert ended.info.status == "FINISHED"
    assert float(ended.data.tags["mynah.seconds"]) > 0


def test_cost_is_seconds_times_the_price_of_the_node(store, monkeypatch, tmp_path):
    (tmp_path / "prices.yaml").write_text("huge: 36000\n")
    monkeypatch.setenv("MYNAH_PRICES", str(tmp_path / "prices.yaml"))
    monkeypatch.setenv("MYNAH_NODE_KIND", "huge")
    parent = start_parent(store, "wren", {})
    record(store, parent, 1)
    end_run(store, parent, "FINISHED")
    step = steps_of(store, parent)["finetune"].data.tags
    assert step["mynah.node"] == "huge"
    assert float(step["mynah.cost_usd"]) == pytest.approx(10 * float(step["mynah.seconds"]), abs=1)
    total = client(store.tracking_uri).get_run(parent).data.tags
    assert float(total["mynah.cost_usd"]) == pytest.approx(float(step["mynah.cost_usd"]), abs=1e-3)


def test_the_machine_is_measured(store, monkeypatch):
    monkeypatch.setattr("components.machine.SECONDS_BETWEEN_SAMPLES", 0.1)
    parent = start_parent(store, "wren", {})
    with step_run("finetune", store, parent) as run:
        threading.Event().wait(1)
    found = client(store.tracking_uri).get_run(run.run_id).data.metrics
    assert found["system/system_memory_usage_megabytes"] > 0
    assert "system/cpu_utilization_percentage" in found


def test_datasets_are_inputs_with_their_digests(store, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "x"}\n')
    parent = start_parent(store, "wren", {})
    with step_run("filter", store, parent) as run:
        run.dataset(tmp_path / "train.jsonl", "train.jsonl", "training", "{}")
    for run_id in (run.run_id, parent):
        [found] = client(store.tracking_uri).get_run(run_id).inputs.dataset_inputs
        assert len(found.dataset.digest) == 36
        assert json.loads(found.dataset.source)["sha256"].startswith(found.dataset.digest)
        assert [tag.value for tag in found.tags] == ["training"]


@pytest.fixture(scope="module")
def spare_mlflow(tmp_path_factory, postgres, s3):
    s3.create_bucket("spare")
    where = {"backend": postgres.create_database("spare"), "artifacts": "s3://spare/mlflow", "environment": s3.environment}
    with start_mlflow(tmp_path_factory.mktemp("spare"), proxied=False, **where) as server:
        yield server


@pytest.fixture
def own_mlflow(spare_mlflow, s3, monkeypatch):
    """An MLflow server that a test may kill."""
    if not spare_mlflow.program.alive:
        spare_mlflow.start()
    for key, value in {"MLFLOW_TRACKING_URI": spare_mlflow.url, **s3.environment}.items():
        monkeypatch.setenv(key, value)
    return spare_mlflow


def test_a_server_that_is_killed_and_comes_back_during_a_step_misses_nothing(own_mlflow, tmp_path, capfd):
    store = open_store(tmp_path)
    parent = start_parent(store, "wren", {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "steps.jsonl").write_text("{}\n")
    with step_run("finetune", store, parent) as run:
        run.step_metrics(0, {"loss": 3.0})
        own_mlflow.kill()
        for step in range(1, 50):
            run.step_metrics(step, {"loss": 3.0 - step / 100})
        run.params({"epochs": 1})
        run.artifacts(tmp_path / "out", "training")
        told = ""
        while "the run's records wait until it is back" not in told:  # it tries in vain, and says so
            threading.Event().wait(0.2)
            told += capfd.readouterr().err
        own_mlflow.start()
    assert len(history(store, run.run_id, "loss")) == 50
    api = client(store.tracking_uri)
    assert api.get_run(run.run_id).info.status == "FINISHED"
    assert [item.path for item in api.list_artifacts(run.run_id, "training")] == ["training/steps.jsonl"]
    assert "the tracking store is back" in capfd.readouterr().err


def test_a_server_that_stays_away_leaves_the_records_for_later(own_mlflow, tmp_path, monkeypatch, capfd):
    store = open_store(tmp_path)
    monkeypatch.setenv("MYNAH_UNSENT", str(tmp_path / ".unsent"))
    parent = start_parent(store, "wren", {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.json").write_text("{}\n")
    with step_run("finetune", store, parent) as run:
        own_mlflow.kill()
        run.step_metrics(1, {"loss": 2.0})
        run.artifacts(tmp_path / "out", "training")
    assert "are kept, and sent by the next mynah" in capfd.readouterr().err
    (tmp_path / "out" / "training.json").unlink()  # the records have a copy
    down = mynah("bots", "--workdir", tmp_path)
    assert (down.returncode, "does not answer" in down.stderr) == (3, True)
    own_mlflow.start()
    assert mynah("bots", "--workdir", tmp_path).returncode == 0
    assert history(store, run.run_id, "loss") == [(1, 2.0)]
    api = client(store.tracking_uri)
    assert api.get_run(run.run_id).info.status == "FINISHED"
    assert [item.path for item in api.list_artifacts(run.run_id, "training")] == ["training/training.json"]
    assert list((tmp_path / ".unsent").glob("*-*")) == []


def test_a_database_that_restarts_during_a_step_misses_nothing(store, postgres):
    parent = start_parent(store, "wren", {})
    with step_run("finetune", store, parent) as run:
        run.step_metrics(0, {"loss": 3.0})
        postgres.stop()
        run.step_metrics(1, {"loss": 2.0})
        run.params({"epochs": 1})
        threading.Event().wait(3)
        postgres.start()
    assert sorted(history(store, run.run_id, "loss")) == [(0, 3.0), (1, 2.0)]
    assert client(store.tracking_uri).get_run(run.run_id).data.params == {"epochs": "1"}


def keep(store, folder, run, *operations):
    keep_for_later(folder, run, [{"run": run, **operation} for operation in operations])


def test_kept_records_that_are_damaged_or_of_a_forgotten_run_harm_nothing(store, tmp_path, capfd):
    """A later mynah sends the others, brings no erased file back, and lets no earlier attempt have the last word."""
    unsent, posts = tmp_path / "work" / ".unsent", tmp_path / "posts.jsonl"
    posts.write_text("{}\n")
    parent = start_parent(store, "wren", {})
    run = record(store, parent, 1)
    api = client(store.tracking_uri)
    gone = start_parent(store, "gone", {})
    uri = api.get_run(gone).info.artifact_uri
    api.delete_run(gone)
    keep(store, unsent, gone, {"do": "artifacts", "uri": f"{uri}/raw", "files": {"posts.jsonl": str(posts)}})
    keep(store, unsent, "f" * 32, {"do": "artifacts", "uri": f"{uri}/raw", "files": {"posts.jsonl": str(posts)}})
    keep(store, unsent, run.run_id, {"do": "artifacts", "uri": f"{uri}/raw", "files": {"none.jsonl": str(tmp_path / "none")}})
    for number, text in enumerate(("{", "{}", '{"run": 1, "do": "fly"}', "[]")):
        (unsent / f"{number}-1").mkdir()
        (unsent / f"{number}-1" / "operations.jsonl").write_text(text)
    api.set_tag(run.run_id, "mynah.attempts", "2")
    keep(
        store,
        unsent,
        run.run_id,
        {"do": "end", "status": "FAILED", "time": 1, "attempt": 1},
        {"do": "tags", "values": {"late": "yes"}},
    )
    open_store(tmp_path / "work")
    assert place(uri).files() == {}
    ended = api.get_run(run.run_id)
    assert (ended.info.status, ended.data.tags["late"]) == ("FINISHED", "yes")
    assert sorted(path.name for path in unsent.glob("*/*")) == ["damaged.jsonl"] * 4
    assert "are damaged, and are not sent" in capfd.readouterr().err
    open_store(tmp_path / "work")
    assert "damaged" not in capfd.readouterr().err


def test_authors_take_as_many_tags_as_they_need(store, tmp_path):
    authors = [f"author_{number:05d}_" for number in range(2000)]
    (tmp_path / "raw").mkdir()
    write_posts(tmp_path / "raw", [Post(str(number), author, "x") for number, author in enumerate(authors)])
    (tmp_path / "raw" / "sources.json").write_text('[{"source": "many.csv", "basis": "permission"}]')
    parent = start_parent(store, "many", {})
    with step_run("fetch", store, parent) as run:
        record_sources(run, tmp_path / "raw")
    for run_id in (parent, run.run_id):
        tags = client(store.tracking_uri).get_run(run_id).data.tags
        assert authors_of(tags) == authors
        assert max(map(len, tags.values())) <= 5000
        assert tags["mynah.consent"] == "permission"


def test_a_server_that_dies_after_its_first_answer_keeps_the_password_to_itself(own_mlflow):
    uri = own_mlflow.url.replace("http://", "http://user:s3cret@")
    store = Store(uri)
    experiment(store)
    own_mlflow.kill()
    with pytest.raises(PlatformError) as told:
        start_parent(store, "wren", {})
    assert "s3cret" not in str(told.value)


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
def test_what_is_no_mlflow_server(tmp_path, status, said):
    with answering(status) as url:
        done = mynah("bots", "--workdir", tmp_path, MLFLOW_TRACKING_URI=url)
    assert (done.returncode, len(done.stderr.splitlines()), said in done.stderr) == (3, 2, True), done.stderr


@pytest.mark.parametrize("uri", ["file:///x", "sqlite:///x.db", "postgresql://u:secret@h/d", "databricks"])
def test_an_address_that_is_no_servers(tmp_path, uri):
    done = mynah("bots", "--workdir", tmp_path, MLFLOW_TRACKING_URI=uri)
    assert (done.returncode, "is no MLflow server" in done.stderr, "secret" in done.stderr) == (2, True, False)


def test_a_server_that_is_down_or_never_answers_is_told_soon(tmp_path):
    """Within the 25 seconds that the process is given; MLflow's own defaults take minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for url in (f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:9"):
            done = mynah("bots", "--workdir", tmp_path, MLFLOW_TRACKING_URI=url, timeout=25)
            assert (done.returncode, len(done.stderr.splitlines())) == (3, 2), done.stderr
            assert "does not answer" in done.stderr
            assert "secret" not in done.stderr


def test_a_locked_sqlite_store_is_told_soon(tmp_path):
    open_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        done = mynah("bots", "--workdir", tmp_path, timeout=40)
    assert (done.returncode, "has been locked by another process" in done.stderr) == (3, True)
    assert mynah("bots", "--workdir", tmp_path).returncode == 0


def test_processes_at_once_make_one_experiment(postgres, s3, tmp_path):
    where = {"backend": postgres.create_database("fresh"), "artifacts": "s3://direct/fresh", "environment": s3.environment}
    code = "import sys\nfrom components.store import Store, experiment\nprint(experiment(Store(sys.argv[1])))"
    with start_mlflow(tmp_path / "mlflow", proxied=False, **where) as server:
        command = [sys.executable, "-c", code, server.url]
        found = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
        assert len({process.communicate(timeout=120)[0] for process in found}) == 1
        assert {process.returncode for process in found} == {0}


def test_a_deleted_experiment_is_told(own_mlflow):
    store = Store(own_mlflow.url)
    identity = experiment(store)
    client(store.tracking_uri).delete_experiment(identity)
    with pytest.raises(PlatformError, match="was deleted"):
        experiment(store)
    client(store.tracking_uri).restore_experiment(identity)
    assert experiment(store) == identity
