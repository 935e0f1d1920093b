"""Which InferenceServices refer to bots, in all namespaces and on all pages; and how they are deleted."""

import subprocess
import sys
import time

import pytest
from fake_kubernetes import SERVICES

from mynah.kubernetes import cluster as cluster_module
from mynah.kubernetes.endpoint import Endpoint
from tests.services.cluster_client.cluster_services import fails_within, put_service

WREN = Endpoint("bots", "wren", "wren", ())


def endpoint(*uris):
    return Endpoint("bots", "wren", "", uris)


def test_importing_it_does_not_import_kubernetes():
    code = "import mynah.kubernetes.cluster, mynah.kubernetes.lease, sys; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# What an InferenceService refers to


def test_uris_are_found_in_every_place(kubernetes, cluster):
    container = {
        "name": "kserve-container",
        "env": [{"name": "STORAGE_URI", "value": "s3://b/env/"}, {"name": "A", "value": "s3://b/not"}],
    }
    spec = {
        "predictor": {
            "model": {"modelFormat": {"name": "huggingface"}, "storageUri": "s3://b/model/"},
            "huggingface": {"storageUri": "s3://b/legacy/"},
            "storageUris": [{"uri": "s3://b/many/1/", "mountPath": "/mnt/a"}, {"uri": "hf://me/many"}],
            "containers": [container],
            "volumes": [{"name": "STORAGE_URI", "value": "s3://b/not"}],
        },
        "transformer": {"containers": [{"env": [{"name": "STORAGE_URI", "value": "s3://b/transformer/"}]}]},
        "explainer": {"art": {"storageUri": "s3://b/explainer/"}},
        "canary": [
            {"predictor": {"model": {"storageUri": "s3://b/canary/"}}},
            {"predictor": {"model": {"storageUri": "s3://b/model/"}}},
        ],
    }
    kubernetes.put(SERVICES, "bots", "wren", metadata={"labels": {"mynah.dev/bot": "wren"}}, spec=spec)
    (found,) = cluster.endpoints()
    assert (found.namespace, found.name, found.bot) == ("bots", "wren", "wren")
    paths = ("model/", "legacy/", "many/1/", "env/", "transformer/", "explainer/", "canary/")
    assert sorted(found.storage_uris) == sorted([*(f"s3://b/{path}" for path in paths), "hf://me/many"])


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"predictor": {"model": {"storageUri": None}, "containers": [{"env": None}]}},
        {"predictor": {"model": {"storageUri": ""}, "containers": [{"env": [{"name": "STORAGE_URI"}]}]}},
        {
            "predictor": {
                "model": {"storageUri": {"uri": "s3://b/x"}},
                "containers": [{"env": [{"name": "STORAGE_URI", "valueFrom": {}}]}],
            }
        },
    ],
)
def test_a_service_without_uris_is_found_all_the_same(kubernetes, cluster, spec):
    kubernetes.put(SERVICES, "bots", "wren", spec=spec)
    assert cluster.endpoints() == [endpoint()]


@pytest.mark.parametrize(
    ("own", "asked", "refers"),
    [
        ("s3://b/bots/1", "s3://b/bots/1", True),
        ("s3://b/bots/1/", "s3://b/bots/1", True),
        ("s3://b/bots/1", "s3://b/bots/1/", True),
        ("s3://b/bots", "s3://b/bots/1", True),  # contains it
        ("s3://b/bots/1/model/", "s3://b/bots/1", True),  # lies below it
        ("s3://b", "s3://b/bots/1", True),
        ("s3://b/bots/10", "s3://b/bots/1", False),
        ("s3://b/bots/1", "s3://b/bots/10", False),
        ("s3://b/bots/2", "s3://b/bots/1", False),
        ("s3://bb/bots/1", "s3://b/bots/1", False),
        ("gs://b/bots/1", "s3://b/bots/1", False),
    ],
)
def test_uris_are_folders(own, asked, refers):
    assert endpoint("s3://other/x", own).refers_to(asked) is refers
    assert not endpoint().refers_to(asked)


# Listing


def test_all_namespaces_and_all_pages(kubernetes, cluster):
    for number in range(230):
        put_service(kubernetes, f"bot-{number:03}", f"s3://b/{number}/", namespace=("bots", "other")[number % 2])
    found = cluster.endpoints()
    assert sorted(each.name for each in found) == [f"bot-{number:03}" for number in range(230)]
    assert {each.namespace for each in found} == {"bots", "other"}
    assert [path.count("limit=100") for path in kubernetes.asked("list")] == [1, 1, 1]


def test_a_list_that_grows_too_old_is_taken_whole(kubernetes, cluster):
    for number in range(150):
        put_service(kubernetes, f"bot-{number:03}")
    kubernetes.tokens_too_old = True
    assert len({each.name for each in cluster.endpoints()}) == len(cluster.endpoints()) == 150


def test_without_kserve_there_is_none(kubernetes, cluster):
    kubernetes.kinds.discard(SERVICES)
    assert cluster.endpoints() == []


# Deleting


def test_delete_waits_for_all_that_belongs_to_it(kubernetes, cluster):
    put_service(kubernetes, "wren")
    put_service(kubernetes, "heron")
    kubernetes.seconds_to_collect = 0.7
    started = time.monotonic()
    cluster.delete(WREN)
    assert time.monotonic() - started > 0.7
    assert [each.name for each in cluster.endpoints()] == ["heron"]
    assert kubernetes.asked("delete") == [
        "/apis/serving.kserve.io/v1beta1/namespaces/bots/inferenceservices/wren?propagationPolicy=Foreground"
    ]


def test_delete_what_is_gone_already(kubernetes, cluster):
    cluster.delete(WREN)
    kubernetes.kinds.discard(SERVICES)
    cluster.delete(WREN)


def test_delete_names_the_finalizers_that_hold_it(kubernetes, cluster):
    put_service(kubernetes, "wren", finalizers=["inferenceservice.finalizers"])
    said = fails_within(60, lambda: cluster.delete(WREN, timeout=0.3))
    assert "inferenceservice.finalizers" in said and "bots/wren" in said


def test_delete_of_what_is_made_again_at_once(kubernetes, cluster, monkeypatch):
    put_service(kubernetes, "wren")

    def make_again(_seconds):
        put_service(kubernetes, "wren")

    monkeypatch.setattr(cluster_module.time, "sleep", make_again)
    kubernetes.seconds_to_collect = 60
    assert "created it again" in fails_within(60, lambda: cluster.delete(WREN))


def test_delete_that_is_forbidden(kubernetes, cluster):
    put_service(kubernetes, "wren")
    kubernetes.forbidden.add(("delete", SERVICES))
    assert "cannot delete" in fails_within(60, lambda: cluster.delete(WREN))
    assert cluster.endpoints()
