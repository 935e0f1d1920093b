"""`mynah schedules`: what there is, with bots and outcomes, and how one is paused, resumed and removed."""

import json
from datetime import UTC, datetime

import pytest

from mynah.mlflow_client.store import Store
from pipelines.kubeflow.cron import in_words, kubeflow_cron, next_time
from tests.services.kubeflow_commands import SUBMIT, refused
from tests.services.submit.test_run_outcomes import NOTHING_NEW, PROMOTED, REFUSED, record

NOW = datetime(2026, 12, 1, 4, 15, 30, tzinfo=UTC)  # a Tuesday


def add(kubeflow, display_name, cron="0 0 3 * * 1", **parameters):
    """A recurring run; returns its id."""
    kubeflow.recurring.append({
        "recurring_run_id": f"{len(kubeflow.recurring) + 1:08x}-0000-4000-8000-000000000000", "display_name": display_name,
        "status": "ENABLED", "trigger": {"cron_schedule": {"cron": cron}}, "runtime_config": {"parameters": parameters},
        "created_at": "2026-11-01T00:00:00Z",
    })  # fmt: skip
    return kubeflow.recurring[-1]["recurring_run_id"]


def listed(mynah):
    return {each["schedule"]: each for each in json.loads(mynah("schedules", "--json").stdout)}


def test_schedules_with_the_outcome_of_their_last_run(mynah, kubeflow, on_server):
    store = Store(on_server["MLFLOW_TRACKING_URI"])
    wanted = {"trained": PROMOTED, "refused": REFUSED, "nothing new": NOTHING_NEW, "failed": {}, "none yet": None, "canceled": {}}
    ids = {}
    for outcome, tags in wanted.items():
        ids[outcome] = add(kubeflow, "mynah-0011223344556677-20261101-000000")
        if tags is None:
            continue
        older = kubeflow.add_run("older", at=("SUCCEEDED", {}), recurring_run_id=ids[outcome], created_at="2026-11-10T00:00:00Z")
        record(store, older, f"bot-of-{outcome.replace(' ', '-')}", "promote", PROMOTED)
        state = "SUCCEEDED" if tags else "FAILED"
        newer = kubeflow.add_run("newer", at=(state, {}), recurring_run_id=ids[outcome], created_at="2026-11-20T00:00:00Z")
        if outcome == "canceled":
            kubeflow.runs[newer]["history"] = [{"state": "CANCELING"}]
        record(store, newer, f"bot-of-{outcome.replace(' ', '-')}", "fetch" if outcome == "failed" else "promote", tags)
    found = listed(mynah)
    assert {outcome: found[ids[outcome]]["last_outcome"] for outcome in wanted} == {outcome: outcome for outcome in wanted}
    assert found[ids["nothing new"]]["bot"] == "bot-of-nothing-new"
    assert {each["when"] for each in found.values()} == {"weekly on Monday at 03:00"}
    assert all(each["next"].endswith("T03:00:00+00:00") for each in found.values())
    shown = mynah("schedules").stdout
    assert "weekly on Monday" in " ".join(shown.split())
    assert "nothing new" in " ".join(shown.split())


def test_schedules_without_mlflow(mynah, kubeflow, bucket, s3, monkeypatch):
    """The name comes from the specification in the bucket, from an earlier version's parameter, or from nothing."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    client, name = bucket
    client.put_object(Bucket=name, Key="runs/00112233445566aa/spec.json", Body=b'{"name": "robin"}')
    of_bucket = add(kubeflow, "mynah-00112233445566aa-1", spec=f"s3://{name}/runs/00112233445566aa/spec.json#sha256={'0' * 64}")
    earlier = add(kubeflow, "wren-1", name="wren", sources=["s3://b/wren.zip"])
    fleet = add(kubeflow, "fleet-1", bots=[{"bot": "wren"}, {"bot": "lark"}])
    gone = add(kubeflow, "mynah-1", spec=f"s3://{name}/runs/ffffffffffffffff/spec.json#sha256={'0' * 64}")
    kubeflow.add_run("newer", at=("SUCCEEDED", {}), recurring_run_id=earlier)
    found = listed(mynah)
    assert {key: found[key]["bot"] for key in (of_bucket, earlier, fleet, gone)} == {
        of_bucket: "robin", earlier: "wren", fleet: "2 bots", gone: "unknown",
    }  # fmt: skip
    assert found[earlier]["last_outcome"] == "unknown"


def test_a_schedule_is_paused_resumed_and_removed(mynah, kubeflow):
    assert mynah(*SUBMIT, "--schedule", "30 */6 * * *").returncode == 0
    [made] = kubeflow.recurring
    schedule = made["recurring_run_id"]
    assert made["meant"] == "0 30 */6 * * *"
    assert json.loads(mynah("schedules", "pause", schedule[:8], "--json").stdout) == {"schedule": schedule, "state": "paused"}
    assert made["status"] == "DISABLED"
    assert (listed(mynah)[schedule]["enabled"], listed(mynah)[schedule]["next"]) == (False, "")
    assert "paused" in mynah("schedules").stdout
    assert mynah("schedules", "resume", schedule[:8]).stdout == f"{schedule} is resumed\n"
    assert made["status"] == "ENABLED"
    assert listed(mynah)[schedule]["when"] == "every 6 hours at minute 30"
    assert mynah("schedules", "remove", schedule).returncode == 0
    assert kubeflow.recurring == []
    assert "No schedules" in mynah("schedules").stdout
    refused(mynah("schedules", "pause", schedule), 2, "there is no schedule")
    twins = [add(kubeflow, "one"), add(kubeflow, "two")]
    refused(mynah("schedules", "remove", twins[0][:4]), 2, "several schedules begin with")
    assert len(kubeflow.recurring) == 2


def test_five_fields_that_somebody_gave_kubeflow_are_shown_as_it_reads_them(mynah, kubeflow):
    """Of the second first: "0 3 * * 1" comes in January, at minute 3 of each hour."""
    schedule = add(kubeflow, "by hand", "0 3 * * 1")
    assert listed(mynah)[schedule]["when"] == "3 * * 1 *"
    assert listed(mynah)[schedule]["next"][4:] == "-01-01T00:03:00+00:00"


@pytest.mark.parametrize(
    ("cron", "words", "following"),
    [
        ("0 3 * * *", "daily at 03:00", "2026-12-02 03:00:00"), ("15 4 * * *", "daily at 04:15", "2026-12-02 04:15:00"),
        ("16 4 * * *", "daily at 04:16", "2026-12-01 04:16:00"), ("0 3 * * 1", "weekly on Monday at 03:00", "2026-12-07 03:00:00"),
        ("0 3 * * MON,THU", "weekly on Monday, Thursday at 03:00", "2026-12-03 03:00:00"),
        ("0 3 * * 0", "weekly on Sunday at 03:00", "2026-12-06 03:00:00"), ("*/15 * * * *", "every 15 minutes", "2026-12-01 04:30:00"),
        ("5 * * * *", "every hour at minute 5", "2026-12-01 05:05:00"), ("0 */6 * * *", "every 6 hours at minute 0", "2026-12-01 06:00:00"),
        ("0 3 1 * *", "monthly on day 1 at 03:00", "2027-01-01 03:00:00"), ("0 3 29 2 *", "0 3 29 2 *", "2028-02-29 03:00:00"),
        ("0 3 13 * FRI", "0 3 13 * FRI", "2026-12-04 03:00:00"), ("30 0 3 * * 1-5", "30 0 3 * * 1-5", "2026-12-02 03:00:30"),
    ],
)  # fmt: skip
def test_a_schedule_in_words_and_its_next_time(cron, words, following):
    six = kubeflow_cron(cron)
    assert in_words(six) == words
    assert str(next_time(six, NOW)) == f"{following}+00:00"


@pytest.mark.parametrize("cron", ["", "garbage", "@daily", "0 0 3 31 2 *", "61 0 3 * * *"])
def test_a_schedule_that_nothing_understands_is_shown_as_it_is(cron):
    assert in_words(cron) in (cron, cron.removeprefix("0 "))
    assert next_time(cron, NOW) is None
