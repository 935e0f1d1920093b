"""Models on MLflow servers with S3, directly and through the proxy: stored whole or not at all, promoted in one order."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing

import pytest
from registry_inputs import FOLDERS, add_version, aliases, command, register_all, unique

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import digest
from mynah.registry.history import events
from mynah.registry.locks import alias_lock
from mynah.registry.registry import Registry
from mynah.storage.s3 import S3ArtifactStore
from mynah.tracking.open import open_store
from scripts.services import start_mlflow


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
    refused(done, "InvalidAccessKeyId", "correct AWS_ACCESS_KEY_ID")
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
    refused(done, "NoSuchBucket", "Create the bucket")


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
    for upload in S3ArtifactStore("direct", "").uploads():
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
        told = [line for line in mynah("doctor", "--workdir", workdir).stdout.splitlines() if name in line]
        assert told, "every bot of the server is told of, those of other tests too"
        assert all(line.startswith("ok") for line in told), told  # of the same size: only a deep look sees it
        deep = mynah("doctor", "--deep", "--workdir", workdir)
        assert (deep.returncode, "its digest differs" in deep.stdout) == (3, True)
        changed = mynah("generate", name, "--workdir", workdir)
        assert (changed.returncode, "differs from what was registered" in changed.stderr) == (3, True), changed.stderr
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
        with pytest.raises(PlatformError, match="another promotion has held"), alias_lock(name, store, timeout=0.2):
            pytest.fail("two had it")
        with alias_lock(f"{name}x", store, timeout=0.2):
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
