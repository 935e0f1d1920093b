"""Where the served bots come from: folders of this machine, or MLflow's registry."""

import contextlib
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from components.aliases import all_aliases
from components.errors import InputError
from components.files import make_folder
from components.names import bot_name
from components.registry import CHAMPION
from components.store import Store

if TYPE_CHECKING:
    from components.registry import BotVersion, Registry

CARD, PICTURE = "README.md", "predictions.png"
Aliases = Mapping[str, Mapping[str, str]]  # bot -> alias -> version


@dataclass(frozen=True, slots=True)
class ServedBot:
    """A bot to serve: its name, the version shown to callers, and a folder with its whole Hugging Face checkpoint.

    Raises InputError when the name is no bot's name.
    """

    name: str
    version: str
    folder: Path

    def __post_init__(self) -> None:
        bot_name(self.name)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version on this machine's disk."""

    folder: Path
    passed: bool  # whether the gate passed it; one that failed is answered to who asks for it by name, and to nobody else


class Source(Protocol):
    """Where bots come from. What it does blocks, and may be asked on several threads at once."""

    @property
    def eager(self) -> Sequence[str]:
        """The bots that a server loads before it is ready; the others on their first use."""

    @property
    def moves(self) -> bool:
        """Whether bots and aliases may change while the server runs."""

    def aliases(self) -> Aliases:
        """Every bot with its aliases. Raises PlatformError when they cannot be had now."""

    def versions(self, name: str) -> list[str]:
        """The versions of a bot, the newest first. Raises InputError for an unknown bot, PlatformError like `aliases`."""

    def fetch(self, name: str, version: str) -> Fetched:
        """The version on this machine's disk, downloaded where need be.

        Raises InputError when its files are gone or not whole, PlatformError when they cannot be had now.
        """

    def card_folder(self, name: str, version: str) -> Path | None:
        """The folder with a version's card and picture, fetched where need be without the weights. Raises as `fetch` does."""

    def prepare(self) -> None:
        """Do what would keep the first reader waiting. Raises PlatformError when the source is away."""

    def discard(self, name: str, version: str = "") -> None:
        """Erase this machine's own copy of a version, or of a bot's all, for it is damaged or no more."""


class FolderSource:
    """Bots in folders of this machine, such as /mnt/models, where KServe's storage initializer puts one. They never change."""

    eager: Sequence[str]
    moves = False

    def __init__(self, bots: Sequence[ServedBot]) -> None:
        """Raises InputError when there is none, or two share a name."""
        self.eager = [bot.name for bot in bots]
        self._bots = {bot.name: bot for bot in bots}
        if not bots:
            raise InputError("there is no bot to serve", "Name one that was registered, or a folder with a checkpoint.")
        if len(self._bots) < len(bots):
            raise InputError(f"two bots share a name: {', '.join(sorted(self.eager))}", "Name each bot once.")

    def aliases(self) -> Aliases:
        """Every bot with its one version as champion."""
        return {bot.name: {CHAMPION: bot.version} for bot in self._bots.values()}

    def versions(self, name: str) -> list[str]:
        """The one version of a bot."""
        return [self._bots[name].version]

    def fetch(self, name: str, version: str) -> Fetched:
        """The bot's folder. Whether it is a whole checkpoint, loading it shows."""
        return Fetched(self._bots[name].folder, passed=True)

    def card_folder(self, name: str, version: str) -> Path | None:
        """The bot's folder."""
        bot = self._bots.get(name)
        return bot.folder if bot and bot.version == version else None

    def prepare(self) -> None:
        """Nothing."""

    def discard(self, name: str, version: str = "") -> None:
        """Nothing: the folder is not the server's."""


class RegistrySource:
    """The bots of MLflow's registry: all there are, or those named. What is fetched from S3 is kept and shared on disk.

    MLflow takes a second to import, so nothing of it is until it is needed; on a laptop's store not even to see who serves.
    """

    moves = True

    def __init__(self, store: Store, names: Sequence[str] = ()) -> None:
        """Raises InputError for a name that is no bot's."""
        self.eager: Sequence[str] = [bot_name(name) for name in dict.fromkeys(names)]
        self.store = store
        self._only = set(self.eager)
        self._fetched: dict[tuple[str, str], Fetched] = {}
        self._cards: dict[tuple[str, str], Path] = {}
        self._opening = threading.Lock()
        self._registry: Registry | None = None

    def aliases(self) -> Aliases:
        """Every bot of the registry that is served here, and its aliases; copies of others, which are no more, are erased."""
        found = {
            name: {alias: str(version) for alias, version in mine.items()}
            for name, mine in all_aliases(self.store).items()
            if not self._only or name in self._only
        }
        for name in {name for name, _ in {*self._fetched, *self._cards}} - found.keys():
            self.discard(name)
        return found

    def versions(self, name: str) -> list[str]:
        """The versions of a bot, the newest first."""
        return [str(version.version) for version in self._open().bot(name).versions]

    def fetch(self, name: str, version: str) -> Fetched:
        """The version on disk, verified when this process first asks: its files' sizes, or their digests when they are downloaded."""
        known = self._fetched.get((name, version))
        if known and (known.folder / "config.json").is_file():
            return known
        found = self._version(name, version)
        fetched = Fetched(self._open().checkpoint(found), found.passed)
        self._fetched[name, version] = fetched
        return fetched

    def card_folder(self, name: str, version: str) -> Path | None:
        """The folder of a version that was fetched or lies in a laptop's store; else its card and picture alone, some kilobytes."""
        from components.artifact_folder import FolderPlace
        from components.checkpoint_cache import MODEL, cache_folder
        from components.files import atomic_folder

        known = self._fetched.get((name, version))
        if known or (name, version) in self._cards:
            return known.folder if known else self._cards[name, version]
        found = self._version(name, version)
        files = self._open().files(found)
        if isinstance(files, FolderPlace):
            return self._cards.setdefault((name, version), files.folder / MODEL)
        target = cache_folder(self.store) / f"{found.model_id or f'{name}-{version}'}.card"  # `mynah forget` finds it by its name
        if not target.is_dir():
            make_folder(target.parent)
            with atomic_folder(target) as folder:
                for file in (CARD, PICTURE):
                    with contextlib.suppress(InputError):  # not every version has both
                        files.get(f"{MODEL}{file}", folder / file)
        return self._cards.setdefault((name, version), target)

    def prepare(self) -> None:
        """Import MLflow, a second, and ask it where some version lies, for its database layers take 0.4 s over their first answer."""
        registry = self._open()
        name, aliases = next(((name, aliases) for name, aliases in self.aliases().items() if aliases), ("", {}))
        with contextlib.suppress(InputError):  # gone a moment ago: as well
            for version in registry.head(name, *map(int, aliases.values())).versions[:1] if name else ():
                registry.uri(version)

    def discard(self, name: str, version: str = "") -> None:
        """Erase the copies that were downloaded, if any were; a laptop's store is its own."""
        from components.checkpoint_cache import cache_folder

        for key in [key for key in {*self._fetched, *self._cards} if key[0] == name and version in ("", key[1])]:
            known, card = self._fetched.pop(key, None), self._cards.pop(key, None)
            for folder in (known.folder if known else None, card):
                if folder and folder.parent == cache_folder(self.store):
                    with contextlib.suppress(OSError):  # another server on this machine may be erasing it too
                        shutil.rmtree(folder)

    def _version(self, name: str, version: str) -> "BotVersion":
        found = self._open().head(name, int(version)).versions
        if not found:
            raise InputError(f"{name} has no version {version}", f"See `mynah show {name}`.")
        return found[0]

    def _open(self) -> "Registry":
        from components.registry import Registry

        with self._opening:
            if not self._registry:
                self._registry = Registry(self.store)
            return self._registry
