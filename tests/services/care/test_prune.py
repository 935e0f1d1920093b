"""Prune removes the versions, models and runs that nothing needs, and none that something refers to."""

import json
import sqlite3
from contextlib import closing

import pytest
from fake_kubernetes import SERVICES
from registry_inputs import make_outputs, register_all

from components.promote.step import promote
from components.register.step import _fluent
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from mynah.tracking.runs import end_run, start_parent
from tests.services.care.served_bots import serve


def version_with_files(workdir, outputs):
    register_all({"wren": outputs}, workdir, promoted=False)
    return Registry(open_store(workdir)).bot("wren").versions[0]


def test_prune_never_takes_what_an_alias_refers_to(workdir, tmp_path, tiny_checkpoint, mynah):
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    versions = [version_with_files(workdir, outputs) for _ in range(4)]  # 2 to 5
    promote("wren", open_store(workdir), 3)  # so 3 is the champion, 1 previous, 5 challenger
    registry = Registry(open_store(workdir))
    places = {version.version: registry.files(version) for version in registry.bot("wren").versions}
    dry = mynah("prune", "--keep", "1", "--dry-run", "--workdir", workdir)
    assert "would remove version wren 4" in dry.stdout
    assert len(registry.bot("wren").versions) == 5
    assert "Nothing to remove." in mynah("prune", "--keep", "1", "--days", "1", "--workdir", workdir).stdout
    done = json.loads(mynah("prune", "--keep", "1", "--workdir", workdir, "--json").stdout)
    assert [each["name"] for each in done] == ["wren 4", "wren 2"]
    assert [version.version for version in registry.bot("wren").versions] == [5, 3, 1]
    for number, place in places.items():
        assert bool(place.files()) == (number in (1, 3, 5))
    assert mynah("doctor", "--deep", "--workdir", workdir).returncode == 0
    assert len(versions) == 4


def test_prune_takes_models_and_runs_that_nothing_needs_any_more(workdir, tmp_path, tiny_checkpoint, mynah):
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    old = [version_with_files(workdir, outputs) for _ in range(2)]
    store = open_store(workdir)
    registry = Registry(store)
    orphan = registry.files(old[0])
    registry.client.delete_model_version("wren", "2")  # as somebody does on MLflow's page: its files stay
    assert orphan.files()
    assert "Nothing to remove." in mynah("prune", "--keep", "2", "--workdir", workdir).stdout  # it may be at work
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        for column in ("creation_timestamp_ms", "last_updated_timestamp_ms"):
            database.execute(f"UPDATE logged_models SET {column} = {column} - 100000000")
        database.execute("UPDATE runs SET start_time = start_time - 100000000, end_time = end_time - 100000000")
    done = json.loads(mynah("prune", "--keep", "2", "--workdir", workdir, "--json").stdout)
    assert [each["kind"] for each in done] == ["model"]
    assert orphan.files() == {}
    done = json.loads(mynah("prune", "--keep", "1", "--workdir", workdir, "--json").stdout)
    assert [each["kind"] for each in done] == ["run"]  # the run of version 2; 1 and 3 have aliases
    assert sorted(version.version for version in registry.bot("wren").versions) == [1, 3]
    assert mynah("doctor", "--workdir", workdir).returncode == 0


@pytest.mark.parametrize("folder", ["..", ".", "../runs", "/", ""])
def test_a_runs_tag_is_no_path(workdir, tmp_path, tiny_checkpoint, mynah, folder):
    store = open_store(workdir)
    for _ in range(2):
        run = start_parent(store, "wren", {"mynah.folder": folder})
        end_run(store, run, "FAILED")
    (workdir / "runs" / "mine").mkdir(parents=True)
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET start_time = start_time - 100000000, end_time = end_time - 100000000")
    done = mynah("prune", "--keep", "0", "--workdir", workdir)
    assert (done.returncode, "removing run" in done.stdout) == (0, True), done.stderr
    assert (workdir / "mlflow.db").exists()
    assert (workdir / "runs" / "mine").exists()
    assert mynah("doctor", "--deep", "--workdir", workdir).returncode == 0


@pytest.mark.parametrize(
    "how", [lambda _, version: version.source, lambda registry, version: registry.uri(version)], ids=["model", "address"]
)
def test_prune_leaves_the_files_that_another_version_has_too(workdir, tmp_path, tiny_checkpoint, mynah, how):
    """Whatever way it names them: MLflow's page copies versions between models."""
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    version = version_with_files(workdir, outputs)
    version_with_files(workdir, outputs)
    registry = Registry(open_store(workdir))
    registry.client.create_registered_model("prod", tags={"mynah.bot": "prod"})
    with _fluent(registry.store.tracking_uri):
        registry.client.create_model_version("prod", how(registry, version))
    assert "removing version wren 2" in mynah("prune", "wren", "--keep", "0", "--workdir", workdir).stdout
    assert registry.files(registry.bot("prod").versions[0]).files()


def test_prune_never_takes_what_an_inference_service_refers_to(workdir, tmp_path, tiny_checkpoint, mynah, kubernetes):
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    version = version_with_files(workdir, outputs)
    version_with_files(workdir, outputs)
    registry = Registry(open_store(workdir))
    serve(kubernetes, "wren-old", registry.uri(version) + "/model/")
    prune = ["prune", "wren", "--keep", "0", "--context", "fake", "--workdir", workdir]
    assert mynah(*prune).stdout == "Nothing to remove.\n"
    kubernetes.forbidden.add(("list", SERVICES))
    assert mynah(*prune).returncode == 3  # what cannot be seen is not taken for unused
    kubernetes.forbidden.clear()
    kubernetes.objects.clear()
    assert "removing version wren 2" in mynah(*prune).stdout
    done = mynah("prune", "--workdir", workdir, "--context", "other")
    assert (done.returncode, "fake" in done.stderr) == (2, True)
