"""Forgetting on a cluster: Kubeflow's runs and schedules are stopped, erased and looked for again, and so are its files and Mynah's."""

import json
import time
import uuid

import pytest
from registry_inputs import unique

from components.forget import stop_runs
from mynah.core.errors import InputError
from mynah.mlflow_client.store import Store
from mynah.registry.forgotten_bots import bot_forgotten_since
from mynah.tracking.kfp_runs import runs_of
from tests.services.cluster_files import ROOT, ClusterFiles
from tests.services.kubeflow_commands import refused

POST, AUTHOR, BOT, SOURCE = "canaryinapost", "canary_author", "canarybot", "canarysource"


@pytest.fixture
def cluster(kubeflow, on_server, bucket, monkeypatch, tmp_path):
    """Kubeflow, MLflow, and a bucket that is Mynah's and Kubeflow's."""
    client, name = bucket
    monkeypatch.setenv("MYNAH_S3_BUCKET", name)
    monkeypatch.setenv("KF_PIPELINES_ARTIFACTS", f"s3://{name}/{ROOT}")
    monkeypatch.setattr(stop_runs, "PAUSE", 0.01)
    return ClusterFiles(kubeflow, client, name, tmp_path)


@pytest.fixture
def forget(mynah, tmp_path):
    def call(subject, *more, **environment):
        return mynah("forget", subject, "--yes", "--no-cluster", "--workdir", tmp_path / "work", "--json", *more, **environment)

    return call


def receipts(tmp_path):
    return [json.loads(path.read_text()) for path in (tmp_path / "work" / "receipts").glob("*.json")]


@pytest.mark.parametrize("subject", [BOT, f"@{AUTHOR}"])
def test_no_byte_that_kubeflow_and_s3_keep_tells_of_who_was_forgotten(cluster, forget, mynah, tmp_path, subject):
    bot, other = (BOT if subject == BOT else unique("lark")), unique("robin")
    source = f"x://{SOURCE}" if subject == BOT else f"x://{AUTHOR}"
    cluster.run(other)
    cluster.earlier_run(other, author="bob")
    kept, runs = cluster.stored(), set(cluster.kubeflow.runs)
    cluster.text = f"{POST} and more"
    spec = cluster.submitted(bot, [source])
    schedule = cluster.scheduled({"spec": spec})
    earlier_schedule = cluster.scheduled({"name": bot, "sources": [source], "only_news": True})
    cluster.run(bot, AUTHOR, spec=spec, schedule=schedule)
    cluster.run(bot, AUTHOR, [source], "FAILED", recorded=False)  # of which MLflow knows nothing
    cluster.earlier_run(bot, AUTHOR, {"name": bot, "sources": [source]})
    cluster.earlier_run(bot, AUTHOR, {"name": bot, "sources": [source]}, recorded=False, storage_state="ARCHIVED")
    cluster.earlier_run(
        "run-of-it", AUTHOR, {"name": bot, "sources": ["s3://bucket/x.csv"]}, recorded=False, recurring_run_id=earlier_schedule
    )
    assert all(canary in cluster.everything() for canary in (POST, AUTHOR))
    done = forget(subject)
    assert done.returncode == 0, done.stderr
    left = cluster.everything()
    for canary in (POST, AUTHOR, BOT, SOURCE):
        assert canary not in left
    assert cluster.kubeflow.recurring == []
    assert (cluster.stored(), set(cluster.kubeflow.runs)) == (kept, runs)  # what is of others is as it was
    kinds = {item["kind"] for item in json.loads(done.stdout)["items"]}
    assert {"kubeflow-run", "kubeflow-schedule", "kubeflow-object", "object", "run"} <= kinds
    [record] = receipts(tmp_path)
    assert f"the runs and schedules of Kubeflow Pipelines at {cluster.kubeflow.url}" in record["searched"]
    for kept_there in ("ML Metadata", "backups", "/var/log/pods", "Argo's archive"):
        assert any(kept_there in place for place in record["not_searched"])
        assert kept_there in done.stderr
    [path] = (tmp_path / "work" / "receipts").glob("*.json")
    assert mynah("receipt", path, "--workdir", tmp_path / "work").returncode == 0
    assert "KF_PIPELINES_ENDPOINT" in mynah("receipt", path, "--workdir", tmp_path / "work", KF_PIPELINES_ENDPOINT="").stderr
    assert "KF_PIPELINES_ARTIFACTS" in mynah("receipt", path, "--workdir", tmp_path / "work", KF_PIPELINES_ARTIFACTS="").stderr


def test_object_versions_of_a_run_go_too_and_kubeflows_store_may_be_elsewhere(cluster, forget, s3, monkeypatch):
    bot = unique("wren")
    cluster.client.put_bucket_versioning(Bucket=cluster.bucket, VersioningConfiguration={"Status": "Enabled"})
    cluster.run(bot)
    cluster.earlier_run(bot)
    for key in cluster.object_keys():
        cluster.client.delete_object(Bucket=cluster.bucket, Key=key)  # as a life-cycle rule does
    cluster.client.create_multipart_upload(
        Bucket=cluster.bucket, Key=f"{cluster.ids[bot].prefix}/{uuid.uuid4()}/model/model.safetensors"
    )
    keys = {name: s3.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    for name, value in {"ENDPOINT_URL": s3.environment["AWS_ENDPOINT_URL_S3"], **keys}.items():
        monkeypatch.setenv(f"KF_PIPELINES_ARTIFACTS_{name}", value)
    wrong = forget(bot, KF_PIPELINES_ARTIFACTS_SECRET_ACCESS_KEY="wrong")
    refused(wrong, 3, "S3 refused it")
    done = forget(bot)
    assert done.returncode == 0, done.stderr
    assert cluster.object_keys() == []
    assert "Uploads" not in cluster.client.list_multipart_uploads(Bucket=cluster.bucket)


def test_running_runs_are_ended_and_schedules_stopped_before_anything_is_erased(cluster, forget, tmp_path, monkeypatch):
    bot = unique("wren")
    spec = cluster.submitted(bot)
    schedule = cluster.scheduled({"spec": spec})
    run = cluster.run(bot, spec=spec, schedule=schedule, state="RUNNING")
    before = cluster.object_keys()
    cluster.kubeflow.ends_canceled = False
    monkeypatch.setattr(stop_runs, "SECONDS_TO_END", 0.05)
    refused(forget(bot), 3, f"the run {run} in Kubeflow has not ended", "nothing was erased")
    assert (cluster.object_keys(), [each["status"] for each in cluster.kubeflow.recurring]) == (before, ["DISABLED"])
    assert receipts(tmp_path) == []
    assert bot_forgotten_since(Store.from_environment(), bot)  # no step that begins now goes on
    cluster.kubeflow.ends_canceled = True
    cluster.kubeflow.runs[run].pop("canceled")
    done = forget(bot)
    assert done.returncode == 0, done.stderr
    assert "1 running run is ended in Kubeflow first" in done.stderr
    assert (cluster.object_keys(), cluster.kubeflow.runs, cluster.kubeflow.recurring) == ([], {}, [])
    changes = [each.path.rpartition("/")[2] for each in cluster.kubeflow.requests if each.method != "GET"]
    assert changes[-3:] == [f"{run}:terminate", schedule, run]


def test_a_run_that_ends_while_it_is_ended_is_no_error(cluster, forget):
    bot = unique("wren")
    run = cluster.run(bot, state="RUNNING")
    fake = cluster.kubeflow
    fake.on_terminate = lambda: fake.runs[run].update(at=("SUCCEEDED", {}))
    done = forget(bot)
    assert (done.returncode, fake.runs) == (0, {}), done.stderr


def test_a_forgotten_bot_is_not_trained_again_until_it_is_remembered(cluster, forget, mynah, tmp_path):
    from components.fetch.component import fetch
    from components.step_runtime import step

    bot = unique("wren")
    erased = cluster.submitted(bot)
    cluster.run(bot, spec=erased)
    assert forget(bot).returncode == 0
    with pytest.raises(InputError, match=f"run {cluster.ids[bot].id} was forgotten on 2"):  # a fleet goes on, of which it was one
        fetch.python_func(erased, str(uuid.uuid4()), "")
    spec, kfp_run = cluster.submitted(bot), str(uuid.uuid4())  # somebody restored the bucket and the schedule
    cluster.scheduled({"spec": spec})
    told = f"the bot {bot} was forgotten on 2"
    with pytest.raises(InputError, match=told) as error:
        fetch.python_func(spec, kfp_run, "")
    assert f"mynah remember {bot}" in str(error.value)
    assert runs_of(kfp_run, Store.from_environment()) == []
    with pytest.raises(InputError, match=told), step("finetune", spec, kfp_run, "0" * 32):
        pytest.fail("the step began")
    posts = tmp_path / "few.csv"
    posts.write_text("text\n" + "a post of several words\n" * 30)
    common = ("--name", bot, "--basis", "permission", "--from")
    refused(mynah("submit", *common, "s3://bucket/wren.zip", "--no-wait", "--bucket", cluster.bucket), 2, told)
    (tmp_path / "fleet.yaml").write_text(f"- {{name: {bot}, from: 's3://bucket/wren.zip'}}\n")
    refused(mynah("fleet", tmp_path / "fleet.yaml", "--no-wait", "--bucket", cluster.bucket), 2, told)
    refused(mynah("run", *common, posts, "--base-model", "fledgling", "--workdir", tmp_path / "work"), 2, told)
    assert forget(bot).returncode == 0  # known by the tombstone; what was restored goes again
    assert cluster.object_keys() == []
    assert f"{bot} may be trained again" in mynah("remember", bot, "--workdir", tmp_path / "work").stdout
    assert f"{bot} was not forgotten" in mynah("remember", bot, "--workdir", tmp_path / "work").stdout
    with step("fetch", cluster.submitted(bot), kfp_run, "") as began:
        assert began.parent_run


def test_kubeflow_has_to_be_named_where_runs_were_made_there(cluster, forget, tmp_path, monkeypatch):
    bot = unique("wren")
    cluster.run(bot)
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    for more in ([], ["--dry-run"]):
        refused(forget(bot, *more), 2, "Kubeflow was not searched", "--endpoint", "--without-kubeflow")
    assert receipts(tmp_path) == []
    done = forget(bot, "--without-kubeflow")
    assert done.returncode == 0, done.stderr
    [record] = receipts(tmp_path)
    assert any("--without-kubeflow" in place for place in record["not_searched"])
    assert "no Kubeflow Pipelines" in record["searched"]
    assert "not searched, and not erased: Kubeflow Pipelines" in done.stderr
    assert len(cluster.kubeflow.runs) == 1


def test_a_bucket_that_runs_in_kubeflow_name_has_to_be_searched(cluster, forget, tmp_path, monkeypatch):
    bot = unique("wren")
    cluster.run(bot)
    monkeypatch.delenv("MYNAH_S3_BUCKET")
    refused(forget(bot), 2, f"the bucket {cluster.bucket} was not searched", f"MYNAH_S3_BUCKET={cluster.bucket}")
    monkeypatch.setenv("MYNAH_S3_BUCKET", "direct")
    assert forget(bot).returncode == 0
    [record] = receipts(tmp_path)
    assert any(f"the bucket {cluster.bucket}, which runs in Kubeflow name" in place for place in record["not_searched"])


def test_out_of_reach_or_without_rights_nothing_is_signed(cluster, forget, tmp_path):
    bot = unique("wren")
    run = cluster.run(bot)
    before = cluster.object_keys()
    cluster.kubeflow.may_only_read = True
    refused(forget(bot), 3, "does not allow it (403)")
    assert (receipts(tmp_path), list(cluster.kubeflow.runs)) == ([], [run])
    cluster.kubeflow.instead = (403, {}, '{"message": "User is not authorized", "code": 7}')
    refused(forget(bot), 3, "does not allow it")
    cluster.kubeflow.instead = (503, {}, "no healthy upstream")
    refused(forget(bot), 3, "failed (503)")
    refused(forget(bot, "--endpoint", "http://127.0.0.1:9"), 3, "cannot be reached")
    assert receipts(tmp_path) == []
    cluster.kubeflow.instead, cluster.kubeflow.may_only_read = None, False
    assert cluster.object_keys() == before
    assert forget(bot).returncode == 0
    assert (cluster.object_keys(), cluster.kubeflow.runs) == ([], {})


def test_a_fleet_is_not_ended_for_one_of_its_bots(cluster, forget):
    wren, lark = unique("wren"), unique("lark")
    specs = [cluster.submitted(bot) for bot in (wren, lark)]
    fleet = cluster.kubeflow.add_run(
        "mynah-fleet-20261201-000000", runtime_config={"parameters": {"specs": specs}}, at=("RUNNING", {})
    )
    cluster.put(f"{cluster.ids[wren].prefix}/{fleet}/raw/posts.jsonl", "{}")
    refused(forget(wren), 2, "has not ended", f"mynah cancel {fleet[:8]}")
    cluster.kubeflow.runs[fleet]["at"] = ("SUCCEEDED", {})
    assert forget(wren).returncode == 0
    assert list(cluster.kubeflow.runs) == [fleet]  # which holds only ids
    assert cluster.object_keys(cluster.ids[wren].prefix) == []
    assert cluster.object_keys(cluster.ids[lark].prefix)


def test_a_fleet_of_an_earlier_version_holds_names_and_goes(cluster, forget):
    wren, lark = unique("wren"), unique("lark")
    bots = [{"bot": bot, "sources": [f"x://{bot}"], "basis": ""} for bot in (wren, lark)]
    fleet = cluster.earlier_run("fleet", parameters={"bots": bots}, pipeline="mynah-fleet", recorded=False, at=("RUNNING", {}))
    refused(forget(wren), 2, "has not ended", f"mynah cancel {fleet[:8]}")
    cluster.kubeflow.runs[fleet]["at"] = ("FAILED", {})
    assert forget(wren).returncode == 0
    assert (cluster.kubeflow.runs, cluster.object_keys()) == ({}, [])


def test_runs_of_other_bots_with_a_like_name_stay(cluster, forget):
    bot = unique("wren")
    cluster.run(f"{bot}-two")
    cluster.earlier_run(f"{bot}-two")
    cluster.earlier_run("x", parameters={"name": f"{bot}s", "sources": [bot]})
    cluster.kubeflow.add_run("somebody-elses", runtime_config={"parameters": {"name": ["of", "another", "kind"], "bots": "none"}})
    kept, runs = cluster.stored(), set(cluster.kubeflow.runs)
    cluster.run(bot)
    assert forget(bot).returncode == 0
    assert (cluster.stored(), set(cluster.kubeflow.runs)) == (kept, runs)


def test_a_run_without_a_readable_specification_is_named(cluster, forget, tmp_path):
    bot = unique("wren")
    cluster.run(bot)
    cluster.put("runs/00000000000000ff/spec.json", "{")
    cluster.put("runs/00000000000000ff/uploads/posts.jsonl", cluster.post("zoe"))
    assert forget(bot).returncode == 0
    [record] = receipts(tmp_path)
    assert any(place.startswith(f"s3://{cluster.bucket}/runs/00000000000000ff,") for place in record["not_searched"])
    assert forget("@zoe").returncode == 0  # by its posts
    assert cluster.object_keys() == []


def test_a_laptop_that_never_used_kubeflow_forgets_as_before(mynah, tmp_path, monkeypatch, kubeflow):
    from mynah.tracking.open import open_store
    from mynah.tracking.runs import start_parent

    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    store = open_store(tmp_path / "work")
    start_parent(store, "wren", {"mynah.kfp_run_id": "12345678"})  # of Kubeflow's local runner
    done = mynah("forget", "wren", "--yes", "--workdir", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    [record] = receipts(tmp_path)
    assert record["not_searched"] == []


@pytest.mark.slow
def test_a_bot_with_fifty_runs_is_forgotten_in_a_minute(cluster, forget, capsys):
    bot = unique("wren")
    spec = cluster.submitted(bot)
    for number in range(50):
        cluster.run(bot, spec=spec) if number % 2 else cluster.earlier_run(bot)
    for number in range(200):  # of others
        cluster.put(f"runs/{number:016x}/spec.json", '{"name": "robin", "sources": []}')
    start = time.monotonic()
    done = forget(bot)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    with capsys.disabled():
        print(f"\nforgetting 50 runs ({len(json.loads(done.stdout)['items'])} items) took {seconds:.1f} s")
    assert seconds <= 60
    assert cluster.kubeflow.runs == {}
    assert len(cluster.object_keys()) == 200
