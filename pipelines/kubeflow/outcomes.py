"""What became of the bots of Kubeflow's runs, as the steps recorded it in MLflow: Kubeflow itself knows neither names nor verdicts."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from components.finish_run.step import NEVER_STARTED, OVER, Outcome, finish_run, outcomes_of
from mynah.core.errors import GateRefused, MynahError
from mynah.core.progress import notify
from mynah.mlflow_client.client import client
from mynah.mlflow_client.store import BOT_TAG, Store, server_address
from mynah.tracking.kfp_runs import KFP_RUN_TAG, SKIPPED_TAG, newest_runs, runs_of
from mynah.tracking.runs import steps_of
from mynah.tracking.unrecorded import last_sign_of_life
from pipelines.kubeflow.api import LOST_AFTER
from pipelines.kubeflow.logs import bot_of, files_of
from pipelines.kubeflow.records import LOST, KubeflowRun

if TYPE_CHECKING:
    from pipelines.kubeflow.api import Kubeflow

NEWEST = 5000  # MLflow runs that are searched for those of the listed Kubeflow runs
READERS = 16  # of specifications at a time
SHOWN_NAMES = 3  # of a fleet's bots
HOW_TO_SEE = "set MLFLOW_TRACKING_URI to the cluster's MLflow to see what became of it"


@dataclass(frozen=True, slots=True)
class Summary:
    """The bots of a run, and what became of it in one or two words; "" where that is not known."""

    bots: str = ""
    outcome: str = ""


def tracking_store() -> Store | None:
    """Return the MLflow server that MLFLOW_TRACKING_URI names, or None. Raises InputError for another kind of address."""
    address = server_address()
    return Store(address) if address else None


def find_outcomes(run: KubeflowRun) -> list[Outcome] | None:
    """Return what became of each bot of a run; None, with a warning, where MLflow is not named or does not answer."""
    store = tracking_store()
    if not store:
        notify(f"nothing tells the outcome: {HOW_TO_SEE}", "warning")
        return None
    try:
        found = outcomes_of(run.run_id, store)
    except MynahError as error:
        notify(f"nothing tells the outcome: {error.problem}", "warning")
        return None
    if run.state == "CANCELED":
        found = [_canceled(outcome) for outcome in found]
    return found + _never_started(run, {outcome.bot for outcome in found}) if run.is_over else found


def _canceled(outcome: Outcome) -> Outcome:
    """Return the outcome of a bot of a canceled run, whose last step says failed and not why where the end of the run came first."""
    is_ended = outcome.kind == "failed" and not outcome.reason
    return replace(outcome, outcome=outcome.outcome.replace("failed", "canceled", 1)) if is_ended else outcome


def _never_started(run: KubeflowRun, started: set[str]) -> list[Outcome]:
    """Return the bots of a fleet that are over without a run in MLflow, by their specifications in the bucket."""
    files = files_of(run.parameters)
    if len(files) <= len(started):
        return []
    with ThreadPoolExecutor(READERS) as pool:
        names = [name or each.id for name, each in zip(pool.map(bot_of, files), files, strict=True)]
    return [Outcome(name, NEVER_STARTED, "", "", 0.0, 0.0, "") for name in names if name not in started]


def require_all_promoted(outcomes: Sequence[Outcome], run_id: str) -> None:
    """Raise GateRefused when a bot has no new champion, although it had new posts."""
    refused = [outcome for outcome in outcomes if outcome.is_refused]
    if not refused:
        return
    first = refused[0]
    if len(outcomes) > 1:
        names = ", ".join(outcome.bot for outcome in refused[:SHOWN_NAMES]) + (" …" if len(refused) > SHOWN_NAMES else "")
        raise GateRefused(f"{len(refused)} of {len(outcomes)} bots were not promoted: {names}", f"See mynah runs {run_id[:8]}.")
    what = f"{first.bot} version {first.version} was not promoted" if first.version else f"no new version of {first.bot}"
    raise GateRefused(f"{what}: {first.outcome.partition(': ')[2]}", f"See mynah show {first.bot}.")


def summaries(runs: Sequence[KubeflowRun]) -> dict[str, Summary]:
    """Return the bots and outcomes of runs by run id, without those that MLflow does not know. {} where MLflow does not answer."""
    wanted = {run.run_id for run in runs}
    found: dict[str, list[Any]] = {}
    for record in _newest(len(wanted)):
        if (run_id := record.data.tags[KFP_RUN_TAG]) in wanted:
            found.setdefault(run_id, []).append(record)
    by_id = {run.run_id: run for run in runs}
    return {run_id: _summary(by_id[run_id], records) for run_id, records in found.items()}


def _newest(count: int) -> list[Any]:
    try:
        store = tracking_store()
        return newest_runs(store, NEWEST) if store and count else []
    except MynahError as error:
        notify(f"the bots' names and outcomes are unknown: {error.problem}", "warning")
        return []


def _summary(run: KubeflowRun, records: Sequence[Any]) -> Summary:
    state = run.state
    names = sorted({record.data.tags[BOT_TAG] for record in records})
    bots = ", ".join(names[:SHOWN_NAMES]) + (f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "")
    if state not in ("SUCCEEDED", "FAILED"):
        return Summary(bots, state.lower())
    count = max(len(records), len(files_of(run.parameters)))
    if count == 1:
        return Summary(bots, _word(state, records[0].data.tags))
    words = Counter(_word("SUCCEEDED" if record.info.status == "FINISHED" else "FAILED", record.data.tags) for record in records)
    words["failed"] += count - len(records)  # before the first step
    return Summary(bots, ", ".join(f"{number} {word or 'finished'}" for word, number in words.most_common() if number))


def _word(state: str, tags: Mapping[str, str]) -> str:
    """Return trained, nothing new, refused, unchanged or failed."""
    if SKIPPED_TAG in tags:
        return "nothing new"
    decision = tags.get("mynah.promotion", "").partition(":")[0]
    return {"promoted": "trained", "": "failed" if state == "FAILED" else ""}.get(decision, decision)


def settle(api: "Kubeflow", run: KubeflowRun, store: Store | None) -> KubeflowRun:
    """Return a run as LOST when its Workflow is gone, and end in MLflow what a run that is over left running there.

    An MLflow that does not answer is a warning: the next command ends it. Raises PlatformError when Kubeflow fails.
    """
    is_lost = api.is_lost(run)
    try:
        if is_lost and not (store and _shows_life(run.run_id, store)):
            run = replace(run, state=LOST)
        if store and run.is_over and run.state != "SUCCEEDED" and _runs_on(run.run_id, store):
            finish_run(run.run_id, store, status="KILLED" if run.state == "CANCELED" else "FAILED")
    except MynahError as error:
        notify(f"{run.run_id[:8]} was not looked up in MLflow: {error.problem}", "warning")
    return run


def _runs_on(run_id: str, store: Store) -> bool:
    return any(record.info.status not in OVER for record in runs_of(run_id, store))


def _shows_life(run_id: str, store: Store) -> bool:
    """Return whether a step of the run sampled its machine a moment ago."""
    api = client(store.tracking_uri)
    steps = [step for record in runs_of(run_id, store) for step in steps_of(store, record.info.run_id).values()]
    running = [step for step in steps if step.info.status == "RUNNING"]
    return any(time.time() - last_sign_of_life(api, step) < LOST_AFTER for step in running)
