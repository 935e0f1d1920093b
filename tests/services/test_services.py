"""The development services are the real ones: they refuse wrong credentials, keep what they are given, and leave no trace."""

import contextlib
import io
import json
import shlex
import subprocess
import sys
import urllib.parse

import boto3
import httpx
import psutil
import psycopg2
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from mynah.core.errors import InputError, PlatformError
from scripts.services import start_postgres, start_s3
from scripts.services.__main__ import SERVERS, down, up
from scripts.services.program import Program, find, free_port

MEBIBYTE = 1 << 20


def test_s3_gives_back_what_it_was_given(bucket):
    client, name = bucket
    client.put_object(Bucket=name, Key="small", Body=b"tweet")
    assert client.get_object(Bucket=name, Key="small")["Body"].read() == b"tweet"

    large = bytes(range(256)) * (11 * MEBIBYTE // 256)
    in_parts = TransferConfig(multipart_threshold=5 * MEBIBYTE, multipart_chunksize=5 * MEBIBYTE)
    client.upload_fileobj(io.BytesIO(large), name, "large", Config=in_parts)
    assert client.head_object(Bucket=name, Key="large")["ETag"].endswith('-3"')  # it did go in three parts
    assert client.get_object(Bucket=name, Key="large")["Body"].read() == large
    answer = client.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "small"}, {"Key": "large"}]})
    assert {deleted["Key"] for deleted in answer["Deleted"]} == {"small", "large"}


def test_s3_refuses_a_wrong_secret(bucket, s3):
    _, name = bucket
    keys = {"aws_access_key_id": s3.access_key, "aws_secret_access_key": "wrong"}
    intruder = boto3.client("s3", endpoint_url=s3.url, region_name="us-east-1", **keys)
    with contextlib.closing(intruder), pytest.raises(ClientError) as refused:
        intruder.put_object(Bucket=name, Key="k", Body=b"")
    assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_s3_refuses_a_tampered_presigned_url(bucket):
    client, name = bucket
    client.put_object(Bucket=name, Key="mine", Body=b"mine")
    url = client.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "mine"})
    assert httpx.get(url).text == "mine"
    assert httpx.get(url.replace("/mine?", "/yours?")).status_code == 403


def test_s3_keeps_versions(bucket):
    client, name = bucket
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    first = client.put_object(Bucket=name, Key="k", Body=b"1")["VersionId"]
    second = client.put_object(Bucket=name, Key="k", Body=b"2")["VersionId"]
    client.delete_object(Bucket=name, Key="k")
    listed = client.list_object_versions(Bucket=name)
    assert [version["VersionId"] for version in listed["Versions"]] == [second, first]
    assert len(listed["DeleteMarkers"]) == 1
    assert client.get_object(Bucket=name, Key="k", VersionId=first)["Body"].read() == b"1"


def test_a_second_s3_comes_back_with_its_objects_from_a_restart_and_an_outage(s3, tmp_path):
    with start_s3(tmp_path / "s3") as other, contextlib.closing(other.client()) as client:
        other.create_bucket("before")
        client.put_object(Bucket="before", Key="k", Body=b"kept")
        other.restart()
        assert client.get_object(Bucket="before", Key="k")["Body"].read() == b"kept"
        other.gateway.kill()
        with pytest.raises(httpx.ConnectError):
            httpx.get(other.url)
        other.start_gateway()
        # With a cache of its own, the new gateway would wait half a minute for the dead one here.
        client.create_bucket(Bucket="after")
        assert client.get_object(Bucket="before", Key="k")["Body"].read() == b"kept"
    with pytest.raises(PlatformError, match="in memory"):
        other.restart()


def test_postgres_answers_and_refuses_a_wrong_password(postgres):
    with contextlib.closing(psycopg2.connect(postgres.url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database()")
        assert cursor.fetchone() == ("mynah", "mynah")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host="127.0.0.1", port=postgres.port, user="mynah", dbname="mynah", password="wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host=str(postgres.home), port=postgres.port, user="mynah", dbname="mynah", password="wrong")


def test_postgres_keeps_what_was_committed_through_a_restart_and_a_crash(postgres, tmp_path):
    with start_postgres(tmp_path / "postgres") as server:
        for end in (server.stop, server.kill):
            with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1)")
                connection.commit()
            end()
            with pytest.raises(psycopg2.OperationalError):
                server.connect()
            server.restart()
        with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM kept")
            assert cursor.fetchone() == (2,)
    assert not server.home.exists()


@pytest.mark.parametrize(("fixture", "scheme"), [("mlflow_server", "s3"), ("mlflow_proxied", "mlflow-artifacts")])
def test_mlflow_records_a_run_and_its_artifact(fixture, scheme, s3, postgres, request, monkeypatch):
    server = request.getfixturevalue(fixture)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    from mlflow import MlflowClient

    client = MlflowClient(server.url)
    run = client.create_run("0")
    assert urllib.parse.urlparse(run.info.artifact_uri).scheme == scheme
    client.log_text(run.info.run_id, "My dream is to see the sea", "card/README.md")
    destination = urllib.parse.urlparse(server.environment["MLFLOW_ARTIFACTS_DESTINATION"])
    key = f"{destination.path.strip('/')}/0/{run.info.run_id}/artifacts/card/README.md"
    with contextlib.closing(s3.client()) as bucket:
        assert bucket.get_object(Bucket=destination.netloc, Key=key)["Body"].read() == b"My dream is to see the sea"
    client.set_terminated(run.info.run_id)
    database = psycopg2.connect(server.environment["MLFLOW_BACKEND_STORE_URI"].replace("+psycopg2", ""))
    with contextlib.closing(database), database.cursor() as cursor:
        cursor.execute("SELECT status FROM runs WHERE run_uuid = %s", (run.info.run_id,))
        assert cursor.fetchone() == ("FINISHED",)


def test_no_process_shows_a_secret_in_its_arguments(mlflow_server, postgres, s3):
    arguments = "\n".join(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    assert f"--port {mlflow_server.port}" in arguments  # they are to be seen
    for secret in (postgres.password, s3.secret_key):
        assert secret not in arguments


def test_up_starts_what_a_shell_can_use_and_down_leaves_nothing(postgres, s3, tmp_path):
    folder = tmp_path / "services"

    def command(action):
        words = [sys.executable, "-m", "scripts.services", action, str(folder)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120)

    try:
        started = command("up")
        assert started.returncode == 0, started.stderr
        assert f". {folder}/env" in started.stderr
        assert (folder / "env").read_text() == started.stdout
        assert (folder.stat().st_mode & 0o777, (folder / "env").stat().st_mode & 0o777) == (0o700, 0o600)
        environment = dict(line.split("=", 1) for line in shlex.split(started.stdout) if line != "export")
        keys = {
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        }
        with contextlib.closing(boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL_S3"], **keys)) as client:
            assert [found["Name"] for found in client.list_buckets()["Buckets"]] == ["mynah"]
        api = f"{environment['MLFLOW_TRACKING_URI']}/api/2.0/mlflow"
        experiment = httpx.get(f"{api}/experiments/get", params={"experiment_id": "0"}).json()["experiment"]
        assert experiment["artifact_location"] == "s3://mynah/mlflow/0"
        first = [psutil.Process(json.loads((folder / f"{server}.pid").read_text())["pid"]) for server in SERVERS]
        processes = [process for found in first for process in [found, *found.children(recursive=True)]]
        data = (folder / "postgres" / "home").resolve()
        assert data.is_dir()

        again = command("up")
        assert (again.returncode, again.stdout) == (0, started.stdout)
        assert all(process.is_running() for process in first)
    finally:
        stopped = command("down")
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert not folder.exists()
    assert not data.exists()
    assert not [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert "No services run" in command("down").stderr


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="contains something other"):
        up(tmp_path)
    assert not down(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_missing_program_is_named_with_its_package():
    with pytest.raises(PlatformError, match=r"apt-get install -y --no-install-recommends radosgw"):
        find("no-such-radosgw", "radosgw")


def test_a_server_that_does_not_come_up_shows_what_it_said(tmp_path):
    broken = Program("broken", [sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], tmp_path)
    broken.start()
    with pytest.raises(PlatformError, match=r"broken ended before it was ready\n(.|\n)*no luck"):
        broken.wait_until(lambda: False, 20)


def test_what_a_dead_program_left_in_its_session_is_ended_too(tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    parent = Program("parent", [sys.executable, "-c", code], tmp_path)
    parent.start()
    with pytest.raises(PlatformError, match="ended"):
        parent.wait_until(lambda: False, 20)
    child = psutil.Process(int(parent.log.read_text()))
    assert child.is_running()
    parent.stop()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_port_that_somebody_has_is_not_taken_for_ours(postgres):
    with pytest.raises(PlatformError, match=f"port {postgres.port} .* is taken"):
        free_port(postgres.port)
    assert free_port(postgres.port, insist=False) != postgres.port
