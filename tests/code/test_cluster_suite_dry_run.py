"""A dry run of tests/cluster: it names only options and objects that are there, and deletes only what it made."""

import os
import re
import shlex
import shutil
import subprocess

import pytest
import typer

from pipelines.cli.main import app
from scripts.manifests.render import ROOT, render
from tests.conftest import needs
from tests.services.fake_kubectl import LEAN

KUBEFLOW = {  # k8s/README.md installs it
    "Deployment/ml-pipeline", "Deployment/workflow-controller", "Service/ml-pipeline", "Deployment/mysql", "Deployment/seaweedfs",
}  # fmt: skip
BOT = "e2e-[0-9a-f]{8}"
MADE = rf"namespace/{BOT}-(guest|stranger)|pod/{BOT}-step"


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory):
    """The commands of a dry run, each as its words."""
    folder = tmp_path_factory.mktemp("dry")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("E2E_")}
    kept |= {"PATH": f"{folder}:/usr/bin:/bin", "FAKE_KUBECTL": str(folder)} | LEAN
    for name in ("kubectl", "kind", "curl"):  # would be seen
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> {folder}/called\n")
        (folder / name).chmod(0o755)
    made = ["make", "--silent", "--assume-old=.venv/dev", "e2e", "CONTEXT=kind-mynah", "KIND=mynah"]
    kept |= {"E2E_DRY_RUN": "1", "E2E_FOLDER": str(folder / "e2e")}
    done = subprocess.run(made, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "called").exists()
    assert re.search(r"= \d+ passed in", done.stdout)  # and nothing else
    return [
        shlex.split(line[line.index("$ ") + 2 :]) for line in done.stdout.splitlines() if re.match(r"\S* ?\$ |.*::\w+ \$ ", line)
    ]


def test_it_names_only_options_that_mynah_knows(dry_run):
    group = typer.main.get_command(app)
    seen = set()
    for name, *words in (words[1:] for words in dry_run if words[0] == "mynah"):
        with group.commands[name].make_context(name, words):  # parses, and raises for what it does not know; runs nothing
            seen.add(name)
    assert seen == {
        "preflight", "submit", "runs", "logs", "show", "bots", "promote", "rollback", "deploy", "forget", "receipt", "cancel", "fleet",
        "schedules",
    }  # fmt: skip


def test_it_names_only_options_that_kubectl_knows(dry_run):
    needs(shutil.which("kubectl") is not None, "kubectl is not installed: k8s/README.md names its version")
    general = subprocess.run(["kubectl", "options"], capture_output=True, text=True).stdout
    helps = {}
    for words in (words[1:] for words in dry_run if words[0] == "kubectl" and words[1] == "--context"):
        assert words[:2] == ["--context", "kind-mynah"]
        verb = tuple(words[2:4]) if words[2] == "rollout" else (words[2],)
        if verb not in helps:
            helps[verb] = subprocess.run(["kubectl", *verb, "--help"], capture_output=True, text=True).stdout
        asked = words[: words.index("--")] if "--" in words else words
        for option in (word.partition("=")[0] for word in asked if word.startswith("-")):
            assert re.search(rf"(?<![\w-]){re.escape(option)}[=, ]", helps[verb] + general), f"kubectl {' '.join(verb)} {option}"
    assert {verb[0] for verb in helps} >= {
        "apply",
        "rollout",
        "wait",
        "port-forward",
        "exec",
        "delete",
        "get",
        "logs",
        "describe",
    }


def test_it_names_only_objects_that_the_overlay_holds(dry_run):
    needs(shutil.which("kubectl") is not None, "kubectl is not installed: k8s/README.md names its version")
    there = render("laptop").objects
    holds = {f"{each['kind']}/{each['metadata']['name']}".lower() for each in there if namespace(each) == "mynah"}
    services = [name for kind, name in (each.split("/") for each in holds) if kind == "inferenceservice"]
    holds |= {f"{kind}/{name}-predictor" for name in services for kind in ("service", "deployment")}
    ports = {
        each["metadata"]["name"]: [port["port"] for port in each["spec"]["ports"]] for each in there if each["kind"] == "Service"
    }
    ports |= {"aviary-predictor": [80], "ml-pipeline": [8888]}
    seen = set()
    for words in (words[3:] for words in dry_run if words[0] == "kubectl" and words[1] == "--context"):
        for thing in named(words):
            about = f"{' '.join(words)} names {thing}"
            if re.fullmatch(MADE, thing):  # by the suite itself
                continue
            if where(words) == "kubeflow":
                assert thing in {each.lower() for each in KUBEFLOW}, about
            else:
                assert where(words) == "mynah", about
                assert thing in holds or re.fullmatch(
                    rf"(inferenceservice/{BOT})|((service|deployment)/{BOT}-predictor)", thing
                ), about
            seen.add(thing)
        if words[0] == "port-forward":
            service, port = next(word for word in words if word.startswith("service/"))[8:], int(words[-2].rpartition(":")[2])
            assert port in ports.get(service, [80]), f"{service} has no port {port}"
    assert {
        "inferenceservice/aviary",
        "statefulset/s3",
        "deployment/mlflow",
        "secret/mynah-s3",
        "configmap/mynah-settings",
    } <= seen
    assert ["kubectl", "--context", "kind-mynah", "apply", "-k", "k8s/overlays/laptop"] in dry_run


def test_it_deletes_only_what_it_made(dry_run):
    deleted = [" ".join(words) for words in dry_run if "delete" in words or "DELETE" in words]
    ours = (
        rf"delete inferenceservice {BOT} --namespace mynah --ignore-not-found",
        rf"delete namespace {BOT}-(guest|stranger) --ignore-not-found --wait=false",
        rf"delete pod {BOT}-step --namespace kubeflow --ignore-not-found --wait=false",
        r"/apis/v2beta1/runs/[0-9a-f-]{36}$",
    )
    assert [text for text in deleted if not any(re.search(pattern, text) for pattern in ours)] == []
    assert {pattern for pattern in ours for text in deleted if re.search(pattern, text)} == set(ours)
    forgotten = {words[2] for words in dry_run if words[:2] == ["mynah", "forget"]}
    assert len(forgotten) == 4 and all(re.fullmatch(rf"{BOT}(-[abs])?", name) for name in forgotten)


def namespace(each):
    return each["metadata"].get("namespace")


def where(words):
    return words[words.index("--namespace") + 1] if "--namespace" in words else ""


def named(words):
    """KIND/NAME of what a command of kubectl names, in small letters."""
    found = [word for word in words[1:] if re.fullmatch(r"(statefulset|deployment|service|inferenceservice)/[\w-]+", word)]
    if words[0] in ("get", "delete") and not words[2].startswith("--"):
        found.append(f"{words[1]}/{words[2]}")
    return found
