"""Where the served bots come from: folders of this machine, or MLflow's registry."""

import contextlib
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mynah.core.errors import InputError
from mynah.core.files import atomic_folder, make_folder
from mynah.core.names import bot_name
from mynah.mlflow_client.store import Store
from mynah.models.adapter import is_adapter
from mynah.registry.alias_snapshot import all_aliases
from mynah.registry.checkpoint_cache import MODEL, cache_folder
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION
from mynah.storage.local import FolderArtifactStore
from serving.models.address import VERSION

if TYPE_CHECKING:
    from mynah.registry.registry import Registry
    from mynah.registry.versions import BotVersion

CARD, PICTURE = "README.md", "predictions.png"
Aliases = Mapping[str, Mapping[str, str]]  # bot -> alias -> version


@dataclass(frozen=True, slots=True)
class ServedBot:
    """A bot to serve: its name, the version shown to clients, and a folder with a complete Hugging Face checkpoint
    or an adapter.

    Raises:
        InputError: the name is not a valid bot name, or requests could not name the version.
    """

    name: str
    version: str
    folder: Path

    def __post_init__(self) -> None:
        bot_name(self.name)
        if not VERSION.fullmatch(self.version):
            raise InputError(
                f"{self.version[:80]!r} can't be a version: requests name it as {self.name}:VERSION",
                "Use a-z, A-Z, 0-9 and inner dots, hyphens and underscores, 64 characters at most.",
            )


@dataclass(frozen=True, slots=True)
class LocalVersion:
    """A version on this machine's disk."""

    folder: Path
    passed: bool  # the gate's verdict; traffic is not split to a version that failed


class ModelSource(Protocol):
    """A source of bots. Its methods block and are called on several threads concurrently."""

    @property
    def eager(self) -> Sequence[str]:
        """The bots that are loaded before the server is ready; others are loaded on their first request."""

    @property
    def is_dynamic(self) -> bool:
        """Whether bots and aliases may change while the server runs."""

    def aliases(self) -> Aliases:
        """Return all bots with their aliases. Raises PlatformError when the source is unreachable."""

    def versions(self, name: str) -> list[str]:
        """Return a bot's versions, the newest first. Raises InputError for an unknown bot, and PlatformError as `aliases` does."""

    def fetch(self, name: str, version: str) -> LocalVersion:
        """Return a version on this machine's disk; download it first if necessary.

        Args:
            name: the bot's name.
            version: the version.

        Raises:
            InputError: its files are missing or incomplete.
            PlatformError: the source is unreachable.
        """

    def card_folder(self, name: str, version: str) -> Path | None:
        """Return a folder with a version's card and picture, which may lack the weights. Raises as `fetch` does."""

    def prepare(self) -> None:
        """Do slow work before the first request. Raises PlatformError when the source is unreachable."""

    def discard(self, name: str, version: str = "") -> None:
        """Erase the downloaded copy of a version, or of all versions for "", because it is damaged or was deleted."""


class FolderSource:
    """Bots in folders of this machine, such as /mnt/models, where KServe's storage initializer downloads a model. They never change."""

    eager: Sequence[str]
    is_dynamic = False

    def __init__(self, bots: Sequence[ServedBot]) -> None:
        """Raise InputError when there is no bot, or two have the same name."""
        self.eager = [bot.name for bot in bots]
        self._bots = {bot.name: bot for bot in bots}
        if not bots:
            raise InputError("there is no bot to serve", "Name one that was registered, or a folder with a checkpoint.")
        if len(self._bots) < len(bots):
            raise InputError(f"two bots share a name: {', '.join(sorted(self.eager))}", "Name each bot once.")

    def aliases(self) -> Aliases:
        """Return all bots, with their only version as the champion."""
        return {bot.name: {CHAMPION: bot.version} for bot in self._bots.values()}

    def versions(self, name: str) -> list[str]:
        """Return the only version of a bot."""
        return [self._bots[name].version]

    def fetch(self, name: str, version: str) -> LocalVersion:
        """Return the bot's folder, whose checkpoint is checked when it is loaded."""
        return LocalVersion(self._bots[name].folder, passed=True)

    def card_folder(self, name: str, version: str) -> Path | None:
        """Return the bot's folder; None for another version."""
        bot = self._bots.get(name)
        return bot.folder if bot and bot.version == version else None

    def prepare(self) -> None:
        """Do nothing: the folders are local."""

    def discard(self, name: str, version: str = "") -> None:
        """Do nothing: the folder does not belong to the server."""


class RegistrySource:
    """The bots of MLflow's registry, all or those named. Files from S3 are cached on disk, shared with other processes.

    MLflow takes a second to import, so it is imported on first use; reading the aliases of a local store does not need it.
    """

    is_dynamic = True

    def __init__(self, store: Store, names: Sequence[str] = ()) -> None:
        """Create a source of all bots of a store, or of those in `names`. Raises InputError for an invalid name."""
        self.eager: Sequence[str] = [bot_name(name) for name in dict.fromkeys(names)]
        self.store = store
        self._only = set(self.eager)
        self._fetched: dict[tuple[str, str], LocalVersion] = {}
        self._cards: dict[tuple[str, str], Path] = {}
        self._opening = threading.Lock()
        self._registry: Registry | None = None

    def aliases(self) -> Aliases:
        """Return the served bots of the registry with their aliases; erase the copies of bots that no longer exist."""
        aliases_by_bot = {
            name: {alias: str(version) for alias, version in aliases.items()}
            for name, aliases in all_aliases(self.store).items()
            if not self._only or name in self._only
        }
        for name in {name for name, _ in {*self._fetched, *self._cards}} - aliases_by_bot.keys():
            self.discard(name)
        return aliases_by_bot

    def versions(self, name: str) -> list[str]:
        """Return a bot's versions, the newest first."""
        return [str(version.version) for version in self._open().bot(name).versions]

    def fetch(self, name: str, version: str) -> LocalVersion:
        """Return a version on disk. The first call checks the files' sizes, or their digests after a download."""
        known = self._fetched.get((name, version))
        if known and ((known.folder / "config.json").is_file() or is_adapter(known.folder)):
            return known
        registered = self._version(name, version)
        fetched = LocalVersion(self._open().checkpoint(registered), registered.passed)
        self._fetched[name, version] = fetched
        return fetched

    def card_folder(self, name: str, version: str) -> Path | None:
        """Return the folder of a version that was fetched or is in a local store, or else of its downloaded card and picture."""
        known = self._fetched.get((name, version))
        if known or (name, version) in self._cards:
            return known.folder if known else self._cards[name, version]
        registered = self._version(name, version)
        files = self._open().files(registered)
        if isinstance(files, FolderArtifactStore):
            return self._cards.setdefault((name, version), files.folder / MODEL)
        target = (
            cache_folder(self.store) / f"{registered.model_id or f'{name}-{version}'}.card"
        )  # `mynah forget` finds the folder by this name
        if not target.is_dir():
            make_folder(target.parent)
            with atomic_folder(target) as folder:
                for file in (CARD, PICTURE):
                    with contextlib.suppress(InputError):  # not every version has both
                        files.get(f"{MODEL}{file}", folder / file)
        return self._cards.setdefault((name, version), target)

    def prepare(self) -> None:
        """Import MLflow (1 s) and look up a version, because its database layers take 0.4 s for their first query."""
        registry = self._open()
        name, aliases = next(((name, aliases) for name, aliases in self.aliases().items() if aliases), ("", {}))
        with contextlib.suppress(InputError):  # it was deleted just now
            for version in registry.head(name, *map(int, aliases.values())).versions[:1] if name else ():
                registry.uri(version)

    def discard(self, name: str, version: str = "") -> None:
        """Erase downloaded copies; a local store's files are not copies and stay."""
        for key in [key for key in {*self._fetched, *self._cards} if key[0] == name and version in ("", key[1])]:
            known, card = self._fetched.pop(key, None), self._cards.pop(key, None)
            for folder in (known.folder if known else None, card):
                if folder and folder.parent == cache_folder(self.store):
                    with contextlib.suppress(OSError):  # another server on this machine may be erasing it too
                        shutil.rmtree(folder)

    def _version(self, name: str, version: str) -> "BotVersion":
        versions = self._open().head(name, int(version)).versions
        if not versions:
            raise InputError(f"{name} has no version {version}", f"See `mynah show {name}`.")
        return versions[0]

    def _open(self) -> "Registry":
        with self._opening:
            if not self._registry:
                self._registry = Registry(self.store)
            return self._registry
