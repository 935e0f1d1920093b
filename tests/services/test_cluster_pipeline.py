"""The cluster's pipeline: what begins, skips and ends a run, and the pipeline itself by Kubeflow's local runner."""

import json
import os
import subprocess
import sys

import pytest

from components.check_new_data.step import version_trained_on
from components.fetch.step import fetch
from components.filter.step import FilterSettings, filter_posts
from components.finish_run.step import as_csv, as_markdown, finish_run
from components.promote.step import promote_registered
from components.register.step import _add_version
from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.mlflow_client.client import client
from mynah.tracking.kfp_runs import SKIPPED_TAG, start_run
from mynah.tracking.open import open_store
from mynah.tracking.step_run import step_run

RUN = "0c5a2b0e-0000-0000-0000-000000000001"
LOCAL = """
import sys
from kfp import local
from pipelines.definitions.bot import on_a_cluster
from pipelines.local.runner import _keep_python3_in_parameters
from pipelines.placement import Placement

_keep_python3_in_parameters()
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
on_a_cluster(Placement())(name="wren", sources=["sample"], only_news=True)
"""


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
    lasts = {"good": "promote", "bad": "finetune", "idle": "check_new_data", "refused": "promote", "same": "promote"}
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
        "refused": "refused: it trails | [x](http://evil)", "never": "failed in start_run",
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
    assert as_csv(found).splitlines()[1].startswith("good,promoted,3,,")
    assert "[x](http" not in as_markdown(found)
    assert all(line.count("|") == 7 for line in as_markdown(found).splitlines())


def test_a_canceled_run_is_killed(store):
    kfp_run = RUN[:-1] + "3"
    run = start_run("wren", kfp_run, store, {})
    finish_run(kfp_run, store, status="KILLED")
    assert status(store, run) == "KILLED"


def test_the_whole_pipeline_where_there_is_nothing_new(tmp_path):
    """By Kubeflow's own runner: exit handler and condition hold, and the run ends well without a model."""
    store = open_store(tmp_path / "work")
    fetch(["sample"], tmp_path / "raw")
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(seed=42))
    assert version_trained_on("wren", tmp_path / "data", store) == 0
    tags = {
        "mynah.data_digest": digest(tmp_path / "data" / "train.jsonl"),
        "mynah.held_out_digest": digest(tmp_path / "data" / "held_out.jsonl"),
    }
    api = client(store.tracking_uri)
    run = start_run("wren", RUN, store, {})
    model = api.create_logged_model(api.get_run(run).info.experiment_id, "wren")
    _add_version("wren", store, run, model.model_id, tags, {})
    environment = os.environ | {"MLFLOW_TRACKING_URI": store.tracking_uri, "PYTHONWARNINGS": "ignore", "_KFP_RUNTIME": "false"}
    command = [sys.executable, "-c", LOCAL, str(tmp_path / "root")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    [table] = (tmp_path / "root").rglob("finish-run/outcomes")
    assert "wren,skipped: nothing new since version 1," in table.read_text()
    assert not list((tmp_path / "root").rglob("finetune"))
    last = api.search_runs([api.get_run(run).info.experiment_id], f"tags.`{SKIPPED_TAG}` != '' and tags.`mynah.bot` = 'wren'")
    assert [each.info.status for each in last] == ["FINISHED"]
    assert json.loads(last[0].data.tags["mynah.authors"])
