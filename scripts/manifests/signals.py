"""Invariants of monitoring: what is asked of Prometheus is exported, and every alert says where it is told what to do."""

import functools
import json
import re
from collections.abc import Iterator, Mapping

from scripts.manifests.objects import Fault, Manifests, Object, where

# Of others: Prometheus' own of what it scrapes, Istio's of what its gateway passes on, and kube-state-metrics'.
OTHERS = {
    "up": frozenset[str](),
    "istio_requests_total": frozenset({"destination_service_name", "destination_service_namespace"}),
    "kube_deployment_spec_replicas": frozenset({"deployment"}),
}
TARGET = frozenset({"namespace", "pod", "container", "job", "instance", "le"})  # labels that Prometheus adds, and histograms have
SELECTED = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
OURS = re.compile(r"\bmynah_\w+")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")
RATE = re.compile(r"\b(?:i?rate|increase)\(")
ABSENCE = re.compile(r"== 0(?![.\d])")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
RUNBOOK = "docs/runbook.md#"


def metrics_are_exported(manifests: Manifests) -> Iterator[Fault]:
    """Every metric and label that alerts, the dashboard and the scaler ask for is one that the server exports."""
    for at, query in _queries(manifests):
        for metric, labels in _asked(query):
            known = exported().get(metric)
            if known is None:
                yield Fault(at, f"nothing exports {metric}", "serving/signals/metrics.py has what there is.")
            elif strange := labels - known - TARGET:
                yield Fault(
                    at, f"{metric} has no label {', '.join(sorted(strange))}", f"It has {', '.join(sorted(known)) or 'none'}."
                )


def silence_is_heard(manifests: Manifests) -> Iterator[Fault]:
    """An alert on none sees it when nothing tells a number any more, and a scaler that wakes what sleeps sees the very first request."""
    for rules in manifests.of("PrometheusRule"):
        for rule in (each for group in rules["spec"]["groups"] for each in group["rules"] if "alert" in each):
            if ABSENCE.search(rule["expr"]) and "or vector(0)" not in rule["expr"]:
                yield Fault(
                    f"{where(rules)} {rule['alert']}", "without a series it stays silent", "Write (sum(…) or vector(0)) == 0."
                )
    for scaler in (each for each in manifests.of("ScaledObject") if not each["spec"].get("minReplicaCount", 0)):
        queries = [each["metadata"].get("query", "") for each in scaler["spec"]["triggers"]]
        if not any(query and not OURS.search(query) and not RATE.search(query) for query in queries):
            problem = "from none it never wakes: its own metrics are gone, and the rate of a series with one sample is 0"
            yield Fault(where(scaler), problem, "Compare another's counter with what it was before.")


def _asked(query: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The metrics in a query of PromQL, with the labels that it selects by; and those that it groups by, of the first."""
    groups = frozenset(label.strip() for found in GROUPED.findall(query) for label in found.split(",")) - {""}
    bare = [(name, frozenset[str]()) for name in OURS.findall(query)]
    for metric, selector in SELECTED.findall(query):
        yield metric, frozenset(LABEL.findall(selector)) | groups
    yield from bare


def _queries(manifests: Manifests) -> Iterator[tuple[str, str]]:
    for rules in manifests.of("PrometheusRule"):
        for group in rules["spec"]["groups"]:
            for rule in group["rules"]:
                yield f"{where(rules)} {rule.get('alert', rule.get('record'))}", rule["expr"]
    for scaler in manifests.of("ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            if "query" in trigger["metadata"]:
                yield f"{where(scaler)} {trigger.get('name', '')}", trigger["metadata"]["query"]
    for board in _dashboards(manifests):
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"dashboard {board['title']}, {panel['title']}", target["expr"]


def _dashboards(manifests: Manifests) -> Iterator[Object]:
    for found in manifests.of("ConfigMap"):
        if (found["metadata"].get("labels") or {}).get("grafana_dashboard") == "1":
            for text in found["data"].values():
                yield json.loads(text)


def alerts_have_runbooks(manifests: Manifests) -> Iterator[Fault]:
    """Every alert waits a while, has a severity and a summary, and names a section that docs/runbook.md has."""
    sections = {_anchor(heading) for heading in HEADING.findall(manifests.runbook)}
    for rules in manifests.of("PrometheusRule"):
        for rule in (each for group in rules["spec"]["groups"] for each in group["rules"] if "alert" in each):
            at, told = f"{where(rules)} {rule['alert']}", rule.get("annotations") or {}
            address = told.get("runbook", "")
            if not address.startswith(RUNBOOK) or address.removeprefix(RUNBOOK) not in sections:
                yield Fault(at, f"its runbook {address!r} is no section of docs/runbook.md", "Write the section.")
            if not rule.get("for") or not (rule.get("labels") or {}).get("severity") or not told.get("summary"):
                yield Fault(at, "it lacks `for`, a severity or a summary", "Add them.")


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@functools.cache
def exported() -> Mapping[str, frozenset[str]]:
    """The samples that a server exports once everything has happened to it, with their labels; and those of others."""
    from serving.signals.metrics import Metrics

    metrics = Metrics(lambda _: True)
    metrics.watch(*[lambda: 0.0] * 4)
    metrics.request("wren", "v2", 200, 1.0)
    metrics.rejected("busy")
    metrics.first_token("wren", 1.0)
    metrics.tokens("wren", 1)
    metrics.step("wren", 1, 1.0)
    metrics.prefill("wren", 1, 1, 1.0)
    metrics.loaded("wren", 1.0)
    metrics.evicted("wren")
    metrics.swapped("wren")
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return OTHERS | {sample.name: frozenset(sample.labels) for sample in samples}
