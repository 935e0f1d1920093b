"""The trials of earlier searches with the same inputs: a search goes on with them where an earlier one was ended.

Each trial's run in MLflow, and its pipeline run, have a digest of the search's inputs as a tag. A later search with the same digest keeps
the trials that finished, and trains the others again with the parameters that they had.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from components.sweep.trial_records import COMPLETED, PRUNED, Trial, read_trial
from mynah.core.files import digest
from mynah.data.datasets import HELD_OUT_FILE, TRAIN_FILE
from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.models.base_models import resolve
from mynah.tracking.runs import MAX_STEPS
from mynah.tracking.tags import PARENT_TAG, STEP_TAG
from mynah.training.recipe import Recipe

SEARCH_TAG, INPUTS_TAG = "mynah.search", "mynah.search_inputs"
NAMES = {
    "data": "the posts", "space": "the space", "base_model": "the base model", "seed": "the seed", "recipe": "the recipe",
    "versions": "the versions of Mynah, torch or transformers",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SearchInputs:
    """What identifies a search. Another number of trials, budget or time limit is the same search."""

    bot: str
    data: str  # SHA-256 of train.jsonl and of held_out.jsonl
    space: str
    base_model: str  # digest of its weights
    seed: int
    recipe: str  # digest of the recipe around which to search
    versions: str  # of the packages that train

    @property
    def digest(self) -> str:
        """A digest of all of them."""
        return _digest(asdict(self))

    def tags(self) -> dict[str, str]:
        """Return the tags of a search's runs."""
        return {SEARCH_TAG: self.digest, INPUTS_TAG: json.dumps(asdict(self))}


def search_inputs(bot: str, data: Path, space: str, base_model: str, recipe: Recipe) -> SearchInputs:
    """Return what identifies a search.

    Args:
        bot: the bot's name.
        data: the folder that the filter step wrote.
        space: the name of the search space.
        base_model: fledgling, a folder or a hub name.
        recipe: the recipe around which to search.

    Raises:
        InputError, PlatformError: the base model or the data cannot be read.
    """
    settings = {key: value for key, value in recipe.to_record().items() if key != "seed"}
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mynah", "torch", "transformers"))
    texts = f"{digest(data / TRAIN_FILE)}+{digest(data / HELD_OUT_FILE)}"
    return SearchInputs(bot, texts, space, resolve(base_model).weights_digest, recipe.seed, _digest(settings), versions)


def bot_of(store: Store, parent_run: str) -> str:
    """Return the bot of a pipeline run. Raises PlatformError."""
    with store_errors(store.tracking_uri):
        return str(client(store.tracking_uri).get_run(parent_run).data.tags.get(BOT_TAG, ""))


def is_finished(trial: Trial) -> bool:
    """Whether a trial is kept: it was trained to its end or pruned, not failed, skipped, or stopped at a budget or time limit."""
    return trial.state in (COMPLETED, PRUNED) and not trial.cause


def earlier_trials(store: Store, parent_run: str, inputs: SearchInputs) -> dict[int, Trial]:
    """Return the trials of earlier searches with the same inputs, by number: one that finished if there is any, else the newest.

    Args:
        store: the store with the trials' runs.
        parent_run: the pipeline run of this search, whose own trials are left out.
        inputs: what identifies the search.

    Raises:
        PlatformError: MLflow fails.
    """
    query = f"tags.`{SEARCH_TAG}` = '{inputs.digest}' and tags.`{STEP_TAG}` LIKE 'trial-%'"
    found: dict[int, Trial] = {}
    for run in _runs(store, query, MAX_STEPS):
        trial = read_trial(run.data.tags[STEP_TAG], run)
        if not trial or run.data.tags.get(PARENT_TAG) == parent_run:
            continue
        if trial.number not in found or (is_finished(trial) and not is_finished(found[trial.number])):
            found[trial.number] = replace(trial, kept_from=trial.kept_from or str(run.info.run_id))
    return found


def describe_start(store: Store, inputs: SearchInputs, earlier: Mapping[int, Trial]) -> str:
    """Return a line on what a search starts from: kept trials, or how its inputs differ from those of the bot's search before; "" for neither.

    Args:
        store: the store with the trials' runs.
        inputs: what identifies the search.
        earlier: the trials of earlier searches with the same inputs.

    Raises:
        PlatformError: MLflow fails.
    """
    if earlier:
        kept = sum(map(is_finished, earlier.values()))
        return (
            f"going on with an earlier search of the same inputs: {kept} of its trials {'is' if kept == 1 else 'are'} kept"
            if kept
            else ""
        )
    others = _runs(store, f"tags.`{BOT_TAG}` = '{inputs.bot}' and tags.`{SEARCH_TAG}` != '{inputs.digest}'", 1)
    changed = _changed(inputs, others[0].data.tags.get(INPUTS_TAG, "")) if others else []
    if not changed:
        return ""
    names = ", ".join(changed[:-1]) + " and " + changed[-1] if len(changed) > 1 else changed[0]
    return f"a new search, which keeps no trial: {names} {'are' if len(changed) > 1 else 'is'} not as in the search before"


def _changed(inputs: SearchInputs, earlier: str) -> list[str]:
    """Return the names of what differs from an earlier search's tag; [] for an invalid one, since anybody can write tags."""
    try:
        record = json.loads(earlier)
        return [name for key, name in NAMES.items() if record[key] != getattr(inputs, key)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def _runs(store: Store, query: str, count: int) -> list[Any]:
    with store_errors(store.tracking_uri):
        api = client(store.tracking_uri)
        return list(api.search_runs([experiment(store)], query, max_results=count, order_by=["start_time DESC"]))


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
