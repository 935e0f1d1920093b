"""The steps' logs in Mynah's bucket: what a pod prints itself, what `mynah logs` shows, and a bucket that refuses."""

import os
import signal
import subprocess
import textwrap
import time

import pytest

from tests.fork_client import RUN_CODE
from tests.services.kubeflow_commands import SUBMIT, refused

ID = "00112233445566aa"
KFP_RUN = "0c5a2b0e-0000-4000-8000-000000000001"
STEP = """
import os, sys, time
from components import step_log
from mynah.core.errors import InputError
step_log.SECONDS_BETWEEN_UPLOADS = 0.2

def work():
{body}

with step_log.step_log({spec!r}, {kfp_run!r}, {name!r}):
    print("[KFP Executor 2026-12-01 03:00:00,000 INFO]: Looking for component")
    work()
print("after the step")
"""
LAUNCHER = """I1129 03:00:00.123456      21 launcher_v2.go:191] input ComponentSpec:{
    "executorLabel": "exec-fetch"
}
[KFP Executor 2026-11-29 03:00:00,000 INFO]: Got executor_input:
{
    "inputs": {
        "parameterValues": {}
    }
}
<frozen runpy>:128: RuntimeWarning: 'kfp.dsl.executor_main' found in sys.modules after import of package 'kfp.dsl'
600 posts of @wren
{
I1129 03:00:09.123456      21 launcher_v2.go:151] publish success.
time="2026-11-29T03:00:10.000Z" level=info msg="sub-process exited" argo=true error="<nil>"
time=2026-11-29T03:00:10.000Z level=INFO msg="sub-process exited" argo=true
"""


@pytest.fixture
def bucket(bucket, s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


def spec(bucket):
    return f"s3://{bucket[1]}/runs/{ID}/spec.json#sha256={'0' * 64}"


def step(bucket, body, name="fetch", wait=True):
    """A step's process, whose pod output comes back."""
    code = STEP.format(body=textwrap.indent(textwrap.dedent(body), "    "), spec=spec(bucket), kfp_run=KFP_RUN, name=name)
    process = subprocess.Popen([*RUN_CODE, code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
    return (process.communicate(timeout=60)[0], process.returncode) if wait else process


def stored(bucket):
    client, name = bucket
    listed = client.list_objects_v2(Bucket=name, Prefix=f"runs/{ID}/{KFP_RUN}/logs/").get("Contents", [])
    return {
        each["Key"].rpartition("/")[2]: client.get_object(Bucket=name, Key=each["Key"])["Body"].read().decode() for each in listed
    }


def of_bots(kubeflow, bucket, state="SUCCEEDED", step_name="fetch"):
    """A run of Kubeflow whose parameters refer to the step's specification."""
    kubeflow.add_run(
        f"mynah-{ID}-20261201-030000", run_id=KFP_RUN, at=(state, {step_name: state}),
        runtime_config={"parameters": {"specs": [spec(bucket)]}},
    )  # fmt: skip
    kubeflow.runs = {run["run_id"]: run for run in kubeflow.runs.values()}
    return KFP_RUN


def test_a_pod_prints_no_names_and_the_bucket_has_everything(mynah, kubeflow, bucket):
    body = """
    print("600 posts of @wren")
    os.system("echo a child of @wren")
    raise InputError("@wren has no posts", "Ask @wren.")
    """
    pod, code = step(bucket, body)
    assert code == 1
    assert "wren" not in pod.replace("raise InputError", "").replace('"@wren has no posts", "Ask @wren."', "")
    assert f"fetch of run {ID} began" in pod
    assert f"its log: s3://{bucket[1]}/runs/{ID}/{KFP_RUN}/logs/fetch-1.log" in pod
    assert f"fetch of run {ID} ended with InputError after " in pod
    [text] = stored(bucket).values()
    for said in ("600 posts of @wren", "a child of @wren", "InputError: @wren has no posts\nAsk @wren."):
        assert said in text
    run_id = of_bots(kubeflow, bucket)
    assert mynah("logs", run_id, "fetch").stdout.startswith("600 posts of @wren\na child of @wren\n")
    assert mynah("logs", run_id, "fetch", "--all").stdout.startswith("[KFP Executor")


def test_each_attempt_has_a_log_of_its_own(mynah, kubeflow, bucket):
    bucket[0].put_object(Bucket=bucket[1], Key=f"runs/{ID}/spec.json", Body=b'{"name": "wren"}')
    for number in range(2):
        pod, code = step(bucket, f"print('attempt {number}')", "filter_posts")
        assert code == 0
        assert f"filter-posts of run {ID} finished after" in pod
        assert pod.endswith("after the step\n")
    assert sorted(stored(bucket)) == ["filter-posts-1.log", "filter-posts-2.log"]
    run_id = of_bots(kubeflow, bucket, step_name="filter-posts")
    assert mynah("logs", run_id, "filter").stdout == (
        "── wren: filter-posts, attempt 1\nattempt 0\n── wren: filter-posts, attempt 2\nattempt 1\n"
    )


def test_a_killed_step_leaves_what_was_sent(bucket):
    process = step(bucket, "print('before'); time.sleep(60)", "finetune", wait=False)
    deadline = time.monotonic() + 30
    while "before" not in "".join(stored(bucket).values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "before" in stored(bucket)["finetune-1.log"]


def test_a_bucket_that_refuses_fails_no_step(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    pod, code = step(bucket, "print('600 posts of @wren'); time.sleep(1)")
    assert code == 0
    assert pod.count("its log cannot be stored now (StoreRefused)") == 1
    assert "@wren" not in pod
    assert not stored(bucket)


def test_a_step_on_this_machine_prints_as_ever(tmp_path):
    code = STEP.format(body="    print('posts')", spec=str(tmp_path / "run.json"), kfp_run="", name="fetch")
    done = subprocess.run([*RUN_CODE, code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("posts\nafter the step\n")


def test_submit_tells_the_error_from_the_bucket(mynah, kubeflow, bucket):
    step(bucket, "raise InputError('only 12 characters are left', 'Add another source.')", "filter_posts")
    run_id = of_bots(kubeflow, bucket, "FAILED", "filter-posts")
    kubeflow.logs = {"wf-1-system-container-impl-102": "nothing\n"}
    refused(mynah("runs", run_id, "--follow"), 2, "failed in filter-posts: only 12 characters are left", "Add another source.")


def test_logs_of_earlier_versions_come_from_kubeflow_without_its_own_lines(mynah, kubeflow):
    run_id = kubeflow.add_run("wren-1", at=("SUCCEEDED", {"fetch": "SUCCEEDED"}))
    kubeflow.logs = {"wf-1-system-container-impl-102": LAUNCHER}
    assert mynah("logs", run_id, "fetch").stdout == "600 posts of @wren\n{\n"
    assert mynah("logs", run_id, "fetch", "--all").stdout == LAUNCHER


def test_logs_from_kubeflow_where_the_bucket_does_not_answer(mynah, kubeflow, bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    kubeflow.logs = {"wf-1-system-container-impl-102": "fetch began\n"}
    done = mynah("logs", of_bots(kubeflow, bucket), "fetch")
    assert done.stdout == "fetch began\n"
    assert "these are what the pods themselves printed" in done.stderr


def test_a_submitted_run_needs_no_bucket_for_its_error(mynah, kubeflow):
    """One of an earlier version, without a reference in its parameters."""
    kubeflow.script = [("FAILED", {"fetch": "FAILED"})]
    kubeflow.logs = {"wf-1-system-container-impl-102": "mynah.core.errors.InputError: there is no such thing\nName another.\n"}
    refused(mynah(*SUBMIT), 2, "failed in fetch: there is no such thing", "Name another.")
