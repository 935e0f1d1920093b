"""Reads a bot's versions and history from the registry, and compares two versions."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import waiting
from mynah.data.datasets import TRAIN_FILE
from mynah.mlflow_client.client import store_errors
from mynah.models.metric_definitions import METRICS, ON_HELD_OUT, TOKEN_UNITS
from mynah.registry.base_names import BASE_TAG, BYTES_TAG, RANK_TAG
from mynah.registry.history import events
from mynah.registry.registry import Registry
from mynah.registry.versions import Bot, BotVersion, VersionRef, no_such_version
from mynah.storage.base import fetch_text
from mynah.storage.open import open_artifact_store
from mynah.tracking.runs import steps_of
from mynah.tracking.tags import PARENT_TAG

TAGS = {
    "verdict": "mynah.verdict", "base_model": "mynah.base_model", "base_license": "mynah.base_license", "base_digest": BASE_TAG,
    "consent": "mynah.consent", "authors": "mynah.authors",
    "data_digest": "mynah.data_digest", "held_out_digest": "mynah.held_out_digest", "model_digest": "mynah.model_digest",
    "seed": "mynah.seed", "code_version": "mynah.code_version", "image_digest": "mynah.image_digest", "requirements": "mynah.requirements",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class VersionDetails:
    """A version with records of its pipeline run: the model's metrics, the funnel's counts and the parameters."""

    version: BotVersion
    metrics: dict[str, float]
    funnel: dict[str, float]
    params: dict[str, str]
    texts: frozenset[str] | None  # the training texts; None when they are not recorded


def bot_history(registry: Registry, name: str) -> dict[str, Any]:
    """Return a bot as a JSON object: aliases, versions (newest first), decisions (oldest first)."""
    bot = registry.bot(name)
    return {
        "name": bot.name, "aliases": bot.aliases, "versions": [version_record(bot, version) for version in bot.versions],
        "history": [asdict(event) for event in events(bot)],
    }  # fmt: skip


def version_record(bot: Bot, version: BotVersion) -> dict[str, Any]:
    """Return one version of a bot as a JSON object."""
    return {
        "version": version.version, "aliases": sorted(alias for alias, number in bot.aliases.items() if number == version.version),
        "created_at": version.created_at.isoformat(timespec="seconds"), "held_out_loss": version.held_out_loss,
        "bits_per_character": version.number("mynah.bits_per_character"), "seconds": version.number("mynah.seconds"),
        "cost_usd": version.number("mynah.cost_usd"), "run": version.run_id, "bytes": version.number(BYTES_TAG),
        "adapter_rank": version.number(RANK_TAG),
        **{name: version.tags.get(tag, "") for name, tag in TAGS.items()},
        "promotion": version.tags.get("mynah.promotion", ""),
    }  # fmt: skip


def difference(registry: Registry, name: str, one: VersionRef, other: VersionRef) -> dict[str, Any]:
    """Compare two versions of a bot.

    Args:
        registry: The registry.
        name: The bot's name.
        one: The first version: its number or an alias.
        other: The second version: its number or an alias.

    Returns:
        The differing values of both versions, as a JSON object.

    Raises:
        InputError: The bot or a version does not exist.
    """
    bot = registry.bot(name)
    first, second = (_details(registry, _version_at(bot, ref)) for ref in (one, other))
    metrics, comparison = _pairs(first.metrics, second.metrics), _comparison(registry, first.version, second.version)
    return {
        "name": name, "versions": [first.version.version, second.version.version],
        "comparison": comparison, "metrics": metrics,
        "not_comparable": sorted(_not_comparable(first.version, second.version).intersection(metrics)),
        "funnel": _pairs(first.funnel, second.funnel),
        "data": _data(first, second), "lineage": _pairs(_lineage(first), _lineage(second)), "params": _pairs(first.params, second.params),
    }  # fmt: skip


def _comparison(registry: Registry, first: BotVersion, second: BotVersion) -> dict[str, Any] | None:
    """Return the losses of two versions on the same posts, or why there are none; None for one version.

    Where they were not evaluated on the same posts, both are scored on posts that neither was trained on, which takes seconds.
    """
    if first.version == second.version:
        return None
    with waiting("Comparing on the same posts"):
        from components.promote.compare import Comparison, compare_any

        try:
            found = compare_any(registry, second, first)
        except PlatformError as error:  # files that cannot be read: the rest of the difference is still of use
            found = Comparison(second.version, first.version, problem=error.problem)
    losses = [found.champion_loss, found.loss]
    problem = found.problem or ("" if None not in losses else "a version's loss is not recorded")
    return {"losses": losses, "unit": found.unit, "posts": found.posts or None, "problem": problem}


def _not_comparable(first: BotVersion, second: BotVersion) -> frozenset[str]:
    """Return the metrics that were measured on different posts, or in the tokens of different tokenizers."""
    from components.promote.compare import have_same_held_out

    if first.version == second.version:
        return frozenset()
    other_tokens = first.tags.get("mynah.base_model") != second.tags.get("mynah.base_model")
    in_tokens = {name for name in ON_HELD_OUT if METRICS[name].unit in TOKEN_UNITS}
    return (frozenset() if have_same_held_out(first, second) else ON_HELD_OUT) | (in_tokens if other_tokens else frozenset())


def _version_at(bot: Bot, ref: VersionRef) -> BotVersion:
    version = bot.at(ref)
    if not version:
        raise no_such_version(bot, f"version or alias {str(ref)[:40]!r}")
    return version


def _details(registry: Registry, version: BotVersion) -> VersionDetails:
    api, store = registry.client, registry.store
    with store_errors(store.tracking_uri):
        metrics = api.get_logged_model(version.model_id).metrics if version.model_id else None
        run = api.get_run(version.run_id) if version.run_id else None
        parent = api.get_run(run.data.tags.get(PARENT_TAG, version.run_id)) if run else None
    filtered = steps_of(store, parent.info.run_id).get("filter") if parent else None
    return VersionDetails(
        version,
        {metric.key: metric.value for metric in metrics or []},
        {key: value for key, value in (filtered.data.metrics if filtered else {}).items() if not key.startswith("system/")},
        dict(parent.data.params) if parent else {},
        _texts(registry, filtered.info.artifact_uri) if filtered else None,
    )


def _texts(registry: Registry, uri: str) -> frozenset[str] | None:
    try:
        lines = fetch_text(open_artifact_store(f"{uri}/data", registry.store.tracking_uri), TRAIN_FILE).split("\n")
        return frozenset(str(json.loads(line)["text"]) for line in lines if line)
    except (InputError, ValueError, KeyError, TypeError):
        return None


def _data(first: VersionDetails, second: VersionDetails) -> dict[str, Any]:
    same = first.version.tags.get("mynah.data_digest") == second.version.tags.get("mynah.data_digest")
    if first.texts is None or second.texts is None:
        return {"same": same}
    return {
        "same": same, "in_both": len(first.texts & second.texts),
        "only_in": [len(first.texts - second.texts), len(second.texts - first.texts)],
    }  # fmt: skip


def _lineage(details: VersionDetails) -> dict[str, str]:
    return {name: details.version.tags.get(tag, "") for name, tag in TAGS.items()}


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the differing values as [first, second], with None for a missing one."""
    keys = dict.fromkeys((*one, *other))
    return {key: [one.get(key), other.get(key)] for key in keys if one.get(key) != other.get(key)}
