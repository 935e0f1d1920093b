"""close: whatever became of a Kubeflow run, its MLflow runs end, and a table says what became of each bot.

The exit handler of the cluster's pipelines. It reads what the steps recorded, not Kubeflow's final state: a fleet's state is one for
all its bots, and a pod that is taken away says nothing.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from components.begin import runs_of
from components.card.escape import markdown
from components.news import SKIPPED_TAG
from components.store import BOT_TAG, Store
from components.tracking import COST_TAG, SECONDS_TAG, cost_tags, end_run, number, steps_of

LAST_STEP = "promote"
OVER = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one bot."""

    bot: str
    outcome: str  # promoted, refused: …, skipped: …, or failed in STEP
    version: str  # "" where none was registered
    held_out_loss: str
    seconds: float
    cost_usd: float
    mlflow_run: str


def close(kfp_run: str, store: Store, bots: Sequence[str] = (), status: str = "FAILED") -> list[Outcome]:
    """End the MLflow runs of the Kubeflow run `kfp_run`, and tell each bot's outcome, also that of those of `bots` that never began.

    FINISHED is a run whose last step is, or that had nothing to do; every other gets `status`. Raises PlatformError.
    """
    outcomes = []
    for run in runs_of(kfp_run, store):
        steps = steps_of(store, run.info.run_id)
        outcome = _outcome(run, steps)
        if run.info.status not in OVER:
            done = SKIPPED_TAG in run.data.tags or _status(steps, LAST_STEP) == "FINISHED"
            end_run(store, run.info.run_id, "FINISHED" if done else status)
        costs = cost_tags(store, run.info.run_id)
        outcomes.append(
            Outcome(
                run.data.tags[BOT_TAG], outcome, run.data.tags.get("mynah.version", ""), _loss(run),
                number(costs.get(SECONDS_TAG, "")), number(costs.get(COST_TAG, "")), run.info.run_id,
            )
        )  # fmt: skip
    there = {each.bot for each in outcomes}
    return outcomes + [Outcome(bot, "failed in begin", "", "", 0.0, 0.0, "") for bot in bots if bot not in there]


def _outcome(run: Any, steps: dict[str, Any]) -> str:  # noqa: ANN401 - MLflow's run
    if reason := run.data.tags.get(SKIPPED_TAG):
        return f"skipped: {reason}"
    if _status(steps, LAST_STEP) == "FINISHED":
        return str(run.data.tags.get("mynah.promotion", "promoted"))
    stuck = next((name for name, each in steps.items() if each.info.status != "FINISHED"), "")
    if stuck:
        return f"failed in {stuck}"
    return f"failed after {list(steps)[-1]}" if steps else "failed before the first step"


def _status(steps: dict[str, Any], name: str) -> str:
    return str(steps[name].info.status) if name in steps else ""


def _loss(run: Any) -> str:  # noqa: ANN401 - MLflow's run
    loss = run.data.metrics.get("held_out_loss")
    return "" if loss is None else f"{loss:.3f}"


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """The outcomes for machines."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Outcome)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in outcomes)
    return text.getvalue()


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """The outcomes for people: what Kubeflow's page shows of the run."""
    lines = ["| Bot | Outcome | Version | Held-out loss | Time | Cost (USD) |", "|---|---|---:|---:|---:|---:|"]
    for each in outcomes:
        cells = (each.bot, each.outcome, each.version, each.held_out_loss, f"{each.seconds:,.0f} s", f"{each.cost_usd:.4f}")
        lines.append(f"| {' | '.join(markdown(cell, 200) for cell in cells)} |")
    return "\n".join([*lines, ""])
