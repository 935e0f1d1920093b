"""`mynah runs`, `logs` and `cancel`."""

import json
import re

from tests.services.kubeflow_commands import STEPS, refused
from tests.services.pipeline_runs import on_a_terminal


def test_runs_page_by_page(mynah, kubeflow):
    kubeflow.max_page = 10
    made = [kubeflow.add_run(f"wren-{number}", at=("SUCCEEDED", {})) for number in range(25)]
    listed = json.loads(mynah("runs", "-n", "23", "--json").stdout)
    assert [each["run"] for each in listed] == made[::-1][:23]
    assert json.loads(mynah("runs", "-n", "3", "--json").stdout) == listed[:3]
    assert made[-1][:8] in mynah("runs").stdout
    kubeflow.runs.clear()
    assert "No runs yet" in mynah("runs").stdout


def test_one_run_with_what_it_waits_for(mynah, kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("RUNNING", {"fetch": "SUCCEEDED", "finetune": "PENDING"}))
    kubeflow.reasons = {"finetune": "ImagePullBackOff: [red]no\x1b[31m"}
    found = json.loads(mynah("runs", run_id[:8], "--json").stdout)
    assert (found["state"], found["reasons"]) == ("RUNNING", kubeflow.reasons)
    assert [(each["step"], each["state"]) for each in found["steps"]] == [("fetch", "SUCCEEDED"), ("finetune", "PENDING")]
    shown = mynah("runs", run_id).stdout
    assert "[red]no" in shown
    assert "\x1b" not in shown
    refused(mynah("runs", "ffffffff"), 2, "there is no run 'ffffffff'")
    refused(mynah("runs", "0" * 36), 2, "there is no run '0000")
    twin = f"{run_id[:8]}-0000-0000-0000-000000000000"
    kubeflow.runs[twin] = {**kubeflow.runs[run_id], "run_id": twin}
    refused(mynah("runs", run_id[:8]), 2, "several runs begin with")


def test_a_terminal_gets_a_table(kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("SUCCEEDED", dict.fromkeys(STEPS, "SUCCEEDED")))
    code, said = on_a_terminal("runs", run_id, "--follow")
    assert code == 0, said
    assert said.count("wren-1: succeeded") >= 2  # while it was followed, and at the end
    assert re.search(r"✓ +│ +finetune +│ +succeeded", said)


def test_logs(mynah, kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("FAILED", {"fetch": "SUCCEEDED", "finetune#1": "FAILED", "finetune#2": "RUNNING"}))
    kubeflow.logs = {"wf-1-system-container-impl-102": "fetched\n", "wf-1-system-container-impl-112": "epoch 1\x1b[31m\n"}
    assert mynah("logs", run_id[:8], "fetch").stdout == "fetched\n"
    kubeflow.reasons = {"finetune#1": "OOMKilled (exit code 137)"}
    kubeflow.logs["wf-1-system-container-impl-122"] = "epoch 2\n"
    done = mynah("logs", run_id[:8], "finetune")
    assert done.stdout == (
        "── wf-1-system-container-impl-112 (failed)\nepoch 1\ufffd[31m\n── wf-1-system-container-impl-122 (running)\nepoch 2\n"
    )
    assert "OOMKilled" in done.stderr
    del kubeflow.logs["wf-1-system-container-impl-112"]  # with its pod; the second attempt's log is there all the same
    done = mynah("logs", run_id[:8], "finetune")
    assert done.stdout.endswith("── wf-1-system-container-impl-122 (running)\nepoch 2\n")
    assert "the log of pod wf-1-system-container-impl-112 is gone" in done.stderr
    refused(mynah("logs", run_id[:8], "evaluate"), 3, "has written nothing yet", f"pipeline/runid={run_id}")
    refused(mynah("logs", run_id[:8], "fly"), 2, "there is no step 'fly'", "finetune")
    kubeflow.logs.clear()
    refused(mynah("logs", run_id[:8], "fetch"), 2, "the log of pod wf-1-system-container-impl-102 is gone")


def test_logs_where_argo_retries_every_template(mynah, kubeflow):
    """As a default of a stock Kubeflow 2.17 has it: each node is then an attempt, and named so."""
    run_id = kubeflow.add_run("wren-1", at=("RUNNING", {"fetch": "SUCCEEDED", "finetune": "RUNNING"}))
    kubeflow.attempt = "(0)"
    kubeflow.logs = {"wf-1-system-container-impl-112": "epoch 1\n"}
    assert mynah("logs", run_id[:8], "finetune").stdout == "epoch 1\n"


def test_canceling(mynah, kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("RUNNING", {}))
    assert json.loads(mynah("cancel", run_id[:8], "--json").stdout) == {"run": run_id, "state": "CANCELING"}
    assert kubeflow.runs[run_id]["canceled"]
    refused(mynah("cancel", run_id), 2, "is over: canceled")
