"""What became of each bot: the last words of `mynah submit` and `fleet`, `mynah runs`, and runs that are lost, with a real MLflow."""

import contextlib
import json
import time
import uuid

import pytest

from mynah.core.errors import InputError
from mynah.mlflow_client.client import client
from mynah.mlflow_client.store import Store
from mynah.tracking.kfp_runs import SKIPPED_TAG, start_run
from mynah.tracking.step_run import step_run
from tests.services.kubeflow_commands import SUBMIT, refused

PROMOTED = {"mynah.promotion": "promoted", "mynah.version": "3"}
REFUSED = {"mynah.promotion": "refused: its held-out loss trails the champion's", "mynah.version": "4"}
UNCHANGED = {"mynah.promotion": "unchanged: continuing brought nothing, and version 2 stays the champion"}
NOTHING_NEW = {SKIPPED_TAG: "nothing new since version 2"}
LONG_AGO = "2026-11-01T03:00:00Z"


@pytest.fixture
def store(kubeflow, on_server):
    return Store(on_server["MLFLOW_TRACKING_URI"])


def record(store, kfp_run, bot, last, tags=None, error=None):
    """What the steps of a bot record: those up to `last`, which may fail. Returns the pipeline run's id."""
    run = start_run(bot, kfp_run, store, {})
    with contextlib.suppress(InputError), step_run(last, store, run) as step:
        if error:
            raise InputError(error)
        step.tags(tags or {})
    return run


def finished(store, bot, tags):
    """What happens in a run that Kubeflow calls succeeded."""
    last = "filter" if SKIPPED_TAG in tags else "promote"
    return lambda run_id: record(store, run_id, bot, last, tags)


@pytest.mark.parametrize(
    ("tags", "code", "last_words"),
    [
        (PROMOTED, 0, "wren: version 3 promoted"),
        (NOTHING_NEW, 0, "wren: nothing new since version 2"),
        (REFUSED, 4, "wren version 4 was not promoted: its held-out loss trails the champion's"),
        (UNCHANGED, 4, "no new version of wren: continuing brought nothing, and version 2 stays the champion"),
    ],
)
def test_the_outcome_is_the_last_thing_said(mynah, kubeflow, store, tags, code, last_words):
    kubeflow.on_create = finished(store, "wren", tags)
    done = mynah(*SUBMIT)
    assert done.returncode == code, done.stderr
    assert last_words in (done.stderr if code else done.stdout.splitlines()[-1])
    done = mynah(*SUBMIT, "--json")
    assert done.returncode == code
    told = json.loads(done.stdout)
    assert told["state"] == "SUCCEEDED"
    [bot] = told["bots"]
    assert (bot["bot"], bot["outcome"]) == ("wren", tags.get("mynah.promotion") or f"skipped: {tags[SKIPPED_TAG]}")


def test_an_outcome_that_nothing_tells_is_no_success_of_the_gate(mynah, kubeflow, monkeypatch):
    done = mynah(*SUBMIT, "--json")
    assert (done.returncode, json.loads(done.stdout)["bots"]) == (0, None)
    assert "set MLFLOW_TRACKING_URI" in done.stderr
    kubeflow.on_create = lambda _: monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # it goes away meanwhile
    done = mynah(*SUBMIT)
    assert done.returncode == 0, done.stderr
    assert "warning: nothing tells the outcome" in done.stderr


@pytest.fixture
def fleet(store, kubeflow, tmp_path):
    """A fleet's file, of whose bots one is promoted, one refused, one has nothing new, and one has an error in its input."""

    def work(run_id):
        record(store, run_id, "lark", "promote", PROMOTED)
        record(store, run_id, "robin", "promote", REFUSED)
        record(store, run_id, "tit", "filter", NOTHING_NEW)
        record(store, run_id, "wren", "fetch", error="there is no s3://b/wren.zip\nwhich is its source")

    kubeflow.on_create = work
    path = tmp_path / "fleet.yaml"
    path.write_text("".join(f"- {{name: {name}, from: s3://b/{name}.zip}}\n" for name in ("lark", "robin", "tit", "wren")))
    return path


def test_a_fleets_table_has_each_bot_and_the_error_of_each_failure(mynah, kubeflow, store, fleet):
    kubeflow.script = [("FAILED", {"fetch#1": "SUCCEEDED", "fetch#2": "FAILED"})]
    done = mynah("fleet", fleet)
    assert done.returncode == 3
    for text in ("lark", "promoted", "refused: its held-out loss", "skipped: nothing new since version 2", "failed in fetch"):
        assert text in done.stdout
    [run_id] = kubeflow.runs
    bots = {bot["bot"]: bot for bot in json.loads(mynah("runs", run_id, "--json").stdout)["bots"]}
    assert bots["lark"]["version"] == "3"
    assert bots["wren"]["outcome"] == "failed in fetch"
    assert bots["wren"]["reason"] == "InputError: there is no s3://b/wren.zip which is its source"
    assert "which is its source" in " ".join(mynah("runs", run_id).stdout.split())


def test_a_bot_that_never_started_is_in_the_table(mynah, kubeflow, store, bucket):
    """Of one the specification is there to tell its name; of the other somebody erased it."""
    client, name = bucket
    ids = ["00112233445566a1", "00112233445566a2", "00112233445566a3"]
    for each, bot in zip(ids, ("lark", "robin"), strict=False):
        client.put_object(Bucket=name, Key=f"runs/{each}/spec.json", Body=json.dumps({"name": bot}).encode())
    specs = [f"s3://{name}/runs/{each}/spec.json#sha256={'0' * 64}" for each in ids]
    run_id = kubeflow.add_run("mynah-fleet-1", at=("FAILED", {}), runtime_config={"parameters": {"specs": specs}})
    record(store, run_id, "lark", "promote", PROMOTED)
    bots = {bot["bot"]: bot["outcome"] for bot in json.loads(mynah("runs", run_id, "--json").stdout)["bots"]}
    assert bots == {"lark": "promoted", "robin": "failed before fetch", ids[2]: "failed before fetch"}


def test_runs_are_shown_where_mlflow_does_not_answer(mynah, kubeflow, monkeypatch):
    run_id = kubeflow.add_run("wren-1", at=("FAILED", {}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for words in (("runs", "--json"), ("runs", run_id, "--json")):
        done = mynah(*words)
        assert done.returncode == 0, done.stderr
        assert "FAILED" in done.stdout
        assert "warning: " in done.stderr


@pytest.mark.parametrize(("state", "code", "outcome"), [("FAILED", 3, "failed in fetch"), ("CANCELED", 5, "canceled in fetch")])
def test_what_became_of_a_run_that_did_not_succeed_is_in_json_too(mynah, kubeflow, store, fleet, state, code, outcome):
    kubeflow.script = [(state, {"fetch#1": "SUCCEEDED", "fetch#2": "FAILED"})]
    done = mynah("fleet", fleet, "--json")
    assert done.returncode == code, done.stderr
    told = json.loads(done.stdout)
    assert (told["run"], told["state"]) == (*kubeflow.runs, state)
    bots = {bot["bot"]: bot["outcome"] for bot in told["bots"]}
    assert (bots["lark"], bots["wren"]) == ("promoted", outcome)
    kubeflow.on_create = lambda run_id: record(store, run_id, "wren", "fetch", error="there is no s3://b/wren.zip")
    done = mynah(*SUBMIT, "--json")
    assert done.returncode == code
    assert [bot["outcome"] for bot in json.loads(done.stdout)["bots"]] == [outcome]


def test_a_fleet_is_listed_with_the_number_of_each_outcome(mynah, kubeflow, store, fleet):
    for state in ("SUCCEEDED", "FAILED"):
        kubeflow.script = [(state, {})]
        mynah("fleet", fleet)
    listed = json.loads(mynah("runs", "--json").stdout)
    assert [set(run["outcome"].split(", ")) for run in listed] == [{"1 trained", "1 refused", "1 nothing new", "1 failed"}] * 2
    specs = [f"s3://b/runs/{number:016x}/spec.json#sha256={'0' * 64}" for number in range(3)]
    run_id = kubeflow.add_run("mynah-fleet-1", at=("FAILED", {}), runtime_config={"parameters": {"specs": specs}})
    record(store, run_id, "lark", "promote", PROMOTED)
    listed = {run["run"]: run.get("outcome") for run in json.loads(mynah("runs", "--json").stdout)}
    assert listed[run_id] == "2 failed, 1 trained"  # two failed before their first step


def test_a_fleet_with_a_refused_bot_has_the_exit_code_of_a_refusal(mynah, kubeflow, store, fleet):
    done = mynah("fleet", fleet)
    assert done.returncode == 4
    assert "1 of 4 bots were not promoted: robin" in done.stderr


def test_runs_are_listed_with_bots_and_outcomes(mynah, kubeflow, store):
    names = {"lark": PROMOTED, "robin": REFUSED, "tit": NOTHING_NEW}
    for name, tags in names.items():
        record(store, kubeflow.add_run("mynah-0011223344556677-20261201-030000", at=("SUCCEEDED", {})), name, "promote", tags)
    unknown = kubeflow.add_run("mynah-8899aabbccddeeff-20261201-030000", at=("SUCCEEDED", {}))
    listed = {run.get("bots"): run.get("outcome") for run in json.loads(mynah("runs", "--json").stdout)}
    assert listed == {"lark": "trained", "robin": "refused", "tit": "nothing new", None: None}
    shown = mynah("runs").stdout
    assert "robin" in shown
    assert unknown[:8] in shown


def status(store, run):
    return client(store.tracking_uri).get_run(run).info.status


def lose(kubeflow, run_id, how):
    """Delete a run's Workflow: what Kubeflow then still says of it."""
    if how == "no workflow":
        kubeflow.lost.add(run_id)
    elif how == "deadline":
        kubeflow.runs[run_id]["pipeline_spec"] = {
            "platform_spec": {"platforms": {"kubernetes": {"pipelineConfig": {"activeDeadlineSeconds": 86400}}}}
        }


@pytest.mark.parametrize("how", ["no workflow", "deadline", "no pod"])
def test_a_run_whose_workflow_is_gone_is_closed(mynah, kubeflow, store, how):
    run_id = kubeflow.add_run("wren-1", at=("RUNNING", {"finetune": "RUNNING"}), created_at=LONG_AGO)
    kubeflow.logs = {} if how == "no pod" else {"wf-1-system-container-impl-102": "epoch 1\n"}
    lose(kubeflow, run_id, how)
    run = start_run("wren", run_id, store, {})
    assert json.loads(mynah("runs", "--json").stdout)[0]["state"] == "LOST"
    assert status(store, run) == "FAILED"
    assert "lost" in mynah("runs", run_id).stdout
    refused(mynah("cancel", run_id), 2, "is over: lost")
    refused(mynah("runs", run_id, "--follow"), 3, "its Workflow was deleted")


def test_a_run_that_may_still_go_on_is_not_closed(mynah, kubeflow, store):
    """A young one, one with a pod, and one whose step sampled its machine a moment ago."""
    young = kubeflow.add_run("young", at=("RUNNING", {}), created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    alive = kubeflow.add_run("alive", at=("RUNNING", {}), created_at=LONG_AGO)
    kubeflow.lost |= {young, alive}
    kubeflow.add_run("pod", at=("RUNNING", {"finetune": "RUNNING"}), created_at=LONG_AGO)
    kubeflow.logs = {"wf-1-system-container-impl-102": "epoch 1\n"}
    run = start_run("wren", alive, store, {})
    with step_run("finetune", store, run):
        assert {each["state"] for each in json.loads(mynah("runs", "--json").stdout)} == {"RUNNING"}
    assert status(store, run) == "RUNNING"


def test_a_run_that_was_canceled_on_kubeflows_page_is_ended_in_mlflow(mynah, kubeflow, store):
    run_id = kubeflow.add_run("wren-1", at=("FAILED", {}))
    kubeflow.runs[run_id]["history"] = [{"state": "RUNNING"}, {"state": "CANCELING"}]
    run = start_run("wren", run_id, store, {})
    [bot] = json.loads(mynah("runs", run_id, "--json").stdout)["bots"]
    assert (status(store, run), bot["outcome"]) == ("KILLED", "canceled before the first step")


def test_a_run_that_its_exit_handler_ended_after_it_was_canceled_is_called_canceled(mynah, kubeflow, store):
    """It knows nothing of the cancellation, and the killed step recorded no error."""
    run_id = kubeflow.add_run("wren-1", at=("FAILED", {}))
    kubeflow.runs[run_id]["history"] = [{"state": "RUNNING"}, {"state": "CANCELING"}]
    run = start_run("wren", run_id, store, {})
    api = client(store.tracking_uri)
    with step_run("finetune", store, run):
        steps = api.search_runs([api.get_run(run).info.experiment_id], f"tags.`mlflow.parentRunId` = '{run}'")
    for each in (*(step.info.run_id for step in steps), run):
        api.set_terminated(each, "FAILED")
    [bot] = json.loads(mynah("runs", run_id, "--json").stdout)["bots"]
    assert (bot["outcome"], bot["reason"]) == ("canceled in finetune", "")


def test_the_deadline_of_a_submitted_run_is_known(mynah, kubeflow):
    kubeflow.script = [("RUNNING", {})]
    assert mynah(*SUBMIT, "--no-wait", "--deadline", "3").returncode == 0
    [run_id] = kubeflow.runs
    kubeflow.runs[run_id]["created_at"] = LONG_AGO
    assert json.loads(mynah("runs", run_id, "--json").stdout)["state"] == "LOST"


def test_ids_of_others_are_no_trouble(mynah, kubeflow, store):
    record(store, str(uuid.uuid4()), "wren", "promote", PROMOTED)
    kubeflow.add_run("theirs", at=("SUCCEEDED", {}))
    assert json.loads(mynah("runs", "--json").stdout)[0].get("bots") is None
