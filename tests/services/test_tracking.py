"""What runs record, on a real MLflow server with PostgreSQL and S3: retried steps, outages and restarts."""

import json
import subprocess
import threading

import pytest

from mynah.core.errors import PlatformError
from mynah.data.authors import authors_of
from mynah.data.posts import Post, write_posts
from mynah.mlflow_client.client import check_responds, client, experiment
from mynah.mlflow_client.store import Store
from mynah.registry.lineage import record_sources
from mynah.storage.open import open_artifact_store
from mynah.tracking.open import open_store
from mynah.tracking.outbox import save_unsent
from mynah.tracking.runs import end_run, start_parent, steps_of
from mynah.tracking.step_run import step_run
from scripts.services import start_mlflow
from tests.code.card_inputs import source
from tests.fork_client import RUN_CODE


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
    monkeypatch.setattr("mynah.tracking.usage_meter.SECONDS_BETWEEN_SAMPLES", 0.1)
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
        while "the run's records are queued until it is back" not in told:  # it tries in vain, and says so
            threading.Event().wait(0.2)
            told += capfd.readouterr().err
        own_mlflow.start()
    assert len(history(store, run.run_id, "loss")) == 50
    api = client(store.tracking_uri)
    assert api.get_run(run.run_id).info.status == "FINISHED"
    assert [item.path for item in api.list_artifacts(run.run_id, "training")] == ["training/steps.jsonl"]
    assert "the tracking store is back" in capfd.readouterr().err


def test_a_server_that_stays_away_leaves_the_records_for_later(own_mlflow, tmp_path, monkeypatch, mynah, capsys):
    store = open_store(tmp_path)
    monkeypatch.setenv("MYNAH_UNSENT", str(tmp_path / ".unsent"))
    parent = start_parent(store, "wren", {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.json").write_text("{}\n")
    with step_run("finetune", store, parent) as run:
        own_mlflow.kill()
        run.step_metrics(1, {"loss": 2.0})
        run.artifacts(tmp_path / "out", "training")
    assert "are saved, and sent by a later mynah command" in capsys.readouterr().err
    (tmp_path / "out" / "training.json").unlink()  # the records have a copy
    check_responds.cache_clear()  # as in a process of its own
    down = mynah("bots", "--workdir", tmp_path)
    assert (down.returncode, "does not answer" in down.stderr) == (3, True), down.stderr
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
    save_unsent(folder, run, [{"run": run, **operation} for operation in operations])


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
    assert open_artifact_store(uri).files() == {}
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
    (tmp_path / "raw" / "sources.json").write_text(json.dumps([source("many", source="many.csv", basis="permission")]))
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


AT_ONCE = """
import os, sys
from mlflow import MlflowClient
from mynah.mlflow_client.client import experiment
from mynah.mlflow_client.store import Store
for _ in range(5):
    if not os.fork():
        os.write(1, f"{experiment(Store(sys.argv[1]))}\\n".encode())
        os._exit(0)
for _ in range(5):
    assert os.wait()[1] == 0
"""


def test_processes_at_once_make_one_experiment(postgres, s3, tmp_path):
    where = {"backend": postgres.create_database("fresh"), "artifacts": "s3://direct/fresh", "environment": s3.environment}
    with start_mlflow(tmp_path / "mlflow", proxied=False, **where) as server:
        found = subprocess.run([*RUN_CODE, AT_ONCE, server.url], stdout=subprocess.PIPE, text=True, timeout=120)
    assert found.returncode == 0
    assert len(found.stdout.split()) == 5
    assert len(set(found.stdout.split())) == 1


def test_a_deleted_experiment_is_told(own_mlflow):
    store = Store(own_mlflow.url)
    identity = experiment(store)
    client(store.tracking_uri).delete_experiment(identity)
    with pytest.raises(PlatformError, match="was deleted"):
        experiment(store)
    client(store.tracking_uri).restore_experiment(identity)
    assert experiment(store) == identity
