"""The cluster's pipeline: what begins, skips and ends a run, and the pipeline itself by Kubeflow's local runner."""

import json
import os
import subprocess
import sys

import pytest

from components.begin import begin
from components.close import as_csv, as_markdown, close
from components.errors import InputError
from components.fetch import fetch
from components.files import digest
from components.filter import FilterSettings, filter_posts
from components.news import SKIPPED_TAG, version_with
from components.register import _add_version
from components.store import client, open_store
from components.tracking import step_run

RUN = "0c5a2b0e-0000-0000-0000-000000000001"
LOCAL = """
import sys
from kfp import local
from pipelines.bot import on_a_cluster
from pipelines.local import _keep_python3_in_parameters
from pipelines.placing import Placement

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
    first = begin("wren", RUN, store, {"rules": "default"})
    assert begin("wren", RUN, store, {"rules": "default"}) == first
    assert begin("lark", RUN, store, {}) != first
    with pytest.raises(InputError, match="can't be a bot's name"):
        begin("Wren!", RUN, store, {})


def test_every_run_is_ended_and_told(store):
    kfp_run = RUN[:-1] + "2"
    runs = {name: begin(name, kfp_run, store, {}) for name in ("good", "bad", "idle", "none", "refused")}
    for name, last in (("good", "promote"), ("bad", "finetune"), ("idle", "news"), ("refused", "promote")):
        try:
            with step_run(last, store, runs[name]) as step:
                if name == "bad":
                    raise InputError("no")
                step.tags({"good": {"mynah.promotion": "promoted", "mynah.version": "3"}, "idle": {SKIPPED_TAG: "nothing new"},
                           "refused": {"mynah.promotion": "refused: it trails | [x](http://evil)"}}[name])  # fmt: skip
        except InputError:
            assert name == "bad"
    found = close(kfp_run, store, ["good", "bad", "idle", "none", "refused", "never"])
    assert {each.bot: each.outcome for each in found} == {
        "good": "promoted", "bad": "failed in finetune", "idle": "skipped: nothing new", "none": "failed before the first step",
        "refused": "refused: it trails | [x](http://evil)", "never": "failed in begin",
    }  # fmt: skip
    ended = {name: status(store, run_id) for name, run_id in runs.items()}
    assert ended == {"good": "FINISHED", "bad": "FAILED", "idle": "FINISHED", "none": "FAILED", "refused": "FINISHED"}
    assert close(kfp_run, store) == [each for each in found if each.mlflow_run]  # tried again
    assert as_csv(found).splitlines()[1].startswith("good,promoted,3,,")
    assert "[x](http" not in as_markdown(found)
    assert all(line.count("|") == 7 for line in as_markdown(found).splitlines())


def test_a_canceled_run_is_killed(store):
    kfp_run = RUN[:-1] + "3"
    run = begin("wren", kfp_run, store, {})
    close(kfp_run, store, status="KILLED")
    assert status(store, run) == "KILLED"


def test_the_whole_pipeline_where_there_is_nothing_new(tmp_path):
    """By Kubeflow's own runner: exit handler and condition hold, and the run ends well without a model."""
    store = open_store(tmp_path / "work")
    fetch(["sample"], tmp_path / "raw")
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(seed=42))
    assert version_with("wren", tmp_path / "data", store) == 0
    tags = {
        "mynah.data_digest": digest(tmp_path / "data" / "train.jsonl"),
        "mynah.held_out_digest": digest(tmp_path / "data" / "held_out.jsonl"),
    }
    api = client(store.tracking_uri)
    run = begin("wren", RUN, store, {})
    model = api.create_logged_model(api.get_run(run).info.experiment_id, "wren")
    _add_version("wren", store, run, model.model_id, tags)
    environment = os.environ | {"MLFLOW_TRACKING_URI": store.tracking_uri, "PYTHONWARNINGS": "ignore", "_KFP_RUNTIME": "false"}
    command = [sys.executable, "-c", LOCAL, str(tmp_path / "root")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    [table] = (tmp_path / "root").rglob("close/outcomes")
    assert "wren,skipped: nothing new since version 1," in table.read_text()
    assert not list((tmp_path / "root").rglob("finetune"))
    last = api.search_runs([api.get_run(run).info.experiment_id], f"tags.`{SKIPPED_TAG}` != '' and tags.`mynah.bot` = 'wren'")
    assert [each.info.status for each in last] == ["FINISHED"]
    assert json.loads(last[0].data.tags["mynah.authors"])
