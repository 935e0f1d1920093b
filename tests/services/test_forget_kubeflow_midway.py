"""Forgetting on a cluster where something comes between: a Kubeflow that goes away, runs that begin meanwhile or are lost, what others have."""

import json
import uuid

import pytest
from registry_inputs import unique

from mynah.core.errors import InputError
from mynah.mlflow_client.store import Store
from mynah.registry.forgotten_authors import mark_forgotten
from tests.services.kubeflow_commands import refused
from tests.services.test_forget_kubeflow import cluster, forget, receipts  # noqa: F401 - fixtures

LONG_AGO = "2026-11-01T03:00:00Z"
PARTS = ("kubeflow-run", "kubeflow-schedule")


def items_in_kubeflow(record):
    return {item["address"] for item in record["items"] if item["kind"] in PARTS}


def test_a_kubeflow_that_goes_away_at_any_moment_signs_nothing_until_it_is_back(cluster, forget, tmp_path):  # noqa: F811
    bot, fake = unique("wren"), cluster.kubeflow
    spec = cluster.submitted(bot)
    schedule = cluster.scheduled({"spec": spec})
    runs = [cluster.run(bot, spec=spec, schedule=schedule, state=state) for state in ("RUNNING", "SUCCEEDED")]
    attempts = 0
    while attempts == 0 or done.returncode:  # noqa: F821 - of the attempt before
        fake.answers_left = 1 + 3 * attempts
        done = forget(bot)
        attempts += 1
        if done.returncode:
            refused(done, 3, "failed (503)")
            assert receipts(tmp_path) == []
    assert attempts > 4
    [record] = receipts(tmp_path)
    assert items_in_kubeflow(record) == {schedule, *runs}
    assert (cluster.object_keys(), fake.runs, fake.recurring) == ([], {}, [])


def test_a_kubeflow_that_never_comes_back_is_left_out_and_what_was_found_there_named(cluster, forget, tmp_path):  # noqa: F811
    bot, fake = unique("wren"), cluster.kubeflow
    spec = cluster.submitted(bot)
    schedule = cluster.scheduled({"spec": spec})
    run = cluster.run(bot, spec=spec, schedule=schedule)
    fake.may_only_read = True
    refused(forget(bot), 3, "does not allow it (403)")
    fake.may_only_read = False
    done = forget(bot, "--without-kubeflow")
    assert done.returncode == 0, done.stderr
    [record] = receipts(tmp_path)
    assert items_in_kubeflow(record) == set()
    for kind, left in (("run", run), ("schedule", schedule)):
        assert f"the kubeflow {kind} {left}, found by an earlier attempt" in record["not_searched"]
    assert cluster.object_keys() == []
    assert forget(bot, "--receipt", tmp_path / "again.json").returncode == 0  # Kubeflow is back: tombstones lead there
    assert (fake.runs, fake.recurring) == ({}, [])
    assert items_in_kubeflow(json.loads((tmp_path / "again.json").read_text())) == {run, schedule}


def test_what_was_left_of_one_makes_no_other_name_known(cluster, forget, tmp_path):  # noqa: F811
    bot = unique("wren")
    cluster.run(bot)
    assert forget(bot, "--without-kubeflow").returncode == 0
    refused(forget(unique("lark")), 2, "there is nothing of lark")
    assert len(receipts(tmp_path)) == len(cluster.kubeflow.runs) == 1


def test_a_run_that_began_since_the_search_is_ended_before_it_is_deleted(cluster, forget, tmp_path):  # noqa: F811
    bot, fake = unique("wren"), cluster.kubeflow
    spec = cluster.submitted(bot)
    schedule = cluster.scheduled({"spec": spec})
    run, began = cluster.run(bot, spec=spec, schedule=schedule, state="RUNNING"), []

    def begin():
        fake.on_terminate = lambda: None
        began.append(cluster.run(bot, spec=spec, schedule=schedule, state="RUNNING", recorded=False))

    fake.on_terminate = begin
    done = forget(bot)
    assert done.returncode == 0, done.stderr
    changes = [each.path.rpartition("/")[2] for each in fake.requests if each.method != "GET"]
    assert changes.index(f"{began[0]}:terminate") < changes.index(run)
    [record] = receipts(tmp_path)
    assert items_in_kubeflow(record) == {schedule, run, *began}
    assert (cluster.object_keys(), fake.runs) == ([], {})


@pytest.mark.parametrize("asked", ["RUNNING", "CANCELING"])
def test_a_run_whose_workflow_is_gone_stops_no_forgetting(cluster, forget, asked):  # noqa: F811
    bot, fake = unique("wren"), cluster.kubeflow
    run = cluster.run(bot, state=asked)
    fake.runs[run]["created_at"] = LONG_AGO
    fake.lost.add(run)
    done = forget(bot)
    assert done.returncode == 0, done.stderr
    assert (cluster.object_keys(), fake.runs) == ([], {})


def test_what_others_run_under_the_same_name_stays(cluster, forget):  # noqa: F811
    bot, fake = unique("wren"), cluster.kubeflow
    cluster.run(bot)
    theirs = {
        fake.add_run(bot, runtime_config={"parameters": {"rate": 0.1}}),
        fake.add_run(f"{bot}-20261130-000000", runtime_config={"parameters": {"name": bot}}, at=("RUNNING", {})),
        fake.add_run(f"{bot}-20261130-000001"),
    }
    schedule = cluster.scheduled({"name": bot})
    assert forget(bot).returncode == 0
    assert set(fake.runs) == theirs
    assert [(each["recurring_run_id"], each["status"]) for each in fake.recurring] == [(schedule, "ENABLED")]


def test_a_fleets_schedule_goes_on_and_is_named(cluster, forget, tmp_path):  # noqa: F811
    wren, lark = unique("wren"), unique("lark")
    schedule = cluster.scheduled({"specs": [cluster.submitted(bot) for bot in (wren, lark)]})
    done = forget(wren)
    assert done.returncode == 0, done.stderr
    assert f"the schedule {schedule} in Kubeflow, which goes on for other bots" in done.stderr
    assert any(schedule in place for place in receipts(tmp_path)[0]["not_searched"])
    assert forget(lark).returncode == 0
    assert (cluster.kubeflow.recurring, cluster.object_keys()) == ([], [])  # nobody is left of it


def test_of_a_shared_kubeflow_the_receipt_names_the_namespace(cluster, forget, tmp_path):  # noqa: F811
    bot = unique("wren")
    cluster.run(bot)
    cluster.kubeflow.multi_user = True
    refused(forget(bot, "--namespace", "other"), 3, "does not allow it (403)")
    assert receipts(tmp_path) == []
    assert forget(bot, "--namespace", "ann").returncode == 0
    [record] = receipts(tmp_path)
    assert any(place.endswith(f"{cluster.kubeflow.url} (namespace ann)") for place in record["searched"])
    assert any(place.startswith("other namespaces of Kubeflow Pipelines") for place in record["not_searched"])


def test_runs_that_this_kubeflow_does_not_know_are_told(cluster, forget, tmp_path):  # noqa: F811
    bot = unique("wren")
    cluster.submitted(bot)
    cluster.record(bot, str(uuid.uuid4()), "ann")
    assert forget(bot).returncode == 0
    assert any(place.startswith("1 run that MLflow records") for place in receipts(tmp_path)[0]["not_searched"])


def test_a_receipt_says_what_it_does_not_cover(cluster, forget, mynah, tmp_path):  # noqa: F811
    bot = unique("wren")
    cluster.run(bot)
    assert forget(bot, "--without-kubeflow").returncode == 0
    [path] = (tmp_path / "work" / "receipts").glob("*.json")
    told = mynah("receipt", path, "--workdir", tmp_path / "work")
    assert told.returncode == 0, told.stderr
    genuine, *rest = told.stdout.splitlines()
    assert genuine.endswith("are still gone.")
    assert any("Kubeflow Pipelines (--without-kubeflow)" in line for line in rest)
    record = json.loads(mynah("receipt", path, "--workdir", tmp_path / "work", "--json").stdout)
    assert [f"Not searched, by this receipt: {place}" for place in record["not_searched"]] == rest


@pytest.mark.parametrize("how", ["fleet", "alone"])
def test_the_exit_handler_writes_nothing_below_an_id_that_was_erased(cluster, forget, how):  # noqa: F811
    from components.finish_run.component import finish_run

    wren, lark = unique("wren"), unique("lark")
    specs = [cluster.submitted(bot) for bot in (wren, lark)]
    assert forget(wren).returncode == 0
    kfp_run = str(uuid.uuid4())
    if how == "alone":
        finish_run.python_func(kfp_run, specs[0], [])
    else:
        cluster.record(lark, kfp_run, "ann")
        finish_run.python_func(kfp_run, "", specs)
    assert cluster.object_keys(cluster.ids[wren].prefix) == []
    assert any("finish-run" in key for key in cluster.object_keys(cluster.ids[lark].prefix)) is (how == "fleet")


def test_an_author_who_is_forgotten_between_two_steps_is_not_trained_on(cluster):  # noqa: F811
    from components.fetch.component import fetch
    from components.filter.component import filter_posts

    bot, author, kfp_run = unique("wren"), unique("zoe").replace("-", "_"), str(uuid.uuid4())
    cluster.put("theirs.jsonl", cluster.post(author))
    spec = cluster.submitted(bot, [f"s3://{cluster.bucket}/theirs.jsonl"], "permission")
    fetched = fetch.python_func(spec, kfp_run, "")
    mark_forgotten(Store.from_environment(), author)  # `forget` searched before fetch had recorded whom it read
    with pytest.raises(InputError, match=f"@{author} asked on 2"):
        filter_posts.python_func(spec, kfp_run, fetched[1], raw=fetched[0])
