"""The cluster's pipeline: what begins, skips and ends a run, and the pipeline itself by Kubeflow's local runner."""

import json
import os
import shutil
import uuid
import warnings

import pytest

from components.fetch.step import fetch
from components.filter.new_texts import version_trained_on
from components.filter.step import FilterSettings, filter_posts
from components.finish_run.step import finish_run
from components.handover import Handover
from components.promote.step import promote_registered
from components.register.step import _add_version
from components.run_inputs import RunInputs
from components.step_runtime import Step
from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.mlflow_client.client import client, experiment
from mynah.mlflow_client.store import Store
from mynah.registry.registry import Registry
from mynah.tracking.kfp_runs import SKIPPED_TAG, start_run
from mynah.tracking.open import open_store
from mynah.tracking.runs import steps_of
from mynah.tracking.step_run import step_run
from mynah.training.training_record import TrainingRecord
from tests.services.cluster_runs import keys_of, run_pipeline
from tests.services.kubeflow_commands import POSTS

CANARY = f"canary{uuid.uuid4().hex[:8]}"
WHO, DOES, WHAT = (
    ("The bird", "A queen", "My neighbour", "The sea"), ("sings to", "forgets", "dreams of"), ("the rain", "a letter", "the moon"),
)  # fmt: skip
WHEN = ("today.", "again and again.", "when nobody looks.", "in the winter.", "and knows it.", "all the same.")
RUN = "0c5a2b0e-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return open_store(tmp_path_factory.mktemp("work"))


def status(store, run_id):
    return client(store.tracking_uri).get_run(run_id).info.status


def test_a_step_that_is_tried_again_begins_no_second_run(store):
    first = start_run("wren", RUN, store, {"rules": "default"})
    assert start_run("wren", RUN, store, {"rules": "default"}) == first
    assert start_run("lark", RUN, store, {}) != first
    with pytest.raises(InputError, match="can't be a bot's name"):
        start_run("Wren!", RUN, store, {})


def test_every_run_is_ended_and_told(store):
    kfp_run = RUN[:-1] + "2"
    runs = {name: start_run(name, kfp_run, store, {}) for name in ("good", "bad", "idle", "none", "refused", "same")}
    lasts = {"good": "promote", "bad": "finetune", "idle": "filter", "refused": "promote", "same": "promote"}
    for name, last in lasts.items():
        try:
            with step_run(last, store, runs[name]) as step:
                if name == "bad":
                    raise InputError("no")
                step.tags({"good": {"mynah.promotion": "promoted", "mynah.version": "3"}, "idle": {SKIPPED_TAG: "nothing new"},
                           "refused": {"mynah.promotion": "refused: it trails | [x](http://evil)"},
                           "same": {"mynah.promotion": promote_registered("same", store, 0)}}[name])  # fmt: skip
        except InputError:
            assert name == "bad"
    found = finish_run(kfp_run, store, ["good", "bad", "idle", "none", "refused", "same", "never"])
    assert {each.bot: each.outcome for each in found} == {
        "good": "promoted", "bad": "failed in finetune", "idle": "skipped: nothing new", "none": "failed before the first step",
        "refused": "refused: it trails | [x](http://evil)", "never": "failed before fetch",
        "same": "unchanged: continuing brought nothing, and same has no champion now",
    }  # fmt: skip
    ended = {name: status(store, run_id) for name, run_id in runs.items()}
    assert ended == {
        "good": "FINISHED",
        "bad": "FAILED",
        "idle": "FINISHED",
        "none": "FAILED",
        "refused": "FINISHED",
        "same": "FINISHED",
    }
    assert finish_run(kfp_run, store) == [each for each in found if each.mlflow_run]  # tried again
    assert [(each.bot, each.version) for each in found if each.version] == [("good", "3")]


def test_a_canceled_run_is_killed(store):
    kfp_run = RUN[:-1] + "3"
    run = start_run("wren", kfp_run, store, {})
    finish_run(kfp_run, store, status="KILLED")
    assert status(store, run) == "KILLED"


def posts(path, author, canary=""):
    """A table of posts, each with the canary in its text."""
    texts = [f"{who} {does} {what} {when} {canary}".strip() for who in WHO for does in DOES for what in WHAT for when in WHEN]
    path.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for text in texts))
    return path


def submitted(mynah, kubeflow, *words):
    """Send a bot to Kubeflow; the reference that it was given."""
    done = mynah("submit", "--name", CANARY, "--base-model", "fledgling", "--set", "epochs=1", "--no-wait", "--no-gpu", *words)
    assert done.returncode == 0, done.stderr
    made = [*kubeflow.runs.values(), *kubeflow.recurring][-1]
    return made["runtime_config"]["parameters"]["spec"]


def handed_on(client, bucket):
    """The keys of what steps handed on, without uploads and specifications."""
    keys = [key for key in keys_of(client, bucket, "runs/") if key.split("/")[2] not in ("uploads", "spec.json")]
    return [key for key in keys if key.split("/")[3] != "logs"]


def logs(client, bucket):
    """The logs of a run's steps, by name."""
    keys = [key for key in keys_of(client, bucket, "runs/") if key.split("/")[3:4] == ["logs"]]
    return {key.rpartition("/")[2]: client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}


def below(folder):
    """Every byte, and every name, of what Kubeflow kept."""
    return b"".join(os.fsencode(path) + (path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


def bot_runs(name):
    store = Store.from_environment()
    api = client(store.tracking_uri)
    found = api.search_runs([experiment(store)], f"tags.`mynah.bot` = '{name}'", order_by=["start_time ASC"])
    return store, [run for run in found if "mlflow.parentRunId" not in run.data.tags]


def test_nothing_that_a_person_named_or_wrote_goes_through_kubeflow(mynah, kubeflow, on_server, bucket, tmp_path):
    """Submitted, and run by the pipeline's own code; then every byte that Kubeflow has of it is searched."""
    s3_client, name = bucket
    source = posts(tmp_path / f"{CANARY}-source.jsonl", f"{CANARY}_author", f"{CANARY} chirps")
    spec = submitted(mynah, kubeflow, "--from", source, "--basis", "permission")
    assert len(handed_on(s3_client, name)) == 0
    done = run_pipeline(spec, tmp_path / "root")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    store, [run] = bot_runs(CANARY)
    assert (run.info.status, run.data.tags["mynah.version"]) == ("FINISHED", "1")
    steps = steps_of(store, run.info.run_id)
    assert set(steps) == {"fetch", "filter", "finetune", "evaluate", "card", "register", "promote"}
    record = TrainingRecord.read(Registry(store).checkpoint(Registry(store).bot(CANARY).versions[0]))
    params = steps["finetune"].data.params
    assert (params["device"], params["device_name"], params["kernels"]) == (record.device, record.device_name, record.kernels)
    assert params["device_name"]
    assert params["kernels"]
    assert Registry(store).bot(CANARY).versions[0].tags["mynah.promotion"] == run.data.tags["mynah.promotion"]
    kubeflows = json.dumps([kubeflow.runs, kubeflow.experiments], ensure_ascii=False).encode() + below(tmp_path / "root")
    assert CANARY.encode() not in kubeflows
    assert spec.encode() in kubeflows
    assert b"model.safetensors" not in kubeflows
    assert handed_on(s3_client, name) == []
    assert CANARY not in done.stdout + done.stderr  # what the pods print
    assert set(logs(s3_client, name)) == {
        f"{step}-1.log" for step in ("fetch", "filter", "finetune", "evaluate", "register", "finish-run")
    }
    assert "Fine-tuning" in logs(s3_client, name)["finetune-1.log"]


def test_a_schedule_without_news_trains_nothing_and_keeps_no_copy(mynah, kubeflow, on_server, bucket, tmp_path):
    """By Kubeflow's own runner: exit handler and condition hold, and the run ends well without a model."""
    s3_client, name = bucket
    source = posts(tmp_path / "posts.jsonl", "somebody")
    fetch([str(source)], tmp_path / "raw", basis="permission")
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(seed=42))
    store, bot = Store.from_environment(), f"idle-{CANARY}"
    assert version_trained_on(bot, tmp_path / "data", store) == 0
    tags = {
        "mynah.data_digest": digest(tmp_path / "data" / "train.jsonl"),
        "mynah.held_out_digest": digest(tmp_path / "data" / "held_out.jsonl"),
    }
    api = client(store.tracking_uri)
    first = start_run(bot, RUN, store, {})
    model = api.create_logged_model(api.get_run(first).info.experiment_id, bot)
    _add_version(bot, store, first, model.model_id, tags, {})
    s3_client.upload_file(str(source), name, "exports/posts.jsonl")
    asked = ("--name", bot, "--from", f"s3://{name}/exports/posts.jsonl", "--basis", "permission", "--schedule", "0 3 * * 1")
    spec = submitted(mynah, kubeflow, *asked)
    done = run_pipeline(spec, tmp_path / "root", "news")
    assert done.returncode == 0, done.stdout[-5000:]
    assert not list((tmp_path / "root").rglob("finetune"))
    _, [_, run] = bot_runs(bot)
    assert (run.info.status, run.data.tags[SKIPPED_TAG]) == ("FINISHED", "nothing new since version 1")
    assert json.loads(run.data.tags["mynah.authors"])
    assert handed_on(s3_client, name) == []
    assert [
        item.path for step in steps_of(store, run.info.run_id).values() for item in api.list_artifacts(step.info.run_id)
    ] == []
    api.delete_registered_model(bot)  # `mynah doctor`, which other tests ask of this server, would miss its files


def test_a_search_hands_on_the_recipe_that_it_found(mynah, kubeflow, on_server, bucket, tmp_path):
    s3_client, name = bucket
    bot = f"found-{CANARY}"
    source = posts(tmp_path / "posts.jsonl", "somebody")
    spec = submitted(mynah, kubeflow, "--name", bot, "--from", source, "--basis", "permission", "--trials", "2")
    done = run_pipeline(spec, tmp_path / "root", "sweep")
    assert done.returncode == 0, done.stdout[-5000:]
    store, [run] = bot_runs(bot)
    steps = steps_of(store, run.info.run_id)
    assert {"trial-1", "trial-2", "choose", "finetune", "register"} < set(steps)
    best = steps["choose"].data.params
    searched = set(best) - {"trial"}
    assert searched
    assert {key: steps["finetune"].data.params[key] for key in searched} == {key: best[key] for key in searched}
    assert handed_on(s3_client, name) == []


def test_a_failed_run_keeps_what_its_steps_handed_on(mynah, kubeflow, on_server, bucket, tmp_path):
    """For another try, until it is pruned."""
    s3_client, name = bucket
    (tmp_path / "few.csv").write_text("text\n" + POSTS)
    spec = submitted(mynah, kubeflow, "--name", f"few-{CANARY}", "--from", tmp_path / "few.csv", "--basis", "permission")
    done = run_pipeline(spec, tmp_path / "root")
    assert done.returncode != 0
    assert "characters are left after filtering" not in done.stdout
    assert "characters are left after filtering" in logs(s3_client, name)["filter-1.log"]
    _, [run] = bot_runs(f"few-{CANARY}")
    assert run.info.status == "FAILED"
    assert sorted(key.split("/")[-2:] for key in handed_on(s3_client, name)) == [
        ["raw", ".handed-on.json"], ["raw", "posts.jsonl"], ["raw", "sources.json"],
    ]  # fmt: skip


def test_an_attempt_after_one_that_registered_finds_its_version(on_server, outputs, tmp_path, monkeypatch):
    """The process is killed between registering and promoting; the next attempt makes no second version."""
    from components.register import release as module

    store, name = Store.from_environment(), f"again-{CANARY}"
    run = start_run(name, RUN[:-1] + "9", store, {})
    folders = module.Outputs(*(outputs / each for each in ("model", "data", "report")), tmp_path / "card")
    at = Step(RunInputs(name, ["sample"], "fledgling"), Handover(str(tmp_path), tmp_path), run)
    monkeypatch.setattr(module, "card", lambda *_: shutil.copytree(outputs / "card", tmp_path / "card", dirs_exist_ok=True))
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        patch.setattr(module, "promote_registered", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            module.release(at, folders)
    assert [each.version for each in Registry(store).bot(name).versions] == [1]
    assert module.release(at, folders) == 1
    bot = Registry(store).bot(name)
    assert ([each.version for each in bot.versions], bot.aliases["champion"]) == ([1], 1)
    assert {step: run.info.status for step, run in steps_of(store, run).items()} == {
        "card": "FINISHED", "register": "FINISHED", "promote": "FINISHED",
    }  # fmt: skip
