"""mynah submit, fleet, runs, logs and cancel: the real client of Kubeflow Pipelines against its API over HTTP, and real S3."""

import json
import re

import pytest

from components.fetch import fetch
from pipelines import cluster, follow, kubeflow_client
from tests.services.fake_kserve import FakeKServe
from tests.services.fake_kubeflow import LOGIN_PAGE, TOKEN, FakeKubeflow
from tests.services.fake_kubernetes import FakeKubernetes, write_kubeconfig
from tests.services.test_launch import on_a_terminal

POSTS = "".join(f"post number {number} of the day with a few words\n" for number in range(50))
STEPS = ("begin", "fetch", "filter-posts", "news", "finetune")
ERROR = """[KFP Executor] Looking for component `filter_posts`
Traceback (most recent call last):
  File "/usr/lib/python3.11/runpy.py", line 198, in _run_module_as_main
components.errors.InputError: only 12 characters are left after filtering, and a bot needs 6,000 at the least
Add another source with --from, or more posts.
"""


@pytest.fixture
def kubeflow(monkeypatch):
    for name in ("TOKEN", "SA_TOKEN_PATH", "COOKIE", "NAMESPACE", "SSL_CA_CERT"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MYNAH_S3_BUCKET", raising=False)
    monkeypatch.setattr(follow, "FASTEST", 0.01)
    monkeypatch.setattr(follow, "SLOWEST", 0.02)
    monkeypatch.setattr(follow, "SECONDS_BETWEEN_REASONS", 0.0)
    started = FakeKubeflow()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", started.url)
    yield started
    started.stop()


@pytest.fixture
def csv(tmp_path):
    (tmp_path / "few.csv").write_text("text\n" + POSTS)
    return tmp_path / "few.csv"


def refused(done, code, *said):
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith(("warning: ", "run ", "run:"))]
    for text in said:
        assert text in "\n".join(lines)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


SUBMIT = ("submit", "--name", "wren", "--from", "s3://bucket/wren.zip")


def test_the_posts_of_this_machine_go_to_s3_and_the_pipeline_to_kubeflow(mynah, kubeflow, bucket, s3, csv, tmp_path):
    client, name = bucket
    kubeflow.script = [
        ("PENDING", {}),
        ("RUNNING", {"begin": "SUCCEEDED", "fetch": "RUNNING"}),
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
    told = done.stderr.splitlines()
    assert "fetch: running" in told
    assert told[-1] == "run: succeeded"
    assert [each["display_name"] for each in kubeflow.experiments] == ["mynah"]
    assert run["experiment_id"] == kubeflow.experiments[0]["experiment_id"]
    assert run["service_account"] == "mynah-pipeline"
    assert set(run["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "mynah-bot"
    parameters = run["runtime_config"]["parameters"]
    assert parameters["recipe"]["changes"]["epochs"] == 2
    assert (parameters["name"], parameters["budget"], parameters["only_news"]) == ("wren", 1.5, False)
    assert (parameters["basis"], parameters["max_cost"]) == ("permission", 0)
    [source] = parameters["sources"]
    assert re.fullmatch(rf"s3://{name}/uploads/wren/[0-9a-f]{{64}}/", source)
    keys = [each["Key"].rpartition("/")[2] for each in client.list_objects_v2(Bucket=name)["Contents"]]
    assert sorted(keys) == ["posts.jsonl", "sources.json"]  # the posts, and nothing else of the export
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
        ("s3://", "names no object"), (f"s3://{name}", "names no object"), (f"s3://{name}/", "names no object"),
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
    from components.fetch.s3 import record_uploads
    from components.store import Store
    from components.tracking import end_run, start_parent, step_run

    client, name = bucket
    source, other = (f"s3://{name}/uploads/{bot}/{'0' * 64}/" for bot in ("lark", "robin"))
    for each in (source, other):
        client.put_object(Bucket=name, Key=each.removeprefix(f"s3://{name}/") + "posts.jsonl", Body=b"{}\n")
    store = Store.from_environment()
    run = start_parent(store, "lark", {})
    with step_run("fetch", store, run) as step:
        record_uploads(step, [source, f"s3://{name}/not/ours.zip", "sample"])
    end_run(store, run, "FAILED")
    done = mynah("forget", "lark", "--no-cluster", "--workdir", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    left = [each["Key"] for each in client.list_objects_v2(Bucket=name).get("Contents", [])]
    assert left == [f"uploads/robin/{'0' * 64}/posts.jsonl"]


@pytest.mark.parametrize("whole", [True, False])
def test_uploads_of_runs_that_never_began_are_forgotten_with_their_author(mynah, on_server, s3, bucket, csv, tmp_path, whole):
    """Nothing in MLflow names them: the bucket is looked into."""
    from components.fetch import fetch

    client, name = bucket
    (tmp_path / "ann.jsonl").write_text(
        "".join(json.dumps({"id": n, "author": "ann", "text": f"post {n} of ann"}) + "\n" for n in range(9))
    )
    (tmp_path / "bob.jsonl").write_text(json.dumps({"id": 1, "author": "bob", "text": "bob was here"}) + "\n")
    for number, who in enumerate((["ann"], ["bob"], ["ann", "bob"])):
        fetch([str(tmp_path / f"{each}.jsonl") for each in who], tmp_path / f"raw-{number}", basis="permission")
        for file in ("posts.jsonl", "sources.json") if whole else ("posts.jsonl",):
            client.upload_file(str(tmp_path / f"raw-{number}" / file), name, f"uploads/lark/{number}/{file}")
    done = mynah("forget", "@ann", "--no-cluster", "--json", "--workdir", tmp_path / "work", MYNAH_S3_BUCKET=name)
    assert done.returncode == 0, done.stderr
    left = {each["Key"].split("/")[2] for each in client.list_objects_v2(Bucket=name).get("Contents", [])}
    assert left == {"1"}
    [receipt] = (tmp_path / "work" / "receipts").glob("*.json")
    assert f"bucket {name}" in receipt.read_text()
    done = mynah("forget", "lark", "--no-cluster", "--workdir", tmp_path / "work", MYNAH_S3_BUCKET=name)
    assert done.returncode == 0, done.stderr
    assert "Contents" not in client.list_objects_v2(Bucket=name)


def test_posts_of_who_was_forgotten_are_not_uploaded(mynah, kubeflow, on_server, s3, bucket, tmp_path):
    from components.store import Store
    from components.tombstones import bury

    client, name = bucket
    (tmp_path / "zoe.jsonl").write_text(
        "".join(json.dumps({"id": n, "author": "zoe", "text": f"post {n}"}) + "\n" for n in range(9))
    )
    bury(Store.from_environment(), "zoe")
    done = mynah(
        "submit", "--name", "wren", "--from", tmp_path / "zoe.jsonl", "--basis", "permission", "--no-wait", "--bucket", name
    )
    refused(done, 2, "forgotten")
    assert "Contents" not in client.list_objects_v2(Bucket=name)
    assert not kubeflow.runs


def test_a_schedule_of_this_machines_files_is_refused(mynah, kubeflow, csv):
    done = mynah("submit", "--name", "wren", "--from", csv, "--basis", "permission", "--schedule", "0 3 * * 1", "--bucket", "any")
    refused(done, 2, "reads its sources anew", "s3://BUCKET/KEY")


@pytest.fixture
def kubernetes(monkeypatch, tmp_path):
    started = FakeKubernetes()
    FakeKServe(started)  # which adds nodes to what there is
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", started.url)))
    yield started
    started.stop()


@pytest.mark.parametrize(("label", "found"), [("mynah.dev/pool=gpu", True), ("pool=a100", True), ("pool=none", False)])
def test_a_pool_that_is_missing_is_told_before_anything_is_sent(mynah, kubeflow, kubernetes, label, found):
    for number, (key, value) in enumerate((("mynah.dev/pool", "gpu"), ("pool", "a100"))):
        kubernetes.put(
            "nodes", "", f"gpu-{number}", metadata={"labels": {key: value}}, status={"allocatable": {"nvidia.com/gpu": "1"}}
        )
    done = mynah(*SUBMIT, "--no-wait", "--context", "fake", "--gpu-pool", label)
    if found:
        assert done.returncode == 0, done.stderr
        assert len(kubeflow.runs) == 1
    else:
        refused(done, 3, "no node has the label pool=none", "--no-gpu")
        assert not kubeflow.runs
        assert mynah(*SUBMIT, "--no-wait", "--context", "fake", "--gpu-pool", label, "--no-gpu").returncode == 0


def test_a_service_of_its_own_is_asked_for_by_its_namespace(mynah, kubeflow):
    assert mynah(*SUBMIT, "--no-wait", "--serve-in", "mynah").returncode == 0
    [run] = kubeflow.runs.values()
    assert run["runtime_config"]["parameters"]["serve_in"] == "mynah"


def test_not_waiting(mynah, kubeflow):
    kubeflow.script = [("RUNNING", {})]
    done = mynah(*SUBMIT, "--no-wait", "--json")
    assert json.loads(done.stdout) == {"run": next(iter(kubeflow.runs)), "state": "PENDING"}


def test_a_failed_step_is_told_with_its_own_error_and_exit_code(mynah, kubeflow):
    kubeflow.script = [("FAILED", {"begin": "SUCCEEDED", "filter-posts": "FAILED"})]
    kubeflow.logs = {"wf-1-system-container-impl-112": ERROR}
    done = mynah(*SUBMIT)
    run_id = next(iter(kubeflow.runs))
    refused(
        done, 2, f"error: the run {run_id} failed in filter-posts: only 12 characters are left",
        f"Add another source with --from, or more posts. See more: mynah logs {run_id[:8]} filter-posts",
    )  # fmt: skip


@pytest.mark.parametrize(
    "message", ["OOMKilled (exit code 137)", "Pod was active on the node longer than the specified deadline"]
)
def test_a_step_without_a_log_is_told_with_kubernetes_reason(mynah, kubeflow, message):
    kubeflow.script = [("FAILED", {"begin": "SUCCEEDED", "finetune": "FAILED"})]
    kubeflow.reasons = {"finetune": message}
    refused(mynah(*SUBMIT), 3, f"failed in finetune: {message}", "mynah logs")


def test_a_failure_that_nothing_explains(mynah, kubeflow):
    kubeflow.keeps_workflows = False
    kubeflow.script = [("FAILED", {"finetune": "FAILED"})]
    refused(mynah(*SUBMIT), 3, "failed in finetune: nothing tells why", "mynah logs")
    kubeflow.script = [("FAILED", {})]
    refused(mynah(*SUBMIT), 3, "failed: nothing tells why", "mynah runs")


@pytest.mark.parametrize("state", ["CANCELED", "SKIPPED"])
def test_a_run_that_came_to_nothing_is_no_success(mynah, kubeflow, state):
    kubeflow.script = [("RUNNING", {}), ("CANCELING", {}), (state, {})]
    refused(mynah(*SUBMIT), 3, f"was {state.lower()}")


@pytest.mark.parametrize(
    "reason",
    [
        "ImagePullBackOff: Back-off pulling image mynah-train:0.1.0",
        'pods "wf-1" is forbidden: exceeded quota: mynah, requested: nvidia.com/gpu=1, used: 1, limited: 1',
        "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    ],
)
def test_what_a_step_waits_for_is_shown_and_told_at_the_deadline(mynah, kubeflow, monkeypatch, reason):
    monkeypatch.setattr(cluster, "GRACE", -2 * 3600 + 0.3)
    kubeflow.script = [("RUNNING", {"begin": "SUCCEEDED", "finetune": "PENDING"})]
    kubeflow.reasons = {"finetune": reason}
    done = mynah(*SUBMIT, "--deadline", "2")
    run_id = next(iter(kubeflow.runs))
    assert f"finetune waits: {reason}" in done.stderr.splitlines()
    refused(done, 3, f"the run {run_id} is still running", f"finetune waits: {reason[:40]}", f"mynah cancel {run_id[:8]} ends it")


def test_an_api_that_is_away_for_a_moment_ends_nothing(mynah, kubeflow, monkeypatch):
    run_id = kubeflow.add_run("wren", at=("SUCCEEDED", {}))
    from pipelines.kubeflow import Kubeflow

    api = Kubeflow.connect()
    kubeflow.failures = 2
    assert follow.follow(api, run_id, 60).state == "SUCCEEDED"
    kubeflow.token = TOKEN  # but credentials that have expired do
    with pytest.raises(Exception, match="asks to log in"):
        follow.follow(api, run_id, 60)


def test_interrupting_leaves_the_run(mynah, kubeflow, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(follow.time, "sleep", interrupt)
    kubeflow.script = [("RUNNING", {})]
    done = mynah(*SUBMIT)
    assert done.returncode == 130
    assert "the run goes on: mynah runs" in done.stderr


@pytest.mark.parametrize(
    ("given", "six"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("30 0 3 * * 1-5", "30 0 3 * * 1-5"),
        ("*/15 8-18/2 1,15 JAN-jun ?", "0 */15 8-18/2 1,15 JAN-jun ?"),
    ],
)
def test_a_schedule_makes_a_recurring_run_that_wants_news(mynah, kubeflow, given, six):
    done = mynah(*SUBMIT, "--schedule", given, "--json")
    assert done.returncode == 0, done.stderr
    [made] = kubeflow.recurring
    assert json.loads(done.stdout) == {"recurring_run": made["recurring_run_id"], "schedule": given}
    assert made["trigger"]["cron_schedule"]["cron"] == six
    assert (made["mode"], made["max_concurrency"], made["no_catchup"]) == ("ENABLE", 1, True)
    assert made["runtime_config"]["parameters"]["only_news"] is True
    assert not kubeflow.runs


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("weekly", "has 1 fields"), ("* * * *", "has 4 fields"), ("0 3 * * 1 2 3", "has 7 fields"), ("60 3 * * 1", "minute is '60'"),
        ("0 24 * * 1", "hour is '24'"), ("0 3 0 * *", "day of the month is '0'"), ("0 3 * 13 *", "month is '13'"),
        ("0 3 * * 7", "day of the week is '7'"), ("0 3 * * MO", "day of the week is 'MO'"), ("5-1 * * * *", "minute is '5-1'"),
        ("*/0 * * * *", "minute is '*/0'"), ("a * * * *", "minute is 'a'"), ("1, * * * *", "minute is '1,'"),
        ("0 3 31 2,4 *", "never comes"), ("-1 * * * *", "minute is '-1'"), ("0 0 3 * * *-2", "day of the week is '*-2'"),
    ],
)  # fmt: skip
def test_a_schedule_that_cron_would_misread_is_refused(mynah, kubeflow, cron, said):
    refused(mynah(*SUBMIT, "--schedule", cron), 2, said)
    assert kubeflow.requests == []


@pytest.mark.parametrize("suffix", ["yaml", "json", "csv"])
def test_a_fleet(mynah, kubeflow, tmp_path, suffix):
    text = {
        "yaml": "- {name: wren, from: s3://b/wren.zip}\n- {name: lark, from: [s3://b/lark.csv, bsky://lark.example], basis: permission}\n",
        "json": '[{"name": "wren", "from": "s3://b/wren.zip"},'
        ' {"name": "lark", "from": ["s3://b/lark.csv", "bsky://lark.example"], "basis": "permission"}]',
        "csv": "name,from,basis\nwren,s3://b/wren.zip,\nlark,s3://b/lark.csv,permission\nlark,bsky://lark.example,permission\n",
    }[suffix]
    (tmp_path / f"fleet.{suffix}").write_text(text)
    states = {"finetune#1": "FAILED", "finetune#2": "SUCCEEDED", "finetune#3": "RUNNING"}
    kubeflow.script = [("RUNNING", states), ("SUCCEEDED", dict.fromkeys(states, "SUCCEEDED"))]
    done = mynah("fleet", tmp_path / f"fleet.{suffix}", "--at-once", "2", "--basis", "public-figure-research")
    assert done.returncode == 0, done.stderr
    assert "finetune: 1 failed, 1 running, 1 succeeded" in done.stderr.splitlines()
    [run] = kubeflow.runs.values()
    assert run["runtime_config"]["parameters"]["bots"] == [
        {"bot": "wren", "sources": ["s3://b/wren.zip"], "basis": "public-figure-research"},
        {"bot": "lark", "sources": ["s3://b/lark.csv", "bsky://lark.example"], "basis": "permission"},
    ]
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "mynah-fleet"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no list of bots"), ("wren", "holds no list of bots"), ("- [", "cannot be read"), ("- 1", "bot 1 is 1"),
        ("- {name: wren}", "bot 1 is"), ("- {name: Wren!, from: sample}", "'Wren!' can't be a bot's name"),
        ("- {name: wren, from: []}", "has no sources"), ("- {name: wren, from: [1]}", "its from is no source"),
        ("- {name: wren, from: none.csv}", "none.csv"), ("- {name: wren, from: s3://}", "names no object"),
        ("- {name: wren, from: s3://b/1}\n- {name: wren, from: s3://b/2}", "is in the fleet twice"),
        ("- {name: wren, from: sample}", "into which bucket"), ("- {name: wren, from: sample, age: 3}", "bot 1 is"),
        ("- {name: wren, from: s3://b/lark.csv}", "on what basis"), ("- {name: wren, from: bsky://lark.example}", "on what basis"),
        ("- {name: wren, from: s3://b/1, basis: none}", "the basis is 'none'"),
        ("- {name: wren, from: x://wren, basis: permission}", "--max-cost"),
        ("- {name: wren, from: 'mastodon://ann:secret@host', basis: permission}", "is no account"),
    ],
)  # fmt: skip
def test_a_fleet_that_cannot_be(mynah, kubeflow, tmp_path, text, said):
    (tmp_path / "fleet.yaml").write_text(text)
    refused(mynah("fleet", tmp_path / "fleet.yaml"), 2, said)
    assert kubeflow.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "Wren!", "--from", "s3://b/k"], "can't be a bot's name"), (["--name", "wren", "--from", "none.zip"], "none.zip"),
        (["--name", "wren", "--from", "sample"], "MYNAH_S3_BUCKET"), (["--name", "wren", "--from", "s3://b/k", "--budget", "nan"], "budget"),
        (["--name", "wren", "--from", "s3://b/k", "--base-model", "components"], "lies on this machine"),
        (["--name", "wren", "--from", "s3://b/k", "--rules", "best"], "'best'"),
        (["--name", "wren", "--from", "s3://b/k.csv"], "--basis"), (["--name", "wren", "--from", "s3://b/k", "--basis", "so"], "'so'"),
        (["--name", "wren", "--from", "x://wren", "--basis", "own-account"], "$16"),
        (["--name", "wren", "--from", "x://wren", "--basis", "own-account", "--max-cost", "-1"], "--max-cost is -1"),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_is_refused_before_anything_is_sent(mynah, kubeflow, arguments, said):
    refused(mynah("submit", *arguments), 2, said)
    assert kubeflow.requests == []


@pytest.mark.parametrize(("agreed", "parameter"), [(["--yes"], -1), (["--max-cost", "5"], 5), (["--max-cost", "5", "--yes"], 5)])
def test_accounts_are_read_by_the_cluster_and_may_cost_so_much(mynah, kubeflow, agreed, parameter):
    sources = ["--from", "x://@Wren", "--from", "bsky://wren.example", "--from", "mastodon://wren@social.example"]
    done = mynah("submit", "--name", "wren", *sources, "--basis", "own-account", "--no-wait", "--schedule", "0 3 * * 1", *agreed)
    assert done.returncode == 0, done.stderr
    [run] = kubeflow.recurring
    parameters = run["runtime_config"]["parameters"]
    assert (parameters["max_cost"], parameters["basis"]) == (parameter, "own-account")
    assert parameters["sources"] == sources[1::2]


def test_runs_page_by_page(mynah, kubeflow):
    kubeflow.max_page = 10
    made = [kubeflow.add_run(f"wren-{number}", at=("SUCCEEDED", {})) for number in range(25)]
    listed = json.loads(mynah("runs", "-n", "23", "--json").stdout)
    assert [each["run"] for each in listed] == made[::-1][:23]
    assert json.loads(mynah("runs", "-n", "3", "--json").stdout) == listed[:3]
    assert made[-1][:8] in mynah("runs").stdout
    kubeflow.runs.clear()
    assert "No runs yet" in mynah("runs").stdout


def test_one_run_with_what_it_waits_for(mynah, kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("RUNNING", {"begin": "SUCCEEDED", "finetune": "PENDING"}))
    kubeflow.reasons = {"finetune": "ImagePullBackOff: [red]no\x1b[31m"}
    found = json.loads(mynah("runs", run_id[:8], "--json").stdout)
    assert (found["state"], found["reasons"]) == ("RUNNING", kubeflow.reasons)
    assert [(each["step"], each["state"]) for each in found["steps"]] == [("begin", "SUCCEEDED"), ("finetune", "PENDING")]
    shown = mynah("runs", run_id).stdout
    assert "[red]no" in shown
    assert "\x1b" not in shown
    refused(mynah("runs", "ffffffff"), 2, "there is no run 'ffffffff'")
    refused(mynah("runs", "0" * 36), 2, "there is no run '0000")
    twin = f"{run_id[:8]}-0000-0000-0000-000000000000"
    kubeflow.runs[twin] = {**kubeflow.runs[run_id], "run_id": twin}
    refused(mynah("runs", run_id[:8]), 2, "several runs begin with")


def test_a_terminal_gets_a_table(kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("SUCCEEDED", dict.fromkeys(STEPS, "SUCCEEDED")))
    code, said = on_a_terminal("runs", run_id, "--follow")
    assert code == 0, said
    assert said.count("wren-1: succeeded") >= 2  # while it was followed, and at the end
    assert re.search(r"✓ +│ +finetune +│ +succeeded", said)


def test_logs(mynah, kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("FAILED", {"fetch": "SUCCEEDED", "finetune#1": "FAILED", "finetune#2": "RUNNING"}))
    kubeflow.logs = {"wf-1-system-container-impl-102": "fetched\n", "wf-1-system-container-impl-112": "epoch 1\x1b[31m\n"}
    assert mynah("logs", run_id[:8], "fetch").stdout == "fetched\n"
    kubeflow.reasons = {"finetune#1": "OOMKilled (exit code 137)"}
    kubeflow.logs["wf-1-system-container-impl-122"] = "epoch 2\n"
    done = mynah("logs", run_id[:8], "finetune")
    assert done.stdout == (
        "── wf-1-system-container-impl-112 (failed)\nepoch 1\ufffd[31m\n── wf-1-system-container-impl-122 (running)\nepoch 2\n"
    )
    assert "OOMKilled" in done.stderr
    del kubeflow.logs["wf-1-system-container-impl-112"]  # with its pod; the second attempt's log is there all the same
    done = mynah("logs", run_id[:8], "finetune")
    assert done.stdout.endswith("── wf-1-system-container-impl-122 (running)\nepoch 2\n")
    assert "the log of pod wf-1-system-container-impl-112 is gone" in done.stderr
    refused(mynah("logs", run_id[:8], "evaluate"), 3, "has written nothing yet", f"pipeline/runid={run_id}")
    refused(mynah("logs", run_id[:8], "fly"), 2, "there is no step 'fly'", "finetune")
    kubeflow.logs.clear()
    refused(mynah("logs", run_id[:8], "fetch"), 2, "the log of pod wf-1-system-container-impl-102 is gone")


def test_logs_where_argo_retries_every_template(mynah, kubeflow):
    """As a default of a stock Kubeflow 2.17 has it: each node is then an attempt, and named so."""
    run_id = kubeflow.add_run("wren-1", at=("RUNNING", {"fetch": "SUCCEEDED", "finetune": "RUNNING"}))
    kubeflow.attempt = "(0)"
    kubeflow.logs = {"wf-1-system-container-impl-112": "epoch 1\n"}
    assert mynah("logs", run_id[:8], "finetune").stdout == "epoch 1\n"


def test_canceling(mynah, kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("RUNNING", {}))
    assert json.loads(mynah("cancel", run_id[:8], "--json").stdout) == {"run": run_id, "state": "CANCELING"}
    assert kubeflow.runs[run_id]["canceled"]
    refused(mynah("cancel", run_id), 2, "is over: canceled")


def page(code, text, **headers):
    return code, {"Content-Type": "text/html", **headers}, text


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (page(200, LOGIN_PAGE), "answers, but not as its API does"),
        (page(302, "", Location="/dex/auth"), "asks to log in (302)"),
        (page(401, "Jwt is expired"), "asks to log in (401)"),
        (page(403, "RBAC: access denied"), "does not allow it (403): Forbidden"),
        (page(404, "default backend - 404"), "refused it (404)"),
        (page(500, '{"code": 13, "message": "database is locked"}'), "failed (500): database is locked"),
        (page(503, "upstream connect error"), "failed (503)"),
        (page(200, '{"multi_user": '), "answers, but not as its API does"),
    ],
)
def test_answers_that_are_none(mynah, kubeflow, instead, said):
    kubeflow.instead = instead
    for command in (SUBMIT, ("runs",), ("logs", "1", "fetch"), ("cancel", "1")):
        refused(mynah(*command), 3, f"Kubeflow Pipelines at {kubeflow.url} {said}")


def test_answers_that_are_cut_off_or_never_come(mynah, kubeflow, monkeypatch):
    kubeflow.cut = 5
    refused(mynah("runs"), 3, "cannot be reached")
    kubeflow.cut, kubeflow.delay = 0, 1.0
    monkeypatch.setattr(kubeflow_client, "READ", 0.1)
    refused(mynah("runs"), 3, "cannot be reached")


def test_no_kubeflow(mynah, kubeflow, monkeypatch):
    kubeflow.stop()
    refused(mynah("runs"), 3, f"{kubeflow.url} cannot be reached", "port-forward")
    refused(mynah("runs", "--endpoint", "ml-pipeline:8888"), 2, "'ml-pipeline:8888' is no address")
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    refused(mynah("runs"), 2, "nothing tells where Kubeflow Pipelines is", "KF_PIPELINES_ENDPOINT")


def test_credentials(mynah, kubeflow, tmp_path):
    kubeflow.token = TOKEN
    refused(mynah("runs"), 3, "asks to log in (401)", "KF_PIPELINES_TOKEN")
    assert mynah("runs", KF_PIPELINES_TOKEN=f"{TOKEN}\n").returncode == 0
    (tmp_path / "token").write_text("expired")
    refused(mynah("runs", "--token-file", tmp_path / "token"), 3, "has expired")
    from pipelines.kubeflow import Kubeflow

    (tmp_path / "token").write_text(TOKEN)
    api = Kubeflow.connect(token_file=tmp_path / "token")
    kubeflow.token = "another"
    (tmp_path / "token").write_text("another")  # as the kubelet does every hour
    assert api.runs(1) == []
    refused(mynah("runs", KF_PIPELINES_SA_TOKEN_PATH=str(tmp_path / "none")), 2, "there is no token in")
    kubeflow.token, kubeflow.cookie = "", "authservice_session=abc"
    assert mynah("runs", KF_PIPELINES_COOKIE=kubeflow.cookie).returncode == 0
    refused(mynah("runs", KF_PIPELINES_COOKIE="authservice_session=old"), 3, "asks to log in")


def test_a_shared_kubeflow_wants_a_namespace(mynah, kubeflow):
    kubeflow.multi_user = True
    refused(mynah("runs"), 2, "is shared by several people", "--namespace")
    done = mynah(*SUBMIT, "--namespace", "ann")
    assert done.returncode == 0, done.stderr
    assert kubeflow.experiments[0]["namespace"] == "ann"
    refused(mynah("runs", "--namespace", "other"), 3, "does not allow it (403)", "User 'ann' is not authorized")
