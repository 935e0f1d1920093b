"""A create that fails after it made its run: what was made is looked for, and nothing is made twice."""

import json
import time

import pytest

from pipelines.kubeflow import client as kubeflow_client
from tests.services.fake_kubeflow import BROKEN
from tests.services.kubeflow_commands import SUBMIT, refused

BEFORE = [None, None, None]  # the requests before the create: health, the experiment looked for, the experiment made


def creates(kubeflow):
    return [
        request.path for request in kubeflow.requests if request.method == "POST" and not request.path.endswith("experiments")
    ]


def cut(handler):
    """Make what was asked for, and close the connection without an answer."""
    handler.fake.respond(handler.fake.requests[-1])
    handler.close_connection = True


def hang(handler):
    """Make what was asked for, and answer too late."""
    handler.fake.respond(handler.fake.requests[-1])
    time.sleep(1.5)
    handler.close_connection = True


@pytest.mark.parametrize("options", [(), ("--schedule", "0 3 * * 1")], ids=["run", "schedule"])
@pytest.mark.parametrize("failure", ["500", "cut", "hang"])
def test_what_was_made_all_the_same_goes_on(mynah, kubeflow, monkeypatch, options, failure):
    if failure == "500":
        kubeflow.create_fails_after = True
    else:
        monkeypatch.setattr(kubeflow_client, "READ", 1.0)
        kubeflow.failures = [*BEFORE, {"cut": cut, "hang": hang}[failure]]
    done = mynah(*SUBMIT, *options, "--no-wait", "--json")
    assert done.returncode == 0, done.stderr
    made = [*kubeflow.runs, *(each["recurring_run_id"] for each in kubeflow.recurring)]
    said = json.loads(done.stdout)
    assert [said.get("run") or said["recurring_run"]] == made
    assert len(creates(kubeflow)) == 1
    assert "was made, and goes on" in done.stderr


@pytest.mark.parametrize("options", [(), ("--schedule", "0 3 * * 1")], ids=["run", "schedule"])
def test_what_was_not_made_is_told_and_not_sent_again(mynah, kubeflow, options):
    kubeflow.failures = [*BEFORE, BROKEN]
    done = mynah(*SUBMIT, *options, "--no-wait")
    refused(done, 3, "database is locked", "is listed there", "unlisted Workflow", "get workflows,scheduledworkflows")
    assert len(creates(kubeflow)) == 1
    assert (kubeflow.runs, kubeflow.recurring) == ({}, [])


def test_what_cannot_be_looked_for_says_what_to_check(mynah, kubeflow):
    kubeflow.failures = [*BEFORE, *[BROKEN] * 4]
    done = mynah(*SUBMIT, "--no-wait")
    refused(done, 3, "database is locked", "whether mynah-", "was made cannot be looked for", "mynah runs")
    assert len(creates(kubeflow)) == 1


def test_a_run_of_another_name_is_not_taken_for_it(mynah, kubeflow):
    kubeflow.add_run("wren-20200101-000000")
    kubeflow.failures = [*BEFORE, BROKEN]
    refused(mynah(*SUBMIT, "--no-wait"), 3, "is listed there")


def test_a_refusal_is_told_as_it_is(mynah, kubeflow):
    done = mynah(*SUBMIT, "--no-wait", "--schedule", "0 3 * * 1", "--json")
    assert done.returncode == 0
    kubeflow.instead = (400, {"Content-Type": "application/json"}, '{"code": 3, "message": "too large"}')
    refused(mynah(*SUBMIT, "--no-wait"), 3, "too large")
