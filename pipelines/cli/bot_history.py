"""What the registry tells of a bot: its versions and history, and how two versions differ."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.artifacts import fetch_text, place
from components.errors import InputError
from components.promote.history import events
from components.registry import Bot, BotVersion, Registry, no_such_version
from components.store import store_errors
from components.tracking import PARENT_TAG, steps_of

TAGS = {
    "verdict": "mynah.verdict", "base_model": "mynah.base_model", "consent": "mynah.consent", "authors": "mynah.authors",
    "data_digest": "mynah.data_digest", "held_out_digest": "mynah.held_out_digest", "model_digest": "mynah.model_digest",
    "seed": "mynah.seed", "code_version": "mynah.code_version", "image_digest": "mynah.image_digest", "requirements": "mynah.requirements",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Details:
    """A version with what its pipeline run knows: metrics of the model, the funnel's counts, the parameters."""

    version: BotVersion
    metrics: dict[str, float]
    funnel: dict[str, float]
    params: dict[str, str]
    texts: frozenset[str] | None  # those trained on; None where they are not recorded


def bot_history(registry: Registry, name: str) -> dict[str, Any]:
    """A bot as a JSON object: aliases, versions (newest first), decisions (oldest first)."""
    bot = registry.bot(name)
    return {
        "name": bot.name, "aliases": bot.aliases, "versions": [version_record(bot, version) for version in bot.versions],
        "history": [asdict(event) for event in events(bot)],
    }  # fmt: skip


def version_record(bot: Bot, version: BotVersion) -> dict[str, Any]:
    """One version as a JSON object."""
    return {
        "version": version.version, "aliases": sorted(alias for alias, number in bot.aliases.items() if number == version.version),
        "created_at": version.created_at.isoformat(timespec="seconds"), "held_out_loss": version.held_out_loss,
        "bits_per_character": version.number("mynah.bits_per_character"), "seconds": version.number("mynah.seconds"),
        "cost_usd": version.number("mynah.cost_usd"), "run": version.run_id,
        **{name: version.tags.get(tag, "") for name, tag in TAGS.items()},
        "promotion": version.tags.get("mynah.promotion", ""),
    }  # fmt: skip


def difference(registry: Registry, name: str, one: str, other: str) -> dict[str, Any]:
    """Two versions of a bot (numbers or aliases) side by side, as a JSON object: what differs, and by how much."""
    bot = registry.bot(name)
    details = [_details(registry, _named(bot, text)) for text in (one, other)]
    first, second = details
    return {
        "name": name, "versions": [first.version.version, second.version.version],
        "metrics": _pairs(first.metrics, second.metrics), "funnel": _pairs(first.funnel, second.funnel),
        "data": _data(first, second), "lineage": _pairs(_lineage(first), _lineage(second)), "params": _pairs(first.params, second.params),
    }  # fmt: skip


def _named(bot: Bot, text: str) -> BotVersion:
    number = int(text) if text.isdecimal() and len(text) < 10 else bot.aliases.get(text, 0)
    found = next((version for version in bot.versions if version.version == number), None)
    if not found:
        raise no_such_version(bot, f"version or alias {text[:40]!r}")
    return found


def _details(registry: Registry, version: BotVersion) -> Details:
    api, store = registry.client, registry.store
    with store_errors(store.tracking_uri):
        metrics = api.get_logged_model(version.model_id).metrics if version.model_id else None
        run = api.get_run(version.run_id) if version.run_id else None
        parent = api.get_run(run.data.tags.get(PARENT_TAG, version.run_id)) if run else None
    filtered = steps_of(store, parent.info.run_id).get("filter") if parent else None
    return Details(
        version,
        {metric.key: metric.value for metric in metrics or []},
        {key: value for key, value in (filtered.data.metrics if filtered else {}).items() if not key.startswith("system/")},
        dict(parent.data.params) if parent else {},
        _texts(registry, filtered.info.artifact_uri) if filtered else None,
    )


def _texts(registry: Registry, uri: str) -> frozenset[str] | None:
    try:
        lines = fetch_text(place(f"{uri}/data", registry.store.tracking_uri), "train.jsonl").split("\n")
        return frozenset(str(json.loads(line)["text"]) for line in lines if line)
    except (InputError, ValueError, KeyError, TypeError):
        return None


def _data(first: Details, second: Details) -> dict[str, Any]:
    same = first.version.tags.get("mynah.data_digest") == second.version.tags.get("mynah.data_digest")
    if first.texts is None or second.texts is None:
        return {"same": same}
    return {
        "same": same, "in_both": len(first.texts & second.texts),
        "only_in": [len(first.texts - second.texts), len(second.texts - first.texts)],
    }  # fmt: skip


def _lineage(details: Details) -> dict[str, str]:
    return {name: details.version.tags.get(tag, "") for name, tag in TAGS.items()}


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What differs, as [first, second]; None where one has it not."""
    keys = dict.fromkeys((*one, *other))
    return {key: [one.get(key), other.get(key)] for key in keys if one.get(key) != other.get(key)}
