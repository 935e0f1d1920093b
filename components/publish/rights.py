"""Whether a version may be published: what the gate, the people it writes like, and those who asked to be forgotten say to it."""

import json

from components.artifacts import fetch_text, place
from components.card.choose import steps_of_version
from components.errors import GateRefused, InputError
from components.fetch.sources import SOURCES_FILE
from components.lineage import CONSENT_TAG, CONTINUED_TAG, authors_of
from components.names import bot_name
from components.registry import BotVersion, Registry
from components.tombstones import refuse_forgotten

MAY_BE_PUBLISHED = ("own-account", "permission")  # why posts are used; whoever said neither did not agree to be published
UNKNOWN = "unstated"


def require_right(registry: Registry, version: BotVersion) -> None:
    """Raise GateRefused, which says why and what to do, unless `version` may be published."""
    what = f"{version.name} version {version.version}"
    if not version.passed:
        raise GateRefused(
            f"{what} is not published: the gate did not pass it ({version.tags.get('mynah.verdict', 'no verdict')})",
            "What was promoted with --force is not either. Train it on more posts or for longer, until it passes.",
        )
    for each in _line(registry, version):
        _require_consent(registry, version, each)
    try:
        refuse_forgotten(registry.store, authors_of(version.tags))
    except InputError as error:
        raise GateRefused(f"{what} is not published: {error.problem}", error.fix) from error


def _line(registry: Registry, version: BotVersion) -> list[BotVersion]:
    """The version and those that it goes on from: their posts are in its weights. Raises GateRefused where one is not known."""
    line = [version]
    while earlier := line[-1].tags.get(CONTINUED_TAG, ""):
        number = int(earlier) if earlier.isdecimal() and len(earlier) < 10 else 0
        known = registry.head(bot_name(version.name), number).versions if number else []
        if not known or known[0] in line:
            raise GateRefused(
                f"{version.name} version {version.version} is not published: it goes on from {earlier[:40]}, and nobody knows by what "
                "right that one's posts were used",
                f"Make it anew: `mynah run --name {version.name} …` without --continue.",
            )
        line.append(known[0])
    return line


def _require_consent(registry: Registry, version: BotVersion, maker: BotVersion) -> None:
    """Raise GateRefused unless all posts that `maker`, which `version` is or goes on from, was trained on may be published."""
    sources = _sources(registry, maker)
    bases = {basis for basis in maker.tags.get(CONSENT_TAG, "").split(", ") if basis} | {basis for _, basis in sources}
    against = sorted((bases or {UNKNOWN}) - set(MAY_BE_PUBLISHED))
    if not against:
        return
    named = [source for source, basis in sources if basis in against] or ["posts of it"]
    earlier = "" if maker == version else f", of version {maker.version} which it goes on from,"
    raise GateRefused(
        f"{version.name} version {version.version} is not published: {', '.join(named[:5])}{earlier} may not be "
        f"(consent: {', '.join(against)})",
        f"Only posts by consent {' or '.join(MAY_BE_PUBLISHED)} are. Make it again without that source, or, where their author agrees "
        "to it, with --basis permission.",
    )


def _sources(registry: Registry, version: BotVersion) -> list[tuple[str, str]]:
    """The sources of a version as its pipeline run recorded them, each with its basis; [] where it did not."""
    filtered = steps_of_version(registry, version).get("filter")
    if not filtered:
        return []
    try:
        text = fetch_text(place(f"{filtered.info.artifact_uri}/data", registry.store.tracking_uri), SOURCES_FILE)
        return [(f"{each['source']} of @{each['author']}", str(each["basis"])) for each in json.loads(text)]
    except (InputError, ValueError, KeyError, TypeError, RecursionError):
        return []
