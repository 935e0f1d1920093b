"""Models on MLflow servers with S3, directly and through the proxy: stored whole or not at all, promoted in one order, forgotten."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from registry_inputs import FOLDERS, add_version, aliases, command, make_outputs, register_all

from components.artifact_s3 import S3Place
from components.database import Database
from components.errors import InputError, PlatformError
from components.files import digest
from components.locks import alias_lock
from components.promote.history import events
from components.registry import Registry
from components.store import open_store
from scripts.services import start_mlflow


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, tiny_checkpoint):
    return make_outputs(tmp_path_factory.mktemp("outputs"), tiny_checkpoint, "ann_author")


def unique(bot):
    """A bot's name for one test: the servers live as long as all tests."""
    return f"{bot}-{os.urandom(3).hex()}"


@pytest.mark.parametrize("server", ["on_server", "on_proxied"])
def test_a_registered_model_is_whole_in_s3_and_loads_everywhere(request, server, outputs, tmp_path, s3):
    request.getfixturevalue(server)
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs}, workdir)
    registry = Registry(open_store(workdir))
    version = registry.bot(name).champion
    # As KServe sees it: every file of the checkpoint below <uri>/model/, byte for byte.
    uri = registry.uri(version).replace("mlflow-artifacts:", "s3://proxied/mlflow")
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    with closing(s3.client()) as client:
        found = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/model/".replace("//", "/"))["Contents"]
        bodies = {
            item["Key"].rpartition("/")[2]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in found
        }
    expected = {path.name: path.read_bytes() for path in (outputs / "model").iterdir()}
    assert bodies == expected | {"README.md": (outputs / "card" / "README.md").read_bytes()}
    folder = registry.checkpoint(version)
    assert digest(folder / "model.safetensors") == digest(outputs / "model" / "model.safetensors")
    assert registry.checkpoint(version) == folder  # fetched once
    if server == "on_proxied":
        return
    code = (
        "import json, mlflow, mlflow.transformers, sys\nmodel = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(json.dumps(list(model.predict(['My dream is']))))\n"
        "print(type(mlflow.transformers.load_model(sys.argv[1])).__name__)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, f"models:/{name}@champion"],
        capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"} | s3.environment,
    )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    answer, kind = loaded.stdout.splitlines()[-2:]
    assert json.loads(answer)[0].startswith("My dream is")
    assert kind == "TextGenerationPipeline"


def refused(done, *said):
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr


def test_a_wrong_key_registers_nothing(on_server, outputs, tmp_path, s3, mynah):
    name = unique("wren")
    folders = [outputs / each for each in FOLDERS]
    done = mynah("register", "--name", name, *folders, "--workdir", tmp_path, AWS_SECRET_ACCESS_KEY="wrong")
    refused(done, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY")
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in done.stderr
    done = mynah("register", "--name", name, *folders, "--workdir", tmp_path, AWS_ACCESS_KEY_ID="nobody")
    refused(done, "InvalidAccessKeyId", "mend AWS_ACCESS_KEY_ID")
    done = mynah("run", "--name", name, "--from", "sample", "--workdir", tmp_path, AWS_ACCESS_KEY_ID="nobody")
    refused(done, "InvalidAccessKeyId")  # before the first step
    with pytest.raises(InputError, match="there is no bot"):
        Registry(open_store(tmp_path)).bot(name)


def test_a_missing_bucket_is_told(outputs, tmp_path, postgres, s3, tmp_path_factory, mynah):
    where = {"backend": postgres.create_database("nobucket"), "artifacts": "s3://nobucket/mlflow", "environment": s3.environment}
    with start_mlflow(tmp_path_factory.mktemp("nobucket"), proxied=False, **where) as server:
        folders = [outputs / each for each in FOLDERS]
        done = mynah(
            "register", "--name", "wren", *folders, "--workdir", tmp_path, MLFLOW_TRACKING_URI=server.url, **s3.environment
        )
    refused(done, "NoSuchBucket", "Make the bucket")


def test_s3_killed_in_mid_upload_registers_nothing_and_the_next_try_works(on_server, outputs, tmp_path, s3, mynah):
    """The upload runs in a process of its own."""
    big, name = tmp_path / "big", unique("wren")
    shutil.copytree(outputs, big)
    with (big / "model" / "more.safetensors").open("wb") as file:
        for _ in range(24):
            file.write(os.urandom(16 << 20))
    folders = [big / each for each in ("model", "data", "report", "card")]
    started = subprocess.Popen(
        command("register", "--name", name, *folders, "--workdir", tmp_path / "work"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with closing(s3.client()) as client:
        deadline = time.monotonic() + 60
        while not client.list_multipart_uploads(Bucket="direct").get("Uploads"):
            assert time.monotonic() < deadline, "the upload never began"
            time.sleep(0.01)
    s3.gateway.kill()
    said = started.communicate(timeout=200)
    s3.start_gateway()
    assert started.returncode == 3, said
    assert "S3 failed" in said[1]
    with pytest.raises(InputError, match="there is no bot"):
        Registry(open_store(tmp_path / "work")).bot(name)
    assert "uploads never ended" in mynah("doctor", "--workdir", tmp_path / "work").stdout
    register_all({name: big}, tmp_path / "work", promoted=False)
    for upload in S3Place("direct", "").uploads():
        with closing(s3.client()) as client:
            client.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id)


def test_files_that_vanish_or_change_are_never_served(on_server, outputs, tmp_path, s3, mynah):
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs}, workdir)
    place = Registry(open_store(workdir)).files(Registry(open_store(workdir)).bot(name).champion)
    with closing(s3.client()) as client:
        weights = place.prefix + "model/model.safetensors"
        body = client.get_object(Bucket=place.bucket, Key=weights)["Body"].read()
        client.put_object(Bucket=place.bucket, Key=weights, Body=bytes(len(body)))
        assert mynah("doctor", "--workdir", workdir).returncode == 0  # of the same size: only a deep look sees it
        deep = mynah("doctor", "--deep", "--workdir", workdir)
        assert (deep.returncode, "its digest differs" in deep.stdout) == (3, True)
        changed = mynah("generate", name, "--workdir", workdir)
        assert (changed.returncode, "is not what was registered" in changed.stderr) == (3, True), changed.stderr
        client.delete_object(Bucket=place.bucket, Key=weights)
        for arguments in (["generate", name], ["serve", name, "--port", "0"], ["promote", name], ["rollback", name]):
            done = mynah(*arguments, "--workdir", workdir)
            assert done.returncode == 2, (arguments, done.stderr)
        told = mynah("doctor", "--workdir", workdir)
        assert (told.returncode, f"{name} champion (version 1): model/model.safetensors is missing" in told.stdout) == (3, True)
        client.put_object(Bucket=place.bucket, Key=weights, Body=body)
    assert mynah("generate", name, "--workdir", workdir).returncode == 0


def test_twenty_promotions_at_once_have_one_order(on_server, outputs, tmp_path):
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs}, workdir, promoted=False)
    versions = [1, *(add_version(workdir, 4.0, name=name) for _ in range(19))]
    calls = [command("promote", name, "--workdir", workdir, "--version", number) for number in versions]
    started = [subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for call in calls]
    said = [process.communicate(timeout=280)[1] for process in started]
    assert {process.returncode for process in started} == {0}, said
    bot = Registry(open_store(workdir)).bot(name)
    history = events(bot)
    assert [event.number for event in history] == list(range(1, 21))
    assert sorted(event.version for event in history) == versions
    assert all(event.done for event in history)
    before = 0
    for event in history:  # each saw what the one before it left
        assert (event.was_champion, event.champion, event.previous) == (before, event.version, before)
        before = event.champion
    assert (bot.aliases["champion"], bot.aliases["previous"]) == (history[-1].version, history[-2].version)


def test_a_lock_whose_session_ends_stops_the_promotion(on_server, outputs, tmp_path, postgres, monkeypatch, mynah):
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs}, workdir, promoted=False)
    store = open_store(workdir)
    with alias_lock(name, store) as still_held:
        still_held()
        with pytest.raises(PlatformError, match="another promotion has held"), alias_lock(name, store, patience=0.2):
            pytest.fail("two had it")
        with alias_lock(f"{name}x", store, patience=0.2):
            pass  # another bot's
        with closing(postgres.connect("direct")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mynah'")
        with pytest.raises(PlatformError, match="the lock in"):
            still_held()
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql+psycopg2://mynah:wrong-secret@127.0.0.1:9/direct")
    done = mynah("promote", name, "--workdir", workdir)
    refused(done, "the lock in postgresql+psycopg2://127.0.0.1:9/direct failed")
    assert "wrong-secret" not in done.stderr
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI")
    done = mynah("promote", name, "--workdir", workdir)
    assert (done.returncode, "MYNAH_LOCK=file:FOLDER" in done.stderr) == (2, True)
    assert "champion" not in aliases(workdir, name)
    assert mynah("promote", name, "--workdir", workdir, MYNAH_LOCK=f"file:{tmp_path}").returncode == 0


def versioned(s3, on):
    with closing(s3.client()) as client:
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
    with closing(s3.client()) as client:
        config = place.prefix + "model/config.json"
        client.put_object(Bucket=place.bucket, Key=config, Body=b"{}")  # a second version
        client.delete_object(Bucket=place.bucket, Key=place.prefix + "model/training.json")  # a delete marker
        client.create_multipart_upload(Bucket=place.bucket, Key=place.prefix + "model/never.bin")
    prefixes = [place.prefix] + [
        run.info.artifact_uri.removeprefix("s3://direct/") + "/"
        for run in registry.client.search_runs([run.experiment_id for run in registry.client.search_experiments()])
        if run.data.tags.get("mynah.bot") == name or run.info.run_id == version.run_id
    ]
    done = mynah("forget", name, "--no-cluster", "--workdir", workdir, "--json")
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
        assert list(S3Place("direct", prefix).versions()) == list(S3Place("direct", prefix).uploads()) == []
    assert list((workdir / "cache").iterdir()) == []
    with closing(Database(store)) as database:
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
    unsaid = mynah("forget", name, "--workdir", workdir)
    assert (unsaid.returncode, "--no-cluster" in unsaid.stderr) == (2, True)
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION")
    done = mynah("forget", name, "--no-cluster", "--workdir", workdir)
    assert (done.returncode, "MLFLOW_ARTIFACTS_DESTINATION" in done.stderr) == (2, True)
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "s3://proxied/mlflow")
    database = os.environ["MLFLOW_BACKEND_STORE_URI"]
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI")
    done = mynah("forget", name, "--no-cluster", "--workdir", workdir)
    assert (done.returncode, "MLFLOW_BACKEND_STORE_URI" in done.stderr) == (2, True)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", postgres.url_of("direct"))  # another server's
    done = mynah("forget", name, "--no-cluster", "--workdir", workdir)
    assert (done.returncode, "is not the database of" in done.stderr, postgres.password in done.stderr) == (2, True, False)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", database)
    assert Registry(open_store(workdir)).bot(name).champion
    done = mynah("forget", name, "--no-cluster", "--workdir", workdir, "--json", **s3.environment)
    assert done.returncode == 0, done.stderr
    assert {"object", "run"} <= {item["kind"] for item in json.loads(done.stdout)["items"]}


KILL = """
import os, signal, sys
import components.erase
count = int(sys.argv.pop(1))
def killing(self, item, erase=components.erase.Eraser.erase):
    global count
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    count -= 1
    erase(self, item)
components.erase.Eraser.erase = killing
from pipelines.cli import main
main()
"""


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_forgetting_killed_on_the_server_and_run_again(on_server, outputs, tmp_path, mynah, share):
    name, workdir = unique("wren"), tmp_path / "work"
    register_all({name: outputs}, workdir)
    planned = json.loads(mynah("forget", name, "--no-cluster", "--dry-run", "--json", "--workdir", workdir).stdout)["items"]
    at = str(int(share * len(planned)))
    killed = subprocess.run(
        [sys.executable, "-c", KILL, at, "forget", name, "--no-cluster", "--workdir", workdir], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # From another machine, which has no journal, the rest is found all the same.
    elsewhere = tmp_path / "elsewhere" if share == 0.5 else workdir
    done = mynah("forget", name, "--no-cluster", "--json", "--workdir", elsewhere)
    assert done.returncode == 0, done.stderr
    if elsewhere == workdir:
        listed = {
            (item["kind"], item["address"]) for item in json.loads(Path(json.loads(done.stdout)["receipt"]).read_text())["items"]
        }
        assert listed >= {(item["kind"], item["address"]) for item in planned}
    with pytest.raises(InputError, match="there is no bot"):
        Registry(open_store(workdir)).bot(name)
