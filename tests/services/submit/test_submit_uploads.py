"""Posts that `mynah submit` sends to S3: where they go, and that they are forgotten with the bot and its authors."""

import json
import re

import pytest

from components.fetch.step import fetch
from mynah.core.errors import StoreRefused
from mynah.maintenance import submissions
from mynah.storage.run_files import RunFiles, new_id, parse
from mynah.storage.s3 import S3ArtifactStore
from pipelines.kubeflow import create
from tests.services.kubeflow_commands import POSTS, STEPS, refused, told


def test_the_posts_of_this_machine_go_to_s3_and_the_pipeline_to_kubeflow(mynah, kubeflow, bucket, s3, csv, tmp_path):
    client, name = bucket
    kubeflow.script = [
        ("PENDING", {}),
        ("RUNNING", {"fetch": "RUNNING"}),
        ("SUCCEEDED", dict.fromkeys(STEPS, "SUCCEEDED")),
    ]
    done = mynah(
        "submit", "--name", "wren", "--from", csv, "--basis", "permission", "--set", "epochs=2", "--budget", "1.5", "--bucket", name,
        **s3.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [run] = kubeflow.runs.values()
    assert done.stdout.strip() == run["run_id"]
    assert f"{kubeflow.url}/#/runs/details/{run['run_id']}" in done.stderr
    lines = done.stderr.splitlines()
    assert "fetch: running" in lines
    assert lines[-2] == "run: succeeded"
    assert lines[-1].startswith("warning: nothing tells the outcome: set MLFLOW_TRACKING_URI")
    assert [each["display_name"] for each in kubeflow.experiments] == ["mynah"]
    assert run["experiment_id"] == kubeflow.experiments[0]["experiment_id"]
    assert run["service_account"] == "mynah-pipeline"
    assert set(run["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "mynah-bot"
    assert set(run["runtime_config"]["parameters"]) == {"spec"}
    inputs = told(run)
    assert inputs.recipe["changes"]["epochs"] == 2
    assert (inputs.name, inputs.budget, inputs.only_news, inputs.base_model) == ("wren", 1.5, False, "smollm2")
    assert (inputs.basis, inputs.max_cost) == ("permission", 0)
    [source] = inputs.sources
    assert re.fullmatch(rf"s3://{name}/runs/[0-9a-f]{{16}}/uploads/", source)
    assert run["display_name"].startswith(f"mynah-{parse(source).id}-")
    assert S3ArtifactStore(name, "runs").folders() == [parse(source).id]
    keys = [each["Key"].partition(parse(source).id)[2] for each in client.list_objects_v2(Bucket=name)["Contents"]]
    assert sorted(keys) == [
        "/spec.json",
        "/uploads/posts.jsonl",
        "/uploads/sources.json",
    ]  # the posts, and nothing else of the export
    read = mynah("fetch", "--from", source, "--out", tmp_path / "raw", "--json", **s3.environment)
    assert [(each["posts"], each["source"], each["basis"]) for each in json.loads(read.stdout)] == [
        (50, "csv:few.csv", "permission")
    ]


def test_a_source_in_s3_is_read_where_the_steps_run(mynah, bucket, s3, tmp_path):
    client, name = bucket
    client.put_object(Bucket=name, Key="exports/few.csv", Body=("text\n" + POSTS).encode())
    few = ("fetch", "--from", f"s3://{name}/exports/few.csv", "--basis", "permission", "--out")
    done = mynah(*few, tmp_path / "raw", "--json", **s3.environment)
    assert [(each["posts"], each["source"]) for each in json.loads(done.stdout)] == [(50, "csv:few.csv")]
    fetch(["sample"], tmp_path / "sample")
    for path in tmp_path.glob("sample/[!.]*"):
        client.upload_file(str(path), name, f"raw/{path.name}")
    done = mynah("fetch", "--from", f"s3://{name}/raw/", "--out", tmp_path / "raw", "--json", **s3.environment)
    assert [each["avatar"] for each in json.loads(done.stdout)] == ["avatar-1.png"]
    assert (tmp_path / "raw" / "avatar-1.png").read_bytes() == (tmp_path / "sample" / "avatar-1.png").read_bytes()
    for uri, said in [
        (f"s3://{name}/exports/none.csv", "there is no s3://"), (f"s3://{name}/exports/", "posts.jsonl"),
        ("s3://", "does not name an object"), (f"s3://{name}", "does not name an object"), (f"s3://{name}/", "does not name an object"),
    ]:  # fmt: skip
        refused(mynah("fetch", "--from", uri, "--basis", "permission", "--out", tmp_path / "none", **s3.environment), 2, said)
    wrong = {**s3.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    refused(mynah(*few, tmp_path / "none", **wrong), 3, "S3 refused it", "AWS_SECRET_ACCESS_KEY")
    unknown = {**s3.environment, "AWS_ACCESS_KEY_ID": "nobody"}
    refused(mynah(*few, tmp_path / "none", **unknown), 3, "S3 refused it", "AWS_ACCESS_KEY_ID")
    refused(mynah("fetch", "--from", f"s3://{name}/exports/few.csv", "--out", tmp_path / "none", **s3.environment), 2, "--basis")
    elsewhere = ("fetch", "--from", "s3://mynah-none/few.csv", "--basis", "permission", "--out", tmp_path / "none")
    refused(mynah(*elsewhere, **s3.environment), 2, "there is no bucket 'mynah-none'", "AWS_ENDPOINT_URL_S3")
    assert not (tmp_path / "none").exists()


def test_what_was_uploaded_is_forgotten_with_the_bot(mynah, on_server, s3, bucket, csv, tmp_path):
    from components.fetch.s3_sources import record_uploads
    from mynah.mlflow_client.store import Store
    from mynah.tracking.runs import end_run, start_parent
    from mynah.tracking.step_run import step_run

    client, name = bucket
    earlier, other = (f"s3://{name}/uploads/{bot}/{'0' * 64}/" for bot in ("lark", "robin"))
    source = RunFiles(name, new_id()).uploads + "/"
    for each in (earlier, source, other):
        client.put_object(Bucket=name, Key=each.removeprefix(f"s3://{name}/") + "posts.jsonl", Body=b"{}\n")
    store = Store.from_environment()
    run = start_parent(store, "lark", {})
    with step_run("fetch", store, run) as step:
        record_uploads(step, [earlier, source, f"s3://{name}/not/ours.zip", "sample"])
    end_run(store, run, "FAILED")
    done = mynah("forget", "--yes", "lark", "--no-cluster", "--workdir", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    left = [each["Key"] for each in client.list_objects_v2(Bucket=name).get("Contents", [])]
    assert left == [f"uploads/robin/{'0' * 64}/posts.jsonl"]


@pytest.mark.parametrize("whole", [True, False])
def test_uploads_of_runs_that_never_began_are_forgotten_with_their_author(mynah, on_server, s3, bucket, csv, tmp_path, whole):
    """Nothing in MLflow names them: the bucket is looked into."""
    from components.fetch.step import fetch

    client, name = bucket
    (tmp_path / "ann.jsonl").write_text(
        "".join(json.dumps({"id": n, "author": "ann", "text": f"post {n} of ann"}) + "\n" for n in range(9))
    )
    (tmp_path / "bob.jsonl").write_text(json.dumps({"id": 1, "author": "bob", "text": "bob was here"}) + "\n")
    for number, who in enumerate((["ann"], ["bob"], ["ann", "bob"])):
        fetch([str(tmp_path / f"{each}.jsonl") for each in who], tmp_path / f"raw-{number}", basis="permission")
        for file in ("posts.jsonl", "sources.json") if whole else ("posts.jsonl",):
            client.upload_file(str(tmp_path / f"raw-{number}" / file), name, f"uploads/lark/{number}/{file}")
    done = mynah("forget", "--yes", "@ann", "--no-cluster", "--json", "--workdir", tmp_path / "work", MYNAH_S3_BUCKET=name)
    assert done.returncode == 0, done.stderr
    left = {each["Key"].split("/")[2] for each in client.list_objects_v2(Bucket=name).get("Contents", [])}
    assert left == {"1"}
    [receipt] = (tmp_path / "work" / "receipts").glob("*.json")
    assert f"bucket {name}" in receipt.read_text()
    done = mynah("forget", "--yes", "lark", "--no-cluster", "--workdir", tmp_path / "work", MYNAH_S3_BUCKET=name)
    assert done.returncode == 0, done.stderr
    assert "Contents" not in client.list_objects_v2(Bucket=name)


def test_posts_of_who_was_forgotten_are_not_uploaded(mynah, kubeflow, on_server, s3, bucket, tmp_path):
    from mynah.mlflow_client.store import Store
    from mynah.registry.forgotten_authors import mark_forgotten

    client, name = bucket
    (tmp_path / "zoe.jsonl").write_text(
        "".join(json.dumps({"id": n, "author": "zoe", "text": f"post {n}"}) + "\n" for n in range(9))
    )
    mark_forgotten(Store.from_environment(), "zoe")
    done = mynah(
        "submit", "--name", "wren", "--from", tmp_path / "zoe.jsonl", "--basis", "permission", "--no-wait", "--bucket", name
    )
    refused(done, 2, "forgotten")
    assert "Contents" not in client.list_objects_v2(Bucket=name)
    assert not kubeflow.runs


@pytest.mark.parametrize(("mark", "after"), [("bot", "publish_file"), ("author", "upload")])
def test_who_is_forgotten_while_the_posts_are_uploaded_leaves_nothing(
    mynah, kubeflow, on_server, bucket, tmp_path, monkeypatch, mark, after
):
    """`forget` writes its mark, and searches the bucket; `submit` uploads, and looks for the mark."""
    from mynah.mlflow_client.store import Store
    from mynah.registry.forgotten_authors import mark_forgotten
    from mynah.registry.forgotten_bots import mark_bot_forgotten
    from pipelines.kubeflow import submit

    client, name = bucket
    lines = (json.dumps({"id": n, "author": "zoe", "text": f"post {n}"}) + "\n" for n in range(9))
    (tmp_path / "zoe.jsonl").write_text("".join(lines))
    call = getattr(submit, after)

    def forgotten_meanwhile(*arguments):
        done = call(*arguments)
        assert versions(client, name)
        mark_bot_forgotten(Store.from_environment(), "wren") if mark == "bot" else mark_forgotten(Store.from_environment(), "zoe")
        return done

    monkeypatch.setattr(submit, after, forgotten_meanwhile)
    refused(
        mynah("submit", "--name", "wren", "--from", tmp_path / "zoe.jsonl", "--basis", "permission", "--no-wait"), 2, "forgotten"
    )
    assert (versions(client, name), kubeflow.runs) == ([], {})


def versions(client, bucket):
    """The keys of all that is stored, older versions too."""
    page = client.list_object_versions(Bucket=bucket)
    return [item["Key"] for kind in ("Versions", "DeleteMarkers") for item in page.get(kind, [])]


@pytest.mark.parametrize("kind", ["run", "fleet"])
def test_a_submission_that_kubeflow_refuses_leaves_nothing_in_the_bucket(mynah, kubeflow, s3, bucket, csv, tmp_path, kind):
    client, name = bucket
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=name, Key="runs/00112233445566aa/spec.json", Body=b"another's")
    kubeflow.may_only_read = True
    (tmp_path / "fleet.yaml").write_text(
        "".join(f"- {{name: {bot}, from: few.csv, basis: permission}}\n" for bot in ("wren", "lark"))
    )
    words = {
        "run": ("submit", "--name", "wren", "--from", csv, "--basis", "permission"),
        "fleet": ("fleet", tmp_path / "fleet.yaml"),
    }
    done = mynah(*words[kind], "--no-wait", "--bucket", name, **s3.environment)
    refused(done, 3, "is not authorized")
    assert versions(client, name) == ["runs/00112233445566aa/spec.json"]


def test_what_a_fleet_uploaded_before_its_second_bot_failed_is_taken_back(mynah, kubeflow, s3, bucket, csv, tmp_path):
    client, name = bucket
    (tmp_path / "bad.csv").write_text("no,columns\n1,2\n")
    (tmp_path / "fleet.yaml").write_text(f"- {{name: wren, from: {csv}}}\n- {{name: lark, from: bad.csv}}\n")
    done = mynah("fleet", tmp_path / "fleet.yaml", "--basis", "permission", "--no-wait", "--bucket", name, **s3.environment)
    refused(done, 2, "bad.csv")
    assert versions(client, name) == []
    assert not kubeflow.runs


def test_what_a_run_may_read_stays_where_nobody_knows_whether_it_was_made(mynah, kubeflow, s3, bucket, csv, monkeypatch):
    """The create fails after the Workflow was made, and the run is not listed."""
    client, name = bucket
    monkeypatch.setattr(create, "PAUSES", (0.0,))
    kubeflow.create_fails_after = True
    kubeflow.on_create = kubeflow.runs.pop
    done = mynah(
        "submit", "--name", "wren", "--from", csv, "--basis", "permission", "--no-wait", "--bucket", name, **s3.environment
    )
    refused(done, 3, "nothing named mynah-")
    assert len(versions(client, name)) == 3


def test_a_refused_submission_is_told_first_when_the_bucket_keeps_it(mynah, kubeflow, s3, bucket, csv, monkeypatch):
    client, name = bucket

    def denied(_):
        raise StoreRefused("erasing: S3 refused it (AccessDenied)")

    monkeypatch.setattr(submissions, "erase_version", denied)
    kubeflow.may_only_read = True
    done = mynah(
        "submit", "--name", "wren", "--from", csv, "--basis", "permission", "--no-wait", "--bucket", name, **s3.environment
    )
    refused(done, 3, "is not authorized")
    assert f"what was uploaded for the run stays in s3://{name}/runs/" in done.stderr
    assert len(versions(client, name)) == 3


def test_a_schedule_of_this_machines_files_is_refused(mynah, kubeflow, csv):
    done = mynah("submit", "--name", "wren", "--from", csv, "--basis", "permission", "--schedule", "0 3 * * 1", "--bucket", "any")
    refused(done, 2, "reads its sources again each time", "s3://BUCKET/KEY")
