"""Attempts of a step that Kubeflow repeats: after an error in the input, and after a death that nothing could record."""

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest

from components.finish_run.step import finish_run
from components.handover import publish_file
from components.run_inputs import RunInputs
from components.step_runtime import step as kubeflow_step
from mynah.core.errors import InputError, PlatformError
from mynah.mlflow_client.client import client
from mynah.registry.forgotten_bots import mark_bot_forgotten
from mynah.storage.run_files import RunFiles, new_id
from mynah.tracking import step_errors
from mynah.tracking.kfp_runs import runs_of, start_run
from mynah.tracking.open import open_store
from mynah.tracking.runs import end_run, start_parent, steps_of
from mynah.tracking.step_run import step_run
from tests.fork_client import RUN_CODE

RUN = "0c5a2b0e-0000-4000-8000-000000000001"
STEP = """
import sys, time
from mynah.mlflow_client.store import Store
from mynah.tracking import usage_meter
from mynah.tracking.step_run import step_run
usage_meter.SECONDS_BETWEEN_SAMPLES = 0.2
with step_run("finetune", Store(sys.argv[1]), sys.argv[2]):
    print("it runs", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "work")


def attempt(store, run, error=None, step="fetch"):
    """One attempt of a step: whether it did its work."""
    worked = False
    with contextlib.suppress(PlatformError), step_run(step, store, run):
        worked = True
        if error:
            raise error
    return worked


def test_an_error_in_the_input_is_not_tried_again(store):
    run = start_run("wren", RUN, store, {})
    error = InputError("there is no account @wren", "Correct --from.")
    with pytest.raises(InputError, match="there is no account @wren"):
        attempt(store, run, error)
    for _ in range(2):
        worked = False
        with pytest.raises(InputError) as raised, step_run("fetch", store, run):
            worked = True
        assert not worked
        assert (raised.value.problem, raised.value.fix) == (error.problem, error.fix)
    assert steps_of(store, run)["fetch"].info.status == "FAILED"
    [outcome] = finish_run(RUN, store)
    assert outcome.described == "failed in fetch: InputError: there is no account @wren"


def test_a_person_who_corrects_the_input_may_repeat_the_run(store, monkeypatch):
    run = start_run("wren", RUN, store, {})
    with pytest.raises(InputError):
        attempt(store, run, InputError("X_BEARER_TOKEN is not set"))
    monkeypatch.setattr(step_errors, "SECONDS_REFUSED", 0.0)
    assert attempt(store, run)


def test_an_error_of_the_platform_is_tried_again(store):
    run = start_run("wren", RUN, store, {})
    assert attempt(store, run, PlatformError("S3 is away"))
    assert attempt(store, run)
    assert steps_of(store, run)["fetch"].info.status == "FINISHED"


def test_on_a_laptop_the_next_attempt_is_a_persons(store):
    run = start_parent(store, "wren", {})
    with pytest.raises(InputError):
        attempt(store, run, InputError("there is no wren.zip"))
    assert attempt(store, run)


@pytest.fixture
def published(bucket, s3, store, tmp_path, monkeypatch):
    """Publish a specification in S3, with changes to its JSON; returns its reference."""
    for name, value in {**s3.environment, "MLFLOW_TRACKING_URI": store.tracking_uri}.items():
        monkeypatch.setenv(name, value)

    def publish(**changes):
        record = json.loads(RunInputs("wren", ["sample"], "fledgling", recipe={"preset": "tiny", "changes": {}}).to_bytes())
        (tmp_path / "spec.json").write_text(json.dumps(record | changes))
        return publish_file(RunFiles(bucket[1], new_id()).spec, tmp_path / "spec.json")

    return publish


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("fetch", {"wings": 2}, "has the unknown field 'wings'"),  # of another version of Mynah
        ("fetch", {"recipe": {"preset": "no-such", "changes": {}}}, "no-such"),
        ("filter", {"wings": 2}, "has the unknown field 'wings'"),
    ],
)
def test_an_error_before_the_steps_own_run_is_recorded_too_and_told(published, store, name, changes, said):
    """The first step has no run in MLflow yet; a later one reads the specification again."""
    run = start_run("wren", RUN, store, {}) if name == "filter" else ""
    spec = published(**changes)
    errors = []
    for _ in range(3):
        with pytest.raises(InputError) as raised, kubeflow_step(name, spec, RUN, run):
            pytest.fail("the step worked")
        errors.append((raised.value.problem, raised.value.fix))
    assert said in errors[0][0]
    assert errors == errors[:1] * 3
    [pipeline_run] = runs_of(RUN, store)
    step = steps_of(store, pipeline_run.info.run_id)[name]
    assert (step.info.status, step.data.tags.get("mynah.attempts", "1")) == ("FAILED", "1")  # the others ended before they began
    [outcome] = finish_run(RUN, store)
    assert outcome.bot == "wren"
    assert outcome.described.startswith(f"failed in {name}: InputError: ")
    assert said in outcome.described


@pytest.mark.parametrize("changes", [{}, {"wings": 2}])
def test_the_error_of_a_forgotten_bot_is_recorded_nowhere(published, store, changes):
    spec = published(**changes)
    mark_bot_forgotten(store, "wren")
    for _ in range(2):
        with (
            pytest.raises(InputError, match="was forgotten" if not changes else "unknown field"),
            kubeflow_step("fetch", spec, RUN, ""),
        ):
            pytest.fail("the step worked")
    assert runs_of(RUN, store) == []


def test_an_error_that_tells_no_bot_is_still_told(published, store):
    spec = published(name="Wren!", wings=2)
    with pytest.raises(InputError, match="unknown field"), kubeflow_step("fetch", spec, RUN, ""):
        pytest.fail("the step worked")
    assert runs_of(RUN, store) == []


def test_a_node_without_a_price_is_recorded_and_not_tried_again(store, monkeypatch):
    run = start_run("wren", RUN, store, {})
    monkeypatch.setenv("MYNAH_NODE_KIND", "moon")
    for _ in range(2):
        with pytest.raises(InputError, match="'moon' has no price"):
            attempt(store, run)
    monkeypatch.delenv("MYNAH_NODE_KIND")
    with pytest.raises(InputError, match="'moon' has no price"):  # for ten minutes, as every error in the input
        attempt(store, run)
    [outcome] = finish_run(RUN, store)
    assert outcome.described.startswith("failed in fetch: InputError: the node kind 'moon' has no price")


@pytest.mark.parametrize("tag", ["", "no JSON", "[]", "[1]", '["a", "b", "c"]', "{}", "[null, 1, 2]"])
def test_a_tag_that_somebody_else_wrote_stops_nothing(store, tag):
    run = start_run("wren", RUN, store, {})
    attempt(store, run)
    client(store.tracking_uri).set_tag(steps_of(store, run)["fetch"].info.run_id, "mynah.refused", tag)
    assert attempt(store, run)


@pytest.fixture
def priced(monkeypatch, tmp_path):
    """A node that costs ten dollars a second."""
    (tmp_path / "prices.yaml").write_text("huge: 36000\ncpu: 3.6\n")
    monkeypatch.setenv("MYNAH_PRICES", str(tmp_path / "prices.yaml"))
    monkeypatch.setenv("MYNAH_NODE_KIND", "huge")


def killed(store, run, seconds):
    """Kill a step that has run for so long."""
    process = subprocess.Popen([*RUN_CODE, STEP, store.tracking_uri, run], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout.readline() == "it runs\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_step_costs_what_it_ran(store, priced, mynah):
    run = start_run("wren", RUN, store, {})
    killed(store, run, 3)
    finish_run(RUN, store)
    done = mynah("costs", "wren", "--json", "--workdir", store.folder)
    [cost] = json.loads(done.stdout)[0]["steps"]
    assert cost["node"] == "huge"
    assert 3 <= cost["seconds"] < 30
    assert cost["cost_usd"] == pytest.approx(10 * cost["seconds"], rel=1e-3)


def test_a_run_that_is_closed_long_after_its_step_died_costs_what_it_ran(store, priced):
    run = start_run("wren", RUN, store, {})
    api = client(store.tracking_uri)
    began = int((time.time() - 7200) * 1000)  # two hours ago, for a minute
    tags = {"mlflow.parentRunId": run, "mynah.step": "finetune", "mynah.node": "huge", "mynah.attempt_started": str(began)}
    step = api.create_run(api.get_run(run).info.experiment_id, start_time=began, tags=tags).info.run_id
    for second in range(10, 61, 10):
        api.log_metric(step, "system/cpu_utilization_percentage", 50.0, began + 1000 * second, second)
    end_run(store, run, "FAILED")
    assert 60 <= float(steps_of(store, run)["finetune"].data.tags["mynah.seconds"]) <= 70


def test_the_next_attempt_adds_to_what_the_killed_one_ran(store, priced):
    run = start_run("wren", RUN, store, {})
    killed(store, run, 2)
    assert attempt(store, run, step="finetune")
    tags = steps_of(store, run)["finetune"].data.tags
    assert 2 <= float(tags["mynah.seconds"]) < 30
    assert float(tags["mynah.cost_usd"]) == pytest.approx(10 * float(tags["mynah.seconds"]), rel=1e-3)
