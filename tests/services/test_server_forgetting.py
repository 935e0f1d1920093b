"""Bots forgotten on MLflow servers with S3: every object version, row and cached file goes, also when it is killed."""

import contextlib
import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from registry_inputs import register_all, unique

from mynah.core.errors import InputError
from mynah.registry.registry import Registry
from mynah.storage.s3 import S3ArtifactStore
from mynah.tracking.database import Database
from mynah.tracking.open import open_store
from tests.services.killed_commands import FORGETTING, KilledCommands


def versioned(s3, on):
    with contextlib.closing(s3.client()) as client:
        client.put_bucket_versioning(Bucket="direct", VersioningConfiguration={"Status": "Enabled" if on else "Suspended"})


def test_forgetting_takes_object_versions_uploads_rows_and_the_cache(on_server, outputs, tmp_path, s3, mynah):
    name, workdir = unique("wren"), tmp_path / "work"
    versioned(s3, True)
    register_all({name: outputs}, workdir)
    store = open_store(workdir)
    registry = Registry(store)
    version = registry.bot(name).champion
    registry.checkpoint(version)
    place = registry.files(version)
    with contextlib.closing(s3.client()) as client:
        config = place.prefix + "model/config.json"
        client.put_object(Bucket=place.bucket, Key=config, Body=b"{}")  # a second version
        client.delete_object(Bucket=place.bucket, Key=place.prefix + "model/training.json")  # a delete marker
        client.create_multipart_upload(Bucket=place.bucket, Key=place.prefix + "model/never.bin")
    prefixes = [place.prefix] + [
        run.info.artifact_uri.removeprefix("s3://direct/") + "/"
        for run in registry.client.search_runs([run.experiment_id for run in registry.client.search_experiments()])
        if run.data.tags.get("mynah.bot") == name or run.info.run_id == version.run_id
    ]
    done = mynah("forget", "--yes", name, "--no-cluster", "--workdir", workdir, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    kinds = [item["kind"] for item in result["items"]]
    assert kinds.count("upload") == 1
    assert {"version", "bot", "object", "upload", "file", "model", "run"} == set(kinds)
    versions = [item for item in result["items"] if item["address"] == f"s3://direct/{config}"]
    assert {item["digest"] for item in versions} == {
        f"etag:{hashlib.md5(body).hexdigest()}" for body in (b"{}", (outputs / "model" / "config.json").read_bytes())
    }
    for prefix in prefixes:
        assert list(S3ArtifactStore("direct", prefix).versions()) == list(S3ArtifactStore("direct", prefix).uploads()) == []
    assert list((workdir / "cache").iterdir()) == []
    with contextlib.closing(Database(store)) as database:
        for table, column in (("tags", "value"), ("params", "value"), ("registered_models", "name"), ("model_versions", "name")):
            assert database.rows(table, column, [name]) == []
    genuine = mynah("receipt", result["receipt"], "--workdir", workdir)
    assert genuine.returncode == 0, genuine.stderr
    versioned(s3, False)


def test_forgetting_through_a_proxy_needs_the_bucket_and_the_database(
    on_proxied, mlflow_server, outputs, tmp_path, s3, postgres, mynah, monkeypatch
):
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs}, workdir)
    unsaid = mynah("forget", "--yes", name, "--workdir", workdir)
    assert (unsaid.returncode, "--no-cluster" in unsaid.stderr) == (2, True)
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION")
    done = mynah("forget", "--yes", name, "--no-cluster", "--workdir", workdir)
    assert (done.returncode, "MLFLOW_ARTIFACTS_DESTINATION" in done.stderr) == (2, True)
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "s3://proxied/mlflow")
    database = os.environ["MLFLOW_BACKEND_STORE_URI"]
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI")
    done = mynah("forget", "--yes", name, "--no-cluster", "--workdir", workdir)
    assert (done.returncode, "MLFLOW_BACKEND_STORE_URI" in done.stderr) == (2, True)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", postgres.url_of("direct"))  # another server's
    done = mynah("forget", "--yes", name, "--no-cluster", "--workdir", workdir)
    assert (done.returncode, "is not the database of" in done.stderr, postgres.password in done.stderr) == (2, True, False)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", database)
    assert Registry(open_store(workdir)).bot(name).champion
    done = mynah("forget", "--yes", name, "--no-cluster", "--workdir", workdir, "--json", **s3.environment)
    assert done.returncode == 0, done.stderr
    assert {"object", "run"} <= {item["kind"] for item in json.loads(done.stdout)["items"]}


@pytest.fixture(scope="module")
def killed():
    """Commands that are killed right before the N-th thing is erased."""
    with contextlib.closing(KilledCommands(FORGETTING)) as commands:
        yield commands.run


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_forgetting_killed_on_the_server_and_run_again(on_server, outputs, tmp_path, mynah, killed, share):
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs}, workdir)
    planned = json.loads(mynah("forget", name, "--no-cluster", "--dry-run", "--json", "--workdir", workdir).stdout)["items"]
    at = int(share * len(planned))
    assert killed(at, "forget", "--yes", name, "--no-cluster", "--workdir", workdir) == -signal.SIGKILL
    # From another machine, which has no journal, the rest is found all the same.
    elsewhere = tmp_path / "elsewhere" if share == 0.5 else workdir
    done = mynah("forget", "--yes", name, "--no-cluster", "--json", "--workdir", elsewhere)
    assert done.returncode == 0, done.stderr
    if elsewhere == workdir:
        listed = {
            (item["kind"], item["address"]) for item in json.loads(Path(json.loads(done.stdout)["receipt"]).read_text())["items"]
        }
        assert listed >= {(item["kind"], item["address"]) for item in planned}
    with pytest.raises(InputError, match="there is no bot"):
        Registry(open_store(workdir)).bot(name)
