"""Who reaches whom: what the end-to-end suite asks from pods, without a cluster."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.manifests.network import CONNECTIONS
from scripts.manifests.render import ROOT
from tests.cluster.asked import Asked
from tests.cluster.story import Story
from tests.cluster.ways import PROBE, SOURCES, TARGETS, differences, example_of, probers, ways_from
from tests.services import fake_kubectl
from tests.services.fake_kubectl import calls

ADDRESSES = {target: f"10.0.0.{number}" for number, target in enumerate(TARGETS)}


def test_the_probe_tells_open_ways_from_closed_ones():
    with socket.socket() as listening, socket.socket() as bound:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        bound.bind(("127.0.0.1", 0))
        ways = [f"127.0.0.1:{each.getsockname()[1]}" for each in (listening, bound)]
        done = subprocess.run([sys.executable, "-c", PROBE, *ways], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == {ways[0]: True, ways[1]: False}, done.stderr


def test_each_way_that_is_not_as_it_should_be_is_named():
    said = json.loads(example_of("aviary", ADDRESSES))
    assert differences("aviary", ADDRESSES, json.dumps(said)) == []
    said[f"{ADDRESSES['postgres']}:5432"] = True
    said[f"{ADDRESSES['mlflow']}:5000"] = False
    found = differences("aviary", ADDRESSES, json.dumps(said))
    assert found == ["aviary to mlflow:5000 is closed", "aviary to postgres:5432 is open"]


def test_the_table_of_the_readme_is_what_is_checked():
    """Each cell that is a yes or a no is a way that `make manifests` checks in the manifests, and the suite on a cluster."""
    text = (ROOT / "k8s/README.md").read_text("utf-8")
    table = text[text.index("### Who reaches whom") :].split("\n\n")[2]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    targets = [re.fullmatch(r"(.*) \((\d+)\)", cell) for cell in head[1:]]
    names = {"MLflow": "mlflow", "PostgreSQL": "postgres", "S3": "s3", "the aviary": "aviary", "a bot": "bot"}
    told = {
        (row[0].split(",")[0], names[target[1]], int(target[2]), cell == "yes")
        for row in rows for target, cell in zip(targets, row[1:], strict=True) if cell in ("yes", "no")
    }  # fmt: skip
    shown = {
        "MLflow": "mlflow",
        "the aviary": "aviary",
        "a bot": "bot",
        "a step": "step",
        "a namespace that may ask": "guest",
        "any other": "stranger",
    }
    told = {(shown[source], *rest) for source, *rest in told}
    known = {
        (way.source, way.target, way.port, way.is_open) for way in CONNECTIONS if way.source in SOURCES and way.target in TARGETS
    }
    assert told == known


def test_each_source_has_ways_to_try_both_open_and_closed():
    kinds = {source: {way.is_open for way in ways_from(source)} for source in SOURCES}
    assert all(kinds.values())
    assert {True, False} <= set().union(*kinds.values())


@pytest.fixture
def story(tmp_path, monkeypatch):
    kubectl = fake_kubectl.install(tmp_path, monkeypatch)
    told = Story(Asked("kind-mynah"), tmp_path / "kept")
    told.kubectls = kubectl
    return told


def test_a_way_that_is_open_and_should_not_be_is_told(story):
    said = json.loads(example_of("mlflow", ADDRESSES))
    (story.kubectls / "exec-deployment-mlflow.json").write_text(json.dumps(said))
    assert story.wrong_ways_at_last("mlflow", ADDRESSES, 0) == []
    (story.kubectls / "exec-deployment-mlflow.json").write_text(json.dumps(dict.fromkeys(said, False)))
    assert "mlflow to s3:8333 is closed" in story.wrong_ways_at_last("mlflow", ADDRESSES, 0)


def test_only_a_pod_that_is_ready_has_an_address(story):
    def pod(ip, ready):
        return {"status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]}}

    (story.kubectls / "get-pods.json").write_text(json.dumps({"items": [pod("10.0.0.1", "False"), pod("10.0.0.2", "True")]}))
    assert story.address_of("aviary") == "10.0.0.2"
    assert "serving.kserve.io/inferenceservice=aviary" in calls(story.kubectls)[-1]
    (story.kubectls / "get-pods.json").write_text(json.dumps({"items": []}))
    with pytest.raises(AssertionError, match="no pod of bot is ready"):
        story.address_of("bot")


def test_the_pods_that_ask_are_confined_and_removed(story, shared, tmp_path):
    story.commands.folder.mkdir()
    story.start_probers()
    files = [call[call.index("--filename") + 1] for call in calls(story.kubectls) if "apply" in call]
    items = [item for file in files for item in json.loads(Path(file).read_text())["items"]]
    assert {(item["kind"], item["metadata"].get("namespace", "")) for item in items} == {
        ("Namespace", ""), ("Pod", "kubeflow"), ("Pod", f"{story.bot}-stranger"), ("Pod", f"{story.bot}-guest"),
    }  # fmt: skip
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(items))
    done = subprocess.run(
        [sys.executable, shared / "tools" / "check-manifests", tmp_path / "all.yaml"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "0 faults" in done.stdout, done.stdout + done.stderr
    story.close()
    deleted = [call[2:5] for call in calls(story.kubectls) if call[2] == "delete"]
    expected = [
        ["delete", "pod", f"{story.bot}-step"],
        *(["delete", "namespace", f"{story.bot}-{each}"] for each in ("stranger", "guest")),
    ]
    assert deleted == expected and len(probers(story.bot)) == 3
