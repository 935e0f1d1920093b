"""`mynah schedules`: what there is, with bots and outcomes, and how one is paused, resumed and removed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies

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
    assert {each["when"] for each in found.values()} == {"At 03:00, only on Monday"}
    assert all(each["next"].endswith("T03:00:00+00:00") for each in found.values())
    shown = mynah("schedules").stdout
    assert "At 03:00" in shown
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
    assert listed(mynah)[schedule]["when"] == "At 30 minutes past the hour, every 6 hours"
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
    assert listed(mynah)[schedule]["when"] == "At 3 minutes past the hour, only in January"
    assert listed(mynah)[schedule]["next"][4:] == "-01-01T00:03:00+00:00"


@pytest.mark.parametrize(
    ("cron", "words", "following"),
    [
        ("0 3 * * *", "At 03:00", "2026-12-02 03:00:00"), ("16 4 * * *", "At 04:16", "2026-12-01 04:16:00"),
        ("15 4 * * *", "At 04:15", "2026-12-02 04:15:00"), ("0 3 * * 1", "At 03:00, only on Monday", "2026-12-07 03:00:00"),
        ("0 3 * * MON,THU", "At 03:00, only on Monday and Thursday", "2026-12-03 03:00:00"),
        ("0 3 * * 0", "At 03:00, only on Sunday", "2026-12-06 03:00:00"), ("*/15 * * * *", "Every 15 minutes", "2026-12-01 04:30:00"),
        ("5 * * * *", "At 5 minutes past the hour", "2026-12-01 05:05:00"), ("0 */6 * * *", "Every 6 hours", "2026-12-01 06:00:00"),
        ("0 3 1 * *", "At 03:00, on day 1 of the month", "2027-01-01 03:00:00"),
        ("0 3 29 2 *", "At 03:00, on day 29 of the month, only in February", "2028-02-29 03:00:00"),
        ("0 3 13 * FRI", "At 03:00, on day 13 of the month, or on Friday", "2026-12-04 03:00:00"),
        ("30 0 3 * * 1-5", "At 03:00:30, Monday through Friday", "2026-12-02 03:00:30"),
    ],
)  # fmt: skip
def test_a_schedule_in_words_and_its_next_time(cron, words, following, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    six = kubeflow_cron(cron)
    assert in_words(six) == words
    assert str(next_time(six, NOW)) == f"{following}+00:00"


@pytest.mark.parametrize(
    "cron", ["", "garbage", "@daily", "61 0 3 * * *", "0 0 3 * * 7", "0 0 3 L * *", "0 0 3 * * 1#2", "0 0 3 * * * 2030"]
)
def test_a_schedule_that_kubeflow_would_not_take_is_shown_as_it_is(cron):
    assert in_words(cron) == cron
    assert next_time(cron, NOW) is None


def test_a_day_that_never_comes_has_no_next_time():
    assert next_time("0 0 3 31 2 *", NOW) is None


def field(lowest, highest):
    """A cron field and its values: *, a number, a list, a range, or steps."""
    number = strategies.integers(lowest, highest)
    lists = strategies.lists(number, min_size=1, max_size=3, unique=True)
    return strategies.one_of(
        strategies.just(("*", set(range(lowest, highest + 1)))),
        lists.map(lambda values: (",".join(map(str, values)), set(values))),
        strategies.integers(1, highest).map(lambda step: (f"*/{step}", set(range(lowest, highest + 1, step)))),
        lists.map(lambda values: (f"{min(values)}-{max(values)}", set(range(min(values), max(values) + 1)))),
    )


@given(
    fields=strategies.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
    after=strategies.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=strategies.just(UTC)),
)
def test_the_next_time_is_the_first_that_every_field_allows(fields, after):
    """The rule of robfig/cron v1 (spec.go), day by day: a field that begins with * restricts no day by itself."""
    texts, (minutes, hours, days, months, weekdays) = zip(*fields, strict=True)
    found = next_time(f"0 {' '.join(texts)}", after)
    both = not texts[2].startswith("*") and not texts[4].startswith("*")
    for number in range(400):
        day = after.date() + timedelta(days=number)
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month not in months or not (of_month or of_week if both else of_month and of_week):
            continue
        times = (
            datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
            for hour in sorted(hours)
            for minute in sorted(minutes)
        )
        if first := next((each for each in times if each > after), None):
            assert found == first
            return
    assert found is None or found > after + timedelta(days=390)
