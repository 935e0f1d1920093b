"""Schedules, fleets and accounts: what is sent to the cluster, and what is refused before."""

import json
import re

import pytest

from components.run_inputs import read_inputs
from tests.services.kubeflow_commands import SUBMIT, refused, told


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
    assert re.fullmatch(r"mynah-[0-9a-f]{16}-\d{8}-\d{6}", made["display_name"])
    assert told(made).only_news is True
    assert "with-news" in json.dumps(made["pipeline_spec"])
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
    assert re.fullmatch(r"mynah-fleet-[0-9a-f]{16}-\d{8}-\d{6}", run["display_name"])
    specs = [read_inputs(spec) for spec in run["runtime_config"]["parameters"]["specs"]]
    assert [(each.name, each.sources, each.basis) for each in specs] == [
        ("wren", ["s3://b/wren.zip"], "public-figure-research"),
        ("lark", ["s3://b/lark.csv", "bsky://lark.example"], "permission"),
    ]
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "mynah-fleet"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no list of bots"), ("wren", "holds no list of bots"), ("- [", "cannot be read"), ("- 1", "bot 1 is 1"),
        ("- {name: wren}", "bot 1 is"), ("- {name: Wren!, from: sample}", "'Wren!' can't be a bot's name"),
        ("- {name: wren, from: []}", "has no sources"), ("- {name: wren, from: [1]}", "its from is no source"),
        ("- {name: wren, from: none.csv}", "none.csv"), ("- {name: wren, from: s3://}", "does not name an object"),
        ("- {name: wren, from: s3://b/1}\n- {name: wren, from: s3://b/2}", "is in the fleet twice"),
        ("- {name: wren, from: sample, age: 3}", "bot 1 is"),
        ("- {name: wren, from: s3://b/lark.csv}", "basis on which the posts may be used"),
        ("- {name: wren, from: bsky://lark.example}", "basis on which the posts may be used"),
        ("- {name: wren, from: s3://b/1, basis: none}", "unknown basis 'none'"),
        ("- {name: wren, from: x://wren, basis: permission}", "--max-cost"),
        ("- {name: wren, from: 'mastodon://ann:secret@host', basis: permission}", "is not an account"),
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
        (["--name", "wren", "--from", "s3://b/k", "--budget", "nan"], "budget"),
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
    inputs = told(run)
    assert (inputs.max_cost, inputs.basis) == (parameter, "own-account")
    assert inputs.sources == sources[1::2]


@pytest.mark.parametrize("command", [SUBMIT, ("fleet", "fleet.yaml")])
def test_a_run_needs_the_bucket_of_the_installation(mynah, kubeflow, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text("- {name: wren, from: 's3://b/wren.zip'}")
    monkeypatch.delenv("MYNAH_S3_BUCKET")
    refused(mynah(*command), 2, "no bucket is set", "MYNAH_S3_BUCKET or --bucket")
    assert kubeflow.requests == []
