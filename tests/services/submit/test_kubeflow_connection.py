"""Answers that are none, servers that are away, and credentials, asked of Kubeflow's API over HTTP."""

import pytest

from pipelines.kubeflow import client as kubeflow_client
from tests.services.fake_kubeflow import LOGIN_PAGE, TOKEN
from tests.services.kubeflow_commands import SUBMIT, refused


def page(code, text, **headers):
    return code, {"Content-Type": "text/html", **headers}, text


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (page(200, LOGIN_PAGE), "sends unexpected responses"),
        (page(302, "", Location="/dex/auth"), "requires a login (302)"),
        (page(401, "Jwt is expired"), "requires a login (401)"),
        (page(403, "RBAC: access denied"), "does not allow it (403): Forbidden"),
        (page(404, "default backend - 404"), "refused it (404)"),
        (page(500, '{"code": 13, "message": "database is locked"}'), "failed (500): database is locked"),
        (page(503, "upstream connect error"), "failed (503)"),
        (page(200, '{"multi_user": '), "sends unexpected responses"),
    ],
)
def test_answers_that_are_none(mynah, kubeflow, instead, said):
    kubeflow.instead = instead
    for command in (SUBMIT, ("runs",), ("logs", "1", "fetch"), ("cancel", "1")):
        refused(mynah(*command), 3, f"Kubeflow Pipelines at {kubeflow.url} {said}")


def test_answers_that_are_cut_off_or_never_come(mynah, kubeflow, monkeypatch):
    kubeflow.cut = 5
    refused(mynah("runs"), 3, "cannot be reached")
    kubeflow.cut, kubeflow.delay = 0, 1.0
    monkeypatch.setattr(kubeflow_client, "READ", 0.1)
    refused(mynah("runs"), 3, "cannot be reached")


def test_no_kubeflow(mynah, kubeflow, monkeypatch):
    kubeflow.stop()
    refused(mynah("runs"), 3, f"{kubeflow.url} cannot be reached", "port-forward")
    refused(mynah("runs", "--endpoint", "ml-pipeline:8888"), 2, "'ml-pipeline:8888' is no address")
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    refused(mynah("runs"), 2, "no endpoint of Kubeflow Pipelines is set", "KF_PIPELINES_ENDPOINT")


def test_credentials(mynah, kubeflow, tmp_path):
    kubeflow.token = TOKEN
    refused(mynah("runs"), 3, "requires a login (401)", "KF_PIPELINES_TOKEN")
    assert mynah("runs", KF_PIPELINES_TOKEN=f"{TOKEN}\n").returncode == 0
    (tmp_path / "token").write_text("expired")
    refused(mynah("runs", "--token-file", tmp_path / "token"), 3, "has expired")
    from pipelines.kubeflow.api import Kubeflow

    (tmp_path / "token").write_text(TOKEN)
    api = Kubeflow.connect(token_file=tmp_path / "token")
    kubeflow.token = "another"
    (tmp_path / "token").write_text("another")  # as the kubelet does every hour
    assert api.runs(1) == []
    refused(mynah("runs", KF_PIPELINES_SA_TOKEN_PATH=str(tmp_path / "none")), 2, "there is no token in")
    kubeflow.token, kubeflow.cookie = "", "authservice_session=abc"
    assert mynah("runs", KF_PIPELINES_COOKIE=kubeflow.cookie).returncode == 0
    refused(mynah("runs", KF_PIPELINES_COOKIE="authservice_session=old"), 3, "requires a login")


def test_a_shared_kubeflow_wants_a_namespace(mynah, kubeflow):
    kubeflow.multi_user = True
    refused(mynah("runs"), 2, "is shared by several people", "--namespace")
    done = mynah(*SUBMIT, "--namespace", "ann")
    assert done.returncode == 0, done.stderr
    assert kubeflow.experiments[0]["namespace"] == "ann"
    refused(mynah("runs", "--namespace", "other"), 3, "does not allow it (403)", "User 'ann' is not authorized")
