"""Invariants of monitoring: all metrics in queries are exported, and every alert names a section of the runbook."""

import functools
import json
import re
from collections.abc import Iterator, Mapping

from scripts.manifests.objects import Fault, Manifests, Object, where

# Metrics of others: Prometheus itself, Istio's gateway, and kube-state-metrics.
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
    """Every metric and label in the queries of alerts, the dashboard and the scaler is exported."""
    for at, query in _queries(manifests):
        for metric, labels in _asked(query):
            known = exported().get(metric)
            if known is None:
                yield Fault(at, f"nothing exports {metric}", "serving/observability/metrics.py has what there is.")
            elif strange := labels - known - TARGET:
                yield Fault(
                    at, f"{metric} has no label {', '.join(sorted(strange))}", f"It has {', '.join(sorted(known)) or 'none'}."
                )


def silence_is_heard(manifests: Manifests) -> Iterator[Fault]:
    """An alert on the value 0 fires without a series too, and a scaler from 0 pods notices the first request."""
    for rules in manifests.of("PrometheusRule"):
        for rule in (candidate for group in rules["spec"]["groups"] for candidate in group["rules"] if "alert" in candidate):
            if ABSENCE.search(rule["expr"]) and "or vector(0)" not in rule["expr"]:
                yield Fault(
                    f"{where(rules)} {rule['alert']}", "without a series it stays silent", "Write (sum(…) or vector(0)) == 0."
                )
    for scaler in (candidate for candidate in manifests.of("ScaledObject") if not candidate["spec"].get("minReplicaCount", 0)):
        queries = [trigger["metadata"].get("query", "") for trigger in scaler["spec"]["triggers"]]
        if not any(query and not OURS.search(query) and not RATE.search(query) for query in queries):
            problem = "from none it never wakes: its own metrics are gone, and the rate of a series with one sample is 0"
            yield Fault(where(scaler), problem, "Compare another's counter with what it was before.")


def _asked(query: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the metrics in a PromQL query, with the labels by which it selects and groups."""
    groups = frozenset(label.strip() for labels in GROUPED.findall(query) for label in labels.split(",")) - {""}
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
    for config_map in manifests.of("ConfigMap"):
        if (config_map["metadata"].get("labels") or {}).get("grafana_dashboard") == "1":
            for text in config_map["data"].values():
                yield json.loads(text)


def alerts_have_runbooks(manifests: Manifests) -> Iterator[Fault]:
    """Every alert has a duration, a severity and a summary, and names an existing section of docs/runbook.md."""
    sections = {_anchor(heading) for heading in HEADING.findall(manifests.runbook)}
    for rules in manifests.of("PrometheusRule"):
        for rule in (candidate for group in rules["spec"]["groups"] for candidate in group["rules"] if "alert" in candidate):
            at, annotations = f"{where(rules)} {rule['alert']}", rule.get("annotations") or {}
            address = annotations.get("runbook", "")
            if not address.startswith(RUNBOOK) or address.removeprefix(RUNBOOK) not in sections:
                yield Fault(at, f"its runbook {address!r} is no section of docs/runbook.md", "Write the section.")
            if not rule.get("for") or not (rule.get("labels") or {}).get("severity") or not annotations.get("summary"):
                yield Fault(at, "it lacks `for`, a severity or a summary", "Add them.")


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@functools.cache
def exported() -> Mapping[str, frozenset[str]]:
    """Return the metrics that a server exports after every kind of event, and those of others, with their labels."""
    from serving.models.footprint import MemoryUse
    from serving.observability.metrics import Metrics  # needs the extra `serving`

    metrics = Metrics(lambda _: True)
    metrics.register_gauges(lambda: 0.0, lambda: 0.0, lambda: 0.0, MemoryUse)
    metrics.request("wren", "v2", 200, 1.0)
    metrics.rejected("busy")
    metrics.first_token("wren", 1.0)
    metrics.tokens("wren", 1)
    metrics.step(["wren"], 1, 1.0)
    metrics.prefill({"wren": 1})
    metrics.loaded("wren", 1.0)
    metrics.evicted("wren")
    metrics.swapped("wren")
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return OTHERS | {sample.name: frozenset(sample.labels) for sample in samples}
