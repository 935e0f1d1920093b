"""publish: a bot's version with its card on a Hugging Face hub, when the verdict, the people and their consent allow it.

The order survives a kill at any point, and finds `mynah forget` wherever it is: the version's tag names the repository before
anything is uploaded, everything goes up in one commit, and whoever forgets the bot meanwhile finds the repository by the tag.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.copies import PUBLISHED, Copy, copies, repository, same_place, with_copy
from components.errors import InputError
from components.files import storage_errors
from components.locks import alias_lock
from components.names import bot_name
from components.promote import actor
from components.promote.history import Event, next_number, record
from components.publish.files import gather
from components.publish.hub import Hub
from components.publish.rights import require_right
from components.registry import CHAMPION, Bot, BotVersion, Registry, no_such_version
from components.store import Store, store_errors


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


def publish(name: str, to: str, store: Store, version: int = 0, *, public: bool = False) -> Published:
    """Upload a version of `name` (0: the champion) to `to`, hub:ORG/NAME: the repository then holds it, and nothing else.

    Raises GateRefused where the verdict, consent or a forgotten author is against it, InputError for a name, a token or a repository
    that cannot be used, PlatformError when a store or the hub fails. An upload that fails leaves
    the repository as it was, or new and empty; the same command tries again.
    """
    place = repository(to)
    registry = Registry(store)
    chosen = _version(registry.head(bot_name(name), version or CHAMPION), version, registry)
    require_right(registry, chosen)
    hub = Hub.from_environment("publishing")
    copy = Copy(place, endpoint=hub.endpoint)
    scratch_errors = storage_errors(Path(tempfile.gettempdir()))
    with scratch_errors, tempfile.TemporaryDirectory(prefix="mynah-publish-") as scratch:
        files = gather(registry, chosen, copy.url, Path(scratch))
        was_private = _prepare(registry, hub, chosen, copy, public=public)
        commit = hub.commit(place, files, f"{name} version {chosen.version}")
    _finish(registry, hub, chosen, Copy(place, commit, hub.endpoint))
    if public and was_private:
        hub.open_to_all(place)
    return _published(chosen, Copy(place, commit, hub.endpoint), files, public)


def _published(version: BotVersion, copy: Copy, files: Mapping[str, Path], public: bool) -> Published:
    return Published(version.name, version.version, str(copy), copy.commit, copy.url, public, sorted(files))


def _version(bot: Bot, wanted: int, registry: Registry) -> BotVersion:
    found = next((each for each in bot.versions if each.version == wanted), None) if wanted else bot.champion
    if found:
        return found
    raise no_such_version(registry.bot(bot.name), f"version {wanted}" if wanted else "champion")


def _prepare(registry: Registry, hub: Hub, version: BotVersion, copy: Copy, *, public: bool) -> bool:
    """Make the repository, and note it on the version; whether it was there, and private.

    Under the bot's lock, like `mynah forget`: what it erases is not published meanwhile.
    """
    with alias_lock(version.name, registry.store) as still_held:
        bot = registry.bot(version.name)
        now = _version(bot, version.version, registry)
        require_right(registry, now)
        there = hub.state(copy.repository)
        if there and not there.is_empty and not _is_ours(bot, copy):
            raise InputError(
                f"{copy.url} is there already, and not from {version.name}",
                "Name a new repository. One that Mynah publishes into is overwritten, and deleted when the bot is forgotten.",
            )
        if there and not there.is_private and not public:
            raise InputError(f"{copy.url} is public", "Say --public, or make it private on its page, or name another one.")
        still_held()
        hub.require_owner(copy.repository)
        if not there:
            hub.create(copy.repository, private=not public)
            if not hub.state(copy.repository):
                raise InputError(f"{copy.url} is there, and this token may not see it", "Name another repository.")
        if not any(same_place(each, copy) for each in copies(now.tags.get(PUBLISHED, ""))):
            _tag(registry, now, with_copy(now.tags.get(PUBLISHED, ""), copy))
    return bool(there and there.is_private)


def _is_ours(bot: Bot, copy: Copy) -> bool:
    """Whether a version of the bot was published into the repository of `copy`."""
    return any(same_place(each, copy) for version in bot.versions for each in copies(version.tags.get(PUBLISHED, "")))


def _finish(registry: Registry, hub: Hub, version: BotVersion, copy: Copy) -> None:
    """Note the commit on the version and in the bot's history; where the bot was forgotten meanwhile, delete the copy instead."""
    with alias_lock(version.name, registry.store) as still_held:
        try:
            bot = registry.head(version.name, version.version)
            now = _version(bot, version.version, registry)
        except InputError as error:
            hub.delete(copy.repository)
            raise InputError(
                f"{version.name} version {version.version} was removed while it was published, so {copy.url} is deleted again",
                f"See `mynah show {version.name}`.",
            ) from error
        still_held()
        _tag(registry, now, with_copy(now.tags.get(PUBLISHED, ""), copy))
        champion, previous = bot.aliases.get("champion", 0), bot.aliases.get("previous", 0)
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = Event(next_number(bot), "publish", now.version, champion, previous, champion, actor(), when, [str(copy)])
        with store_errors(registry.store.tracking_uri):
            record(registry.writer, bot.name, event)


def _tag(registry: Registry, version: BotVersion, value: str) -> None:
    with store_errors(registry.store.tracking_uri):
        registry.writer.set_model_version_tag(version.name, str(version.version), PUBLISHED, value)
