"""Reads the pods of a run, and why they wait or failed, from the Argo workflow that Kubeflow Pipelines runs.

Kubeflow's API has the states of tasks but no reasons (api_converter.go of 2.17). The format of nodes:
https://argo-workflows.readthedocs.io/en/stable/fields/#nodestatus
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.placement import NEEDS

ATTEMPT = re.compile(r"\(\d+\)$")  # the suffix of a node that Argo retries by the cluster's default: finetune(0)
DRIVER = "-driver"  # Kubeflow runs a driver pod before each step, which resolves its inputs


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a run."""

    name: str
    step: str  # of the pipeline, or ""
    phase: str  # Argo's: Pending, Running, Succeeded, Failed, Error, Omitted …
    message: str  # why it waits or failed, or ""
    is_driver: bool
    ended: str  # ISO 8601, or ""
    started: str = ""  # the same

    @property
    def has_failed(self) -> bool:
        """Whether the pod failed."""
        return self.phase in ("Failed", "Error")

    def started_before(self, seconds: float) -> bool:
        """Whether the pod started, `seconds` ago or earlier."""
        try:
            return (datetime.now(UTC) - datetime.fromisoformat(self.started)).total_seconds() > seconds
        except (ValueError, TypeError):
            return False


def pods_of(manifest: str) -> list[Pod]:
    """Return the pods of a workflow's manifest (JSON) in the order of their starts; [] for an invalid manifest."""
    try:
        workflow = json.loads(manifest)
        nodes = workflow["status"]["nodes"]
        pods = [node for node in nodes.values() if node["type"] == "Pod"]
        pods.sort(key=lambda node: (node.get("startedAt") or "", node["id"]))
        return [_pod(node, nodes, workflow["metadata"]) for node in pods]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _pod(node: Mapping[str, Any], nodes: Mapping[str, Any], metadata: Mapping[str, Any]) -> Pod:
    step = _step(node, nodes)
    return Pod(
        _pod_name(node, metadata), step.removesuffix(DRIVER), str(node.get("phase") or "Pending"),
        " ".join(str(node.get("message") or "").split())[:500], step.endswith(DRIVER), str(node.get("finishedAt") or ""),
        str(node.get("startedAt") or ""),
    )  # fmt: skip


def _step(node: Mapping[str, Any], nodes: Mapping[str, Any]) -> str:
    """Return the step of a pod: a driver's own name, or the name of an enclosing node; "" without one."""
    visited: set[str] = set()
    current: Mapping[str, Any] | None = node
    while current and current["id"] not in visited:
        visited.add(current["id"])
        name = ATTEMPT.sub("", str(current["displayName"]))
        if name.removesuffix(DRIVER) in NEEDS:
            return name
        current = nodes.get(current.get("boundaryID", ""))
    return ""


def _pod_name(node: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return the pod's name, WORKFLOW-TEMPLATE-HASH, as Argo 3.4 and RetrievePodName of Kubeflow's workflow.go form it."""
    annotations = metadata.get("annotations") or {}
    if annotations.get("workflows.argoproj.io/pod-name-format") == "v1" or metadata["name"] == node["name"]:
        return str(node["id"])
    template = "" if ".inline" in node["name"] else f"-{node.get('templateName', '')}"
    return f"{metadata['name']}{template}-{node['id'].rpartition('-')[2]}"
