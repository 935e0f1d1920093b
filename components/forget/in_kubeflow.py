"""Find what Kubeflow keeps of a subject: runs, schedules, and what its own object store holds of them.

Runs of this version name nothing: their parameters hold addresses below runs/ID/ of Mynah's bucket, whose specification says whose they
are. Runs of earlier versions hold the bot's name and its sources.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from components.forget.run_folders import names_account
from components.forget.subject import Subject
from mynah.maintenance.erasers import IN_KUBEFLOW, ErasableItem, s3_item
from mynah.maintenance.kubeflow_records import RUN, SCHEDULE, KubeflowRecord, KubeflowRecords
from mynah.registry.tombstones import tombstone_tag
from mynah.storage.kubeflow_artifacts import stored_of_runs

PIPELINES = ("mynah-bot", "mynah-sweep", "mynah-fleet")  # in the object store a run lies below its pipeline's name
REQUESTS = 4  # at once to Kubeflow's API
ADDRESS = re.compile(r"s3://([^/\s\"]+)/runs/([0-9a-f]{16})/")


@dataclass(slots=True)
class InKubeflow:
    """What Kubeflow keeps of a subject."""

    records: list[KubeflowRecord] = field(default_factory=list)  # to erase: schedules first
    busy: list[KubeflowRecord] = field(default_factory=list)  # runs that make other bots too, and have not ended
    shared: list[KubeflowRecord] = field(default_factory=list)  # enabled schedules of other bots too, which stay
    unknown: int = 0  # runs that MLflow records, and that this Kubeflow does not know
    buckets: set[str] = field(default_factory=set)  # where runs have their files
    without_logs: int = 0  # runs whose Workflow, and so the place of Argo's logs, is no longer known
    stored: list[ErasableItem] = field(default_factory=list)  # in Kubeflow's own object store

    def items(self) -> Iterator[ErasableItem]:
        """Yield everything, in the order in which to erase it: a run's record leads to its logs."""
        yield from self.stored
        for record in self.records:
            told = json.dumps([record.name, record.parameters], sort_keys=True, default=str)
            yield ErasableItem(record.kind, record.id, f"sha256:{hashlib.sha256(told.encode()).hexdigest()}")


@dataclass(frozen=True, slots=True)
class Traces:
    """By what a subject's runs in Kubeflow are recognized."""

    ids: Collection[str]  # of its runs in Mynah's bucket
    tombstones: Collection[str]  # all marks, with those of ids whose specification was erased while Kubeflow was not searched
    kfp_runs: Collection[str]  # that its runs in MLflow name
    uploads: Collection[str]  # the addresses of its uploads of earlier versions


def find_in_kubeflow(subject: Subject, kubeflow: KubeflowRecords | None, traces: Traces) -> InKubeflow:
    """Find what Kubeflow keeps of a subject; its own object store is searched where KF_PIPELINES_ARTIFACTS names it.

    Args:
        subject: The author or bot.
        kubeflow: The connected Kubeflow, or None.
        traces: By what its runs are recognized.

    Raises:
        PlatformError: Kubeflow or its object store is unreachable, or refuses.
    """
    found = InKubeflow()
    records = kubeflow.records() if kubeflow else ()
    schedules = {each.id for each in records if each.kind == SCHEDULE and _is_theirs(subject, each, traces)}
    for record in sorted(records, key=lambda each: each.kind == RUN):
        found.buckets |= {bucket for bucket, _ in _addresses(record)}
        is_theirs = bool(schedules & {record.id, record.schedule}) or _is_theirs(subject, record, traces)
        if is_theirs:
            found.records.append(record)
        if record.is_active and _makes_others(record, traces) and (is_theirs or _ids(record) & set(traces.ids)):
            (found.busy if record.kind == RUN else found.shared).append(record)
    found.busy = [record for record in found.busy if kubeflow and kubeflow.is_active(RUN, record.id)]
    runs = [record.id for record in found.records if record.kind == RUN]
    unknown = sorted(set(traces.kfp_runs) - {record.id for record in records})  # which Kubeflow no longer has
    found.unknown, runs = len(unknown) if kubeflow else 0, runs + unknown
    with ThreadPoolExecutor(REQUESTS) as pool:
        workflows = list(pool.map(kubeflow.workflow, runs)) if kubeflow else []
    found.without_logs = len(runs) - sum(map(bool, workflows))
    found.stored = [s3_item(each, IN_KUBEFLOW) for each in stored_of_runs(runs, PIPELINES, list(filter(None, workflows)))]
    return found


def _is_theirs(subject: Subject, record: KubeflowRecord, traces: Traces) -> bool:
    """Return whether a run or a schedule is to be erased: a fleet of this version holds only ids, of other bots too, and stays."""
    if ids := _ids(record):
        return not _others(ids, traces) or (len(ids) == 1 and record.id in traces.kfp_runs)
    if record.id in traces.kfp_runs:
        return True
    bots = _bots(record)
    if not subject.is_author:
        return subject.name in [name for name, _ in bots]
    sources = [source for _, named in bots for source in named]
    return names_account(sources, subject.name) or any(str(source).rstrip("/") in traces.uploads for source in sources)


def _makes_others(record: KubeflowRecord, traces: Traces) -> bool:
    """Return whether a run or a schedule also makes bots that are not forgotten."""
    return bool(_others(_ids(record), traces)) or len(_bots(record)) > 1


def _others(ids: set[str], traces: Traces) -> set[str]:
    """Return the ids of runs in the bucket that are not the subject's, and were not forgotten earlier."""
    return {each for each in ids - set(traces.ids) if tombstone_tag("run", each) not in traces.tombstones}


def _bots(record: KubeflowRecord) -> list[tuple[str, Sequence[object]]]:
    """Return the bots that a run of an earlier version makes, each with its sources: its own, or those of a fleet.

    Every such run has both parameters; one that only has a `name`, or is called like the bot, is somebody else's.
    """
    parameters = record.parameters
    if isinstance(parameters.get("name"), str) and isinstance(parameters.get("sources"), list):
        return [(parameters["name"], parameters["sources"])]
    bots = [each for each in _list(parameters.get("bots")) if isinstance(each, Mapping)]
    return [(str(each.get("bot")), _list(each.get("sources"))) for each in bots]


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _ids(record: KubeflowRecord) -> set[str]:
    return {run_id for _, run_id in _addresses(record)}


def _addresses(record: KubeflowRecord) -> list[tuple[str, str]]:
    """Return the buckets and ids of all addresses below runs/ID/ that a record's parameters hold."""
    return ADDRESS.findall(json.dumps(record.parameters, default=str))
