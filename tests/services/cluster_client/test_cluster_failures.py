"""API servers that fail in every way: each is told in words that a person can act on."""

import pytest
from fake_kubernetes import SERVICES, silent_server

from tests.services.cluster_client.cluster_services import fails_within, put_service


def test_credentials_that_are_not_valid(kubernetes, reach):
    assert "401" in fails_within(60, reach(kubernetes.url, token="wrong").endpoints)


def test_forbidden_names_the_rule_that_is_needed(kubernetes, cluster):
    kubernetes.forbidden.add(("list", SERVICES))
    said = fails_within(60, cluster.endpoints)
    assert 'cannot list resource "inferenceservices"' in said
    assert "{apiGroups: [serving.kserve.io], resources: [inferenceservices], verbs: [get, list, delete]}" in said


def test_connection_refused(reach):
    said = fails_within(60, reach("http://127.0.0.1:9").endpoints)
    assert "127.0.0.1:9" in said and "refused" in said


def test_a_server_that_never_answers(reach):
    with silent_server() as url:
        assert "timed out" in fails_within(60, reach(url).endpoints)


def test_a_name_that_no_server_has(reach):
    assert "cannot be reached" in fails_within(60, reach("http://api.invalid").endpoints)


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, "<html>Welcome</html>"),
        (200, {}, "[]"),
        (200, {}, '{"healthy": true}'),
        (200, {"Content-Type": "application/octet-stream"}, "\x00\udcff".encode("utf-8", "surrogatepass").decode("latin-1")),
        (404, {}, "<html>Not found</html>"),  # else a mistaken address would read as a cluster without inference services
        (302, {"Location": "http://127.0.0.1:9/"}, ""),
        (500, {}, '{"kind": "Status", "message": "etcdserver: leader changed"}'),
        (503, {}, "[]"),
    ],
)
def test_answers_that_kubernetes_does_not_give(kubernetes, cluster, answer):
    kubernetes.instead = answer
    said = fails_within(60, cluster.endpoints)
    assert kubernetes.url in said
    assert "leader changed" in said or answer[0] != 500


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((429, {"Retry-After": "1"}, '{"kind": "Status", "message": "too many requests"}'), "too many requests"),
        ((200, {}, "<html>Maintenance</html>"), "Maintenance"),
    ],
)
def test_an_answer_that_breaks_later(kubernetes, cluster, answer, said):
    put_service(kubernetes, "wren")
    assert cluster.endpoints()
    kubernetes.instead = answer
    assert said in fails_within(60, cluster.endpoints)


def test_a_password_in_the_address_is_not_shown(reach):
    assert "secret" not in fails_within(60, reach("http://me:secret@127.0.0.1:9").endpoints)
