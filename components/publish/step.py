"""publish: upload a bot's version with its card to a Hugging Face hub, when the verdict and its authors' consent allow it.

The order survives a kill at any point, and `mynah forget` finds the copy at any point: the version's tag names the repository before
anything is uploaded, and everything is uploaded in one commit.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.publish.consent import require_publishable
from components.publish.files import Terms, gather_files
from components.publish.licensing import BASE_LICENSE_TAG, LicenseAnswer, recorded_license, require_license
from mynah.core.errors import InputError
from mynah.core.files import storage_errors
from mynah.hub.client import Hub
from mynah.mlflow_client.client import store_errors
from mynah.mlflow_client.store import Store
from mynah.registry.actor import actor
from mynah.registry.history import Event, next_number, record
from mynah.registry.locks import alias_lock
from mynah.registry.published_copies import PUBLISHED, PublishedCopy, parse_copies, repository, same_repository, with_copy
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION, Bot, BotVersion, no_such_version


@dataclass(frozen=True, slots=True)
class Published:
    """A version on a hub."""

    name: str
    version: int
    to: str  # hub:ORG/NAME@COMMIT, as the version's tag has it
    commit: str
    url: str
    public: bool
    files: list[str]


def publish(
    name: str, to: str, store: Store, version: int = 0, *, public: bool = False, answer: LicenseAnswer | None = None
) -> Published:
    """Upload a version to a repository, which then holds it and nothing else.

    A failed upload leaves the repository as it was, or new and empty; running the command again retries.

    Args:
        name: The bot.
        to: hub:ORG/NAME.
        store: The tracking store.
        version: The version; 0 for the champion.
        public: Whether the repository is public.
        answer: What a person says of the base model's licence.

    Raises:
        GateRefused: The verdict, consent, a forgotten author or the base model's licence forbids it.
        InputError: The name, token or repository cannot be used.
        PlatformError: A store or the hub fails.
    """
    repository_name = repository(to)
    registry = Registry(store)
    selected = _version(registry.head(name, version or CHAMPION), version, registry)
    require_publishable(registry, selected)
    answer = answer or LicenseAnswer()
    terms = Terms(require_license(selected, repository_name, answer), answer)
    hub = Hub.from_environment("publishing")
    copy = PublishedCopy(repository_name, endpoint=hub.endpoint)
    scratch_errors = storage_errors(Path(tempfile.gettempdir()))
    with scratch_errors, tempfile.TemporaryDirectory(prefix="mynah-publish-") as scratch:
        files = gather_files(registry, selected, copy.url, Path(scratch), terms)
        was_private = _prepare(registry, hub, selected, copy, terms.license, public=public)
        commit = hub.commit(repository_name, files, f"{name} version {selected.version}")
    _finish(registry, hub, selected, PublishedCopy(repository_name, commit, hub.endpoint))
    if public and was_private:
        hub.open_to_all(repository_name)
    return _published(selected, PublishedCopy(repository_name, commit, hub.endpoint), files, public)


def _published(version: BotVersion, copy: PublishedCopy, files: Mapping[str, Path], public: bool) -> Published:
    return Published(version.name, version.version, str(copy), copy.commit, copy.url, public, sorted(files))


def _version(bot: Bot, number: int, registry: Registry) -> BotVersion:
    version = bot.at(number or CHAMPION)
    if version:
        return version
    raise no_such_version(registry.bot(bot.name), f"version {number}" if number else "champion")


def _prepare(registry: Registry, hub: Hub, version: BotVersion, copy: PublishedCopy, base_license: str, *, public: bool) -> bool:
    """Create the repository, and record it on the version; return whether it already existed as a private one.

    Holds the bot's lock, like `mynah forget`: a version is not published while it is erased.
    """
    with alias_lock(version.name, registry.store) as still_held:
        bot = registry.bot(version.name)
        current = _version(bot, version.version, registry)
        require_publishable(registry, current)
        state = hub.state(copy.repository)
        if state and not state.is_empty and not _is_ours(bot, copy):
            raise InputError(
                f"{copy.url} is there already, and not from {version.name}",
                "Name a new repository. One that Mynah publishes into is overwritten, and deleted when the bot is forgotten.",
            )
        if state and not state.is_private and not public:
            raise InputError(f"{copy.url} is public", "Say --public, or make it private on its page, or name another one.")
        still_held()
        hub.require_owner(copy.repository)
        if not state:
            hub.create(copy.repository, private=not public)
            if not hub.state(copy.repository):
                raise InputError(f"{copy.url} is there, and this token may not see it", "Name another repository.")
        if not any(same_repository(known, copy) for known in parse_copies(current.tags.get(PUBLISHED, ""))):
            _tag(registry, current, PUBLISHED, with_copy(current.tags.get(PUBLISHED, ""), copy))
        if recorded_license(current) != base_license:  # a person named it
            _tag(registry, current, BASE_LICENSE_TAG, base_license)
    return bool(state and state.is_private)


def _is_ours(bot: Bot, copy: PublishedCopy) -> bool:
    """Return whether a version of the bot was published to the repository of `copy`."""
    return any(
        same_repository(known, copy) for version in bot.versions for known in parse_copies(version.tags.get(PUBLISHED, ""))
    )


def _finish(registry: Registry, hub: Hub, version: BotVersion, copy: PublishedCopy) -> None:
    """Record the commit on the version and in the bot's history; delete the copy if the bot was forgotten meanwhile."""
    with alias_lock(version.name, registry.store) as still_held:
        try:
            bot = registry.head(version.name, version.version)
            current = _version(bot, version.version, registry)
        except InputError as error:
            hub.delete(copy.repository)
            raise InputError(
                f"{version.name} version {version.version} was removed while it was published, so {copy.url} is deleted again",
                f"See `mynah show {version.name}`.",
            ) from error
        still_held()
        _tag(registry, current, PUBLISHED, with_copy(current.tags.get(PUBLISHED, ""), copy))
        champion, previous = bot.aliases.get("champion", 0), bot.aliases.get("previous", 0)
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = Event(next_number(bot), "publish", current.version, champion, previous, champion, actor(), when, [str(copy)])
        with store_errors(registry.store.tracking_uri):
            record(registry.writer, bot.name, event)


def _tag(registry: Registry, version: BotVersion, key: str, value: str) -> None:
    with store_errors(registry.store.tracking_uri):
        registry.writer.set_model_version_tag(version.name, str(version.version), key, value)
