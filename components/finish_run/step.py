"""finish_run: end the MLflow runs of a Kubeflow run, however it ended, and remove what the steps of finished ones handed on.

This is the exit handler of the cluster's pipelines. It reads what the steps recorded, not Kubeflow's final state: a fleet has one state
for all its bots, and an evicted pod reports nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.handover import remove_handed_on
from components.run_inputs import read_inputs
from mynah.core.errors import MynahError
from mynah.core.progress import notify
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.storage.open import open_artifact_store
from mynah.tracking.kfp_runs import SKIPPED_TAG, runs_of
from mynah.tracking.runs import cost_tags, end_run, steps_of
from mynah.tracking.tags import COST_TAG, ERROR_TAG, SECONDS_TAG, number

LAST_STEP = "promote"
NEVER_STARTED = "failed before fetch"
OVER = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one bot."""

    bot: str
    outcome: str  # promoted, refused: …, unchanged: …, skipped: …, failed in STEP, canceled in STEP, or running
    version: str  # "" where none was registered
    held_out_loss: str
    seconds: float
    cost_usd: float
    mlflow_run: str
    reason: str = ""  # the error of the failed step

    @property
    def described(self) -> str:
        """The outcome with the reason of a failure, as one line."""
        return f"{self.outcome}: {self.reason}" if self.reason else self.outcome

    @property
    def is_refused(self) -> bool:
        """Whether there is a new version that the gate or the champion keeps from serving, or training brought none."""
        return self.outcome.startswith(("refused", "unchanged"))

    @property
    def kind(self) -> str:
        """The outcome in one or two words."""
        return "nothing new" if self.outcome.startswith("skipped") else self.outcome.split(":")[0].split()[0]


def finish_run(kfp_run: str, store: Store, bots: Sequence[str] = (), status: str = "FAILED") -> list[Outcome]:
    """End the MLflow runs of a Kubeflow run, and return each bot's outcome.

    A run whose last step finished, or that had nothing to do, becomes FINISHED.

    Args:
        kfp_run: The id of the Kubeflow run.
        store: The tracking store.
        bots: The fleet's bots, including those that never started.
        status: The status of runs that did not finish.

    Raises:
        PlatformError: The store failed.
    """
    for run in runs_of(kfp_run, store):
        if run.info.status not in OVER:
            steps = steps_of(store, run.info.run_id)
            done = SKIPPED_TAG in run.data.tags or _status(steps, LAST_STEP) == "FINISHED"
            end_run(store, run.info.run_id, "FINISHED" if done else status)
    outcomes = outcomes_of(kfp_run, store)
    started = {outcome.bot for outcome in outcomes}
    return outcomes + [Outcome(bot, NEVER_STARTED, "", "", 0.0, 0.0, "") for bot in bots if bot not in started]


def close(kfp_run: str, store: Store, specs: Sequence[str]) -> list[Outcome]:
    """End the runs as `finish_run` does, and remove the folders that the steps of finished runs handed on.

    Those of failed runs stay for another try, until `mynah prune`; logs and specifications stay in any case. A run that had nothing to do
    keeps no copy of the posts in MLflow either.

    Args:
        kfp_run: The id of the Kubeflow run.
        store: The tracking store.
        specs: The references of the bots' specifications.

    Raises:
        PlatformError: The tracking store or S3 failed.
    """
    names = {name: spec for spec in specs if (name := _name(spec))}
    outcomes = finish_run(kfp_run, store, list(names))
    for run in runs_of(kfp_run, store):
        steps, spec = steps_of(store, run.info.run_id), names.get(run.data.tags[BOT_TAG])
        is_deployed = _status(steps, "deploy") in ("", "FINISHED")  # the only part after the last step
        if spec and run.info.status == "FINISHED" and is_deployed:
            remove_handed_on(spec, kfp_run)
        if SKIPPED_TAG in run.data.tags:
            for step in steps.values():
                open_artifact_store(step.info.artifact_uri, store.tracking_uri).remove()
    return outcomes


def _name(spec: str) -> str:
    """Return the bot of a specification; "" for one that was erased, or cannot be read: the runs are to be ended all the same."""
    try:
        return read_inputs(spec).name
    except MynahError as error:
        notify(error.problem, "warning")
        return ""


def outcomes_of(kfp_run: str, store: Store) -> list[Outcome]:
    """Return what became so far of each bot of a Kubeflow run, without changing anything. Raises PlatformError."""
    return [outcome_of(run, store) for run in runs_of(kfp_run, store)]


def outcome_of(run: Any, store: Store) -> Outcome:  # noqa: ANN401 - MLflow's run
    """Return the outcome of a pipeline run in MLflow. Raises PlatformError."""
    steps, costs = steps_of(store, run.info.run_id), cost_tags(store, run.info.run_id)
    outcome, stuck = _outcome(run, steps)
    reason = "" if run.info.status == "KILLED" or stuck not in steps else steps[stuck].data.tags.get(ERROR_TAG, "")
    return Outcome(
        run.data.tags[BOT_TAG], outcome, run.data.tags.get("mynah.version", ""), _loss(run),
        number(costs.get(SECONDS_TAG, "")), number(costs.get(COST_TAG, "")), run.info.run_id, reason,
    )  # fmt: skip


def _outcome(run: Any, steps: dict[str, Any]) -> tuple[str, str]:  # noqa: ANN401 - MLflow's run
    """Return the outcome, and the step that did not finish, or ""."""
    if reason := run.data.tags.get(SKIPPED_TAG):
        return f"skipped: {reason}", ""
    if _status(steps, LAST_STEP) == "FINISHED":
        return str(run.data.tags.get("mynah.promotion", "promoted")), ""
    stuck = next((name for name, step in steps.items() if step.info.status != "FINISHED"), "")
    if run.info.status not in OVER:
        return "running", stuck
    ended = "canceled" if run.info.status == "KILLED" else "failed"
    if stuck:
        return f"{ended} in {stuck}", stuck
    return f"{ended} after {list(steps)[-1]}" if steps else f"{ended} before the first step", ""


def _status(steps: dict[str, Any], name: str) -> str:
    return str(steps[name].info.status) if name in steps else ""


def _loss(run: Any) -> str:  # noqa: ANN401 - MLflow's run
    loss = run.data.metrics.get("held_out_loss")
    return "" if loss is None else f"{loss:.3f}"
