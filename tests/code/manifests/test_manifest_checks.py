"""Each check of k8s/ sees what it is there for, and what kubectl lacks or refuses is told."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from manifest_mutations import MUTATIONS

from mynah.core.errors import InputError
from scripts.manifests.checks import CHECKS, faults_of
from scripts.manifests.render import ROOT, build

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: f"{each.check}: {each.kind} {each.name}, {each.told}")
def test_what_is_broken_is_seen_by_its_check_alone(rendered, mutation):
    faults = faults_of(mutation.applied(rendered[mutation.overlay]))
    assert {fault.check for fault in faults} == {mutation.check}, "\n".join(map(str, faults))
    assert all(fault.where and fault.problem and fault.fix for fault in faults)


def test_every_check_has_a_mutation():
    assert {mutation.check for mutation in MUTATIONS} == {check.__name__ for check in CHECKS}


def test_a_fault_names_the_object_and_the_fix(rendered):
    mutation = next(each for each in MUTATIONS if each.told == "no slash")
    (fault,) = faults_of(mutation.applied(rendered["laptop"]))
    assert str(fault) == (
        "InferenceService/mynah/wren: the storageUri s3://mynah/bots/wren/1 has no last slash. "
        "Write s3://mynah/bots/wren/1/. [kserve_can_download]"
    )


def test_an_undocumented_secret_is_seen(rendered):
    untold = dataclasses.replace(rendered["gpu"], documented={})
    told = [fault for fault in faults_of(untold) if "'keys.json'" in fault.problem]
    assert {fault.where for fault in told} == {"InferenceService/mynah/aviary", "InferenceService/mynah/wren"}
    assert {fault.check for fault in faults_of(untold)} == {"secrets_exist_or_are_documented"}


def test_an_istio_that_restricted_namespaces_refuse_is_seen(rendered):
    told = rendered["gpu"].readme.replace("gateways.seccompProfile", "gateways.profile")
    (fault,) = faults_of(dataclasses.replace(rendered["gpu"], readme=told))
    assert (fault.check, fault.where) == ("pods_are_restricted", "Gateway/mynah/mynah")


def test_without_kubectl_it_says_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.manifests"],
        cwd=ROOT,
        env=os.environ | {"PATH": "/nowhere"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "kubectl is not installed" in done.stderr


def test_what_kubectl_refuses_is_told_in_its_words(tmp_path: Path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(InputError, match=r"missing\.yaml"):
        build(tmp_path)
