"""Decide whether a version may be published: by the gate, its authors' consent, and requests to be forgotten."""

from pathlib import Path

from mynah.core.errors import GateRefused, InputError
from mynah.data.authors import CONSENT_TAG, authors_of
from mynah.data.source_records import SOURCES_FILE, parse_sources
from mynah.registry.forgotten_authors import refuse_forgotten
from mynah.registry.lineage import CONTINUED_TAG, steps_of_version
from mynah.registry.registry import Registry
from mynah.registry.versions import BotVersion, parse_version
from mynah.storage.base import fetch_text
from mynah.storage.open import open_artifact_store

PUBLISHABLE_BASES = ("own-account", "permission")  # other bases do not include consent to publish
UNKNOWN = "unstated"


def require_publishable(registry: Registry, version: BotVersion) -> None:
    """Raise GateRefused, with the reason and a fix, unless `version` may be published."""
    what = f"{version.name} version {version.version}"
    if not version.passed:
        raise GateRefused(
            f"{what} is not published: the gate did not pass it ({version.tags.get('mynah.verdict', 'no verdict')})",
            "What was promoted with --force is not either. Train it on more posts or for longer, until it passes.",
        )
    for ancestor in _line(registry, version):
        _require_consent(registry, version, ancestor)
    try:
        refuse_forgotten(registry.store, authors_of(version.tags))
    except InputError as error:
        raise GateRefused(f"{what} is not published: {error.problem}", error.fix) from error


def _line(registry: Registry, version: BotVersion) -> list[BotVersion]:
    """Return the version and its ancestors: their posts are in its weights. Raises GateRefused where one is unknown."""
    line = [version]
    while earlier := line[-1].tags.get(CONTINUED_TAG, ""):
        number = parse_version(earlier)
        known = registry.head(version.name, number).versions if isinstance(number, int) else []
        if not known or known[0] in line:
            raise GateRefused(
                f"{version.name} version {version.version} is not published: it goes on from {earlier[:40]}, and nobody knows by what "
                "right that one's posts were used",
                f"Train it again: `mynah run --name {version.name} …` without --continue.",
            )
        line.append(known[0])
    return line


def _require_consent(registry: Registry, version: BotVersion, ancestor: BotVersion) -> None:
    """Raise GateRefused unless all training posts of `ancestor`, `version` itself or an ancestor, may be published."""
    sources = _sources(registry, ancestor)
    bases = {basis for basis in ancestor.tags.get(CONSENT_TAG, "").split(", ") if basis} | {basis for _, basis in sources}
    against = sorted((bases or {UNKNOWN}) - set(PUBLISHABLE_BASES))
    if not against:
        return
    named = [source for source, basis in sources if basis in against] or ["posts of it"]
    earlier = "" if ancestor == version else f", of version {ancestor.version} which it goes on from,"
    raise GateRefused(
        f"{version.name} version {version.version} is not published: {', '.join(named[:5])}{earlier} may not be "
        f"(consent: {', '.join(against)})",
        f"Only posts by consent {' or '.join(PUBLISHABLE_BASES)} are. Train it again without that source, or, where their author agrees "
        "to it, with --basis permission.",
    )


def _sources(registry: Registry, version: BotVersion) -> list[tuple[str, str]]:
    """Return the sources of a version from its pipeline run, each with its basis; [] where they are not recorded.

    Sources that cannot be read give no right to publish anything: their basis is unknown.
    """
    filter_run = steps_of_version(registry, version).get("filter")
    if not filter_run:
        return []
    folder = open_artifact_store(f"{filter_run.info.artifact_uri}/data", registry.store.tracking_uri)
    if SOURCES_FILE not in folder.files():
        return []
    try:
        sources = parse_sources(fetch_text(folder, SOURCES_FILE), Path("data", SOURCES_FILE))
    except (InputError, ValueError) as error:  # ValueError: not UTF-8
        return [(f"posts whose sources cannot be read ({error.problem if isinstance(error, InputError) else error})", UNKNOWN)]
    return [(f"{source.source} of @{source.author}", source.basis) for source in sources]
