"""The pods of a run, and why they wait or failed: read from Argo's workflow, which Kubeflow Pipelines runs underneath.

Kubeflow's own API tells the states of tasks but no reasons (api_converter.go of 2.17). What a node is:
https://argo-workflows.readthedocs.io/en/stable/fields/#nodestatus
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.placing import NEEDS

ATTEMPT = re.compile(r"\(\d+\)$")  # of a node that Argo tries again by a default of the cluster's: finetune(0)
DRIVER = "-driver"  # Kubeflow runs a small pod before each step's own, which resolves its inputs


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a run."""

    name: str
    step: str  # of the pipeline; "" where it belongs to none
    phase: str  # Argo's: Pending, Running, Succeeded, Failed, Error, Omitted …
    message: str  # why it waits or failed; "" where all is well
    is_driver: bool
    ended: str  # ISO 8601, or ""

    @property
    def has_failed(self) -> bool:
        """Whether it ended badly."""
        return self.phase in ("Failed", "Error")


def pods_of(manifest: str) -> list[Pod]:
    """The pods in a workflow's manifest (JSON) in the order in which they began; [] for what is no workflow."""
    try:
        workflow = json.loads(manifest)
        nodes = workflow["status"]["nodes"]
        pods = [node for node in nodes.values() if node["type"] == "Pod"]
        pods.sort(key=lambda node: (node.get("startedAt") or "", node["id"]))
        return [_pod(node, nodes, workflow["metadata"]) for node in pods]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _pod(node: Mapping[str, Any], nodes: Mapping[str, Any], about: Mapping[str, Any]) -> Pod:
    step = _step(node, nodes)
    return Pod(
        _pod_name(node, about), step.removesuffix(DRIVER), str(node.get("phase") or "Pending"),
        " ".join(str(node.get("message") or "").split())[:500], step.endswith(DRIVER), str(node.get("finishedAt") or ""),
    )  # fmt: skip


def _step(node: Mapping[str, Any], nodes: Mapping[str, Any]) -> str:
    """The step that a pod works for: its own name for a driver, else the name of a node that it lies in."""
    seen: set[str] = set()
    at: Mapping[str, Any] | None = node
    while at and at["id"] not in seen:
        seen.add(at["id"])
        name = ATTEMPT.sub("", str(at["displayName"]))
        if name.removesuffix(DRIVER) in NEEDS:
            return name
        at = nodes.get(at.get("boundaryID", ""))
    return ""


def _pod_name(node: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """As Argo names its pods since 3.4, and RetrievePodName of Kubeflow's workflow.go reads them: WORKFLOW-TEMPLATE-HASH."""
    if (about.get("annotations") or {}).get("workflows.argoproj.io/pod-name-format") == "v1" or about["name"] == node["name"]:
        return str(node["id"])
    template = "" if ".inline" in node["name"] else f"-{node.get('templateName', '')}"
    return f"{about['name']}{template}-{node['id'].rpartition('-')[2]}"
