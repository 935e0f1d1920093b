"""MLflow's model registry: one registered model per bot, and the aliases that say which version does what.

Shared by register and promote (which write), and by the server, `mynah generate` and `mynah bots` (which read).
"""

import contextlib
import math
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import InputError
from components.names import bot_name
from components.tracking import Store, client, store_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
BOT_TAG = "mynah.bot"  # tells Mynah's registered models from others in the same registry


@dataclass(frozen=True, slots=True)
class BotVersion:
    """A version of a bot as the registry has it."""

    name: str
    version: int
    created_at: datetime
    tags: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether the gate passed it."""
        return self.tags.get("mynah.verdict") == "passed"

    @property
    def held_out_loss(self) -> float | None:
        """Nats per token on its own held-out posts; None where the tag holds no finite number, for anybody can write tags."""
        with contextlib.suppress(ValueError):
            value = float(self.tags.get("mynah.held_out_loss", ""))
            return value if math.isfinite(value) else None
        return None


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot with its versions, the newest first, and who serves: alias to version number."""

    name: str
    versions: Sequence[BotVersion]
    aliases: dict[str, int]

    @property
    def champion(self) -> BotVersion | None:
        """The version that serves."""
        return self.at(CHAMPION)

    def at(self, alias: str) -> BotVersion | None:
        """The version that `alias` points to."""
        return next((version for version in self.versions if version.version == self.aliases.get(alias)), None)


class Registry:
    """The registry of a store, read. Every method raises PlatformError when the store fails."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.client = client(store.tracking_uri)

    def bots(self) -> list[Bot]:
        """All bots by name."""
        found = []
        token = None
        with store_errors(self.store.tracking_uri):
            while True:
                page = self.client.search_registered_models(max_results=100, order_by=["name ASC"], page_token=token)
                found += [self._bot(model) for model in page if BOT_TAG in model.tags]
                token = page.token
                if not token:
                    return found

    def bot(self, name: str) -> Bot:
        """The bot called `name`. Raises InputError with the nearest name when there is none, or it can be no bot's name."""
        from mlflow.exceptions import MlflowException

        bot_name(name)
        with store_errors(self.store.tracking_uri):
            try:
                return self._bot(self.client.get_registered_model(name))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        raise no_such_bot(name, [bot.name for bot in self.bots()])

    def checkpoint(self, version: BotVersion) -> Path:
        """The version's complete Hugging Face folder on disk. Raises InputError when its files are gone."""
        with store_errors(self.store.tracking_uri):
            uri = self.client.get_model_version_download_uri(version.name, str(version.version))
            if uri.startswith("models:/"):  # MLflow 3: the version's source is a logged model, whose files lie elsewhere
                uri = self.client.get_logged_model(uri.removeprefix("models:/")).artifact_location
        folder = Path(urllib.parse.unquote(urllib.parse.urlparse(uri).path)) / "model"
        if not (folder / "config.json").is_file():
            raise InputError(
                f"the files of {version.name} version {version.version} are gone from {folder.parent}",
                f"Make it again with `mynah run --name {version.name} …`, or promote another version.",
            )
        return folder

    def _bot(self, model: "RegisteredModel") -> Bot:
        versions = sorted(
            (_version(found) for found in self.client.search_model_versions(f"name = '{model.name}'")),
            key=lambda version: version.version,
            reverse=True,
        )
        return Bot(model.name, versions, {alias: int(number) for alias, number in model.aliases.items()})


def no_such_bot(name: str, known: Sequence[str]) -> InputError:
    """The error for a name that no bot has."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    if near:
        return InputError(f"there is no bot {name[:80]!r}", f"Did you mean {near[0]!r}?")
    return InputError(
        f"there is no bot {name[:80]!r}", "See `mynah bots`, or make one with `mynah run --name NAME --from SOURCE`."
    )


def _version(found: "ModelVersion") -> BotVersion:
    when = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return BotVersion(found.name, int(found.version), when, dict(found.tags))
