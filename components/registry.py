"""MLflow's model registry: one registered model per bot, and the aliases that say which version does what.

Shared by register, promote, prune and forget (which write), and by the server and the commands that show bots (which read).
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import Place, place
from components.errors import InputError
from components.names import BOT_NAME, bot_name
from components.store import BOT_TAG, Store, client, store_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True, slots=True)
class BotVersion:
    """A version of a bot as the registry has it."""

    name: str
    version: int
    created_at: datetime
    tags: dict[str, str]
    run_id: str = ""
    source: str = ""  # models:/m-…, the logged model that holds its files

    @property
    def passed(self) -> bool:
        """Whether the gate passed it."""
        return self.tags.get("mynah.verdict") == "passed"

    @property
    def held_out_loss(self) -> float | None:
        """Nats per token on its own held-out posts; None where the tag holds no finite number, for anybody can write tags."""
        return self.number("mynah.held_out_loss")

    def number(self, tag: str) -> float | None:
        """The finite number in a tag, or None."""
        with contextlib.suppress(ValueError):
            value = float(self.tags.get(tag, ""))
            return value if math.isfinite(value) else None
        return None

    @property
    def model_id(self) -> str:
        """The logged model that holds its files; "" where its source is none."""
        return self.source.removeprefix("models:/") if self.source.startswith("models:/m-") else ""


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot with its versions, the newest first, and who serves: alias to version number."""

    name: str
    versions: Sequence[BotVersion]
    aliases: dict[str, int]
    tags: dict[str, str]

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

    @property
    def writer(self) -> Any:  # noqa: ANN401 - MLflow's ModelRegistryClient, which it does not export
        """MLflow's own client of the registry alone: `MlflowClient` asks before each write whether the model is not a prompt."""
        return self.client._get_registry_client()

    def bots(self) -> list[Bot]:
        """All bots by name."""
        return [self._bot(model) for model in self._models()]

    def names(self) -> list[str]:
        """The names of all bots."""
        return [str(model.name) for model in self._models()]

    def bot(self, name: str) -> Bot:
        """The bot called `name` with all its versions. Raises InputError with the nearest name when there is none."""
        return self._bot(self._model(name))

    def head(self, name: str, *wanted: str | int) -> Bot:
        """The bot with only the versions `wanted`, by number or alias, of those that there are: a registry may hold thousands."""
        from mlflow.exceptions import MlflowException

        model = self._model(name)
        numbers = sorted(
            {int(model.aliases.get(each, 0) if isinstance(each, str) else each) for each in wanted} - {0}, reverse=True
        )
        versions = []
        with store_errors(self.store.tracking_uri):
            for number in numbers:
                try:
                    versions.append(_version(self.client.get_model_version(name, str(number))))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                        raise
        return _as_bot(model, versions)

    def files(self, version: BotVersion) -> Place:
        """Where the version's files lie: MLmodel, and model/ with the whole Hugging Face folder."""
        return place(self.uri(version), self.store.tracking_uri)

    def uri(self, version: BotVersion) -> str:
        """The immutable address of the version's files. Raises InputError when the registry no longer knows it."""
        from mlflow.exceptions import MlflowException

        with store_errors(self.store.tracking_uri):
            try:
                uri = self.client.get_model_version_download_uri(version.name, str(version.version))
                if uri.startswith("models:/"):  # MLflow 3: the version's source is a logged model, whose files lie elsewhere
                    uri = self.client.get_logged_model(uri.removeprefix("models:/")).artifact_location
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise gone(version, "the registry") from error
        return str(uri)

    def checkpoint(self, version: BotVersion) -> Path:
        """The version's complete Hugging Face folder on this machine's disk, fetched from S3 once.

        Raises InputError when its files are gone or not what was registered: never an empty folder.
        """
        from components.checkpoint_cache import local_checkpoint

        return local_checkpoint(self.store, version, self.files(version))

    def _models(self) -> list["RegisteredModel"]:
        found: list[RegisteredModel] = []
        token = None
        with store_errors(self.store.tracking_uri):
            while True:
                page = self.client.search_registered_models(max_results=100, order_by=["name ASC"], page_token=token)
                found += [model for model in page if BOT_TAG in model.tags and BOT_NAME.fullmatch(model.name)]
                token = page.token
                if not token:
                    return found

    def _model(self, name: str) -> "RegisteredModel":
        from mlflow.exceptions import MlflowException

        bot_name(name)
        with store_errors(self.store.tracking_uri):
            try:
                return self.client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        raise no_such_bot(name, self.names())

    def _bot(self, model: "RegisteredModel") -> Bot:
        found: list[BotVersion] = []
        token = None
        with store_errors(self.store.tracking_uri):
            while True:
                page = self.client.search_model_versions(f"name = '{model.name}'", max_results=1000, page_token=token)
                found += [_version(version) for version in page]
                token = page.token
                if not token:
                    break
        return _as_bot(model, sorted(found, key=lambda version: version.version, reverse=True))


def gone(version: BotVersion, where: str) -> InputError:
    """The error for a version whose files are not there."""
    return InputError(
        f"the files of {version.name} version {version.version} are gone from {where}",
        f"Make it again with `mynah run --name {version.name} …`, or promote another version; `mynah doctor` shows all.",
    )


def no_such_bot(name: str, known: Sequence[str]) -> InputError:
    """The error for a name that no bot has."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    if near:
        return InputError(f"there is no bot {name[:80]!r}", f"Did you mean {near[0]!r}?")
    return InputError(
        f"there is no bot {name[:80]!r}", "See `mynah bots`, or make one with `mynah run --name NAME --from SOURCE`."
    )


def no_such_version(bot: Bot, wanted: str) -> InputError:
    """The error for a version or alias that a bot does not have."""
    there_are = ", ".join(str(each.version) for each in bot.versions[:20]) or "none"
    return InputError(f"{bot.name} has no {wanted}", f"Its versions: {there_are}. See `mynah show {bot.name}`.")


def _as_bot(model: "RegisteredModel", versions: Sequence[BotVersion]) -> Bot:
    return Bot(str(model.name), versions, {alias: int(number) for alias, number in model.aliases.items()}, dict(model.tags))


def _version(found: "ModelVersion") -> BotVersion:
    when = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return BotVersion(found.name, int(found.version), when, dict(found.tags), str(found.run_id or ""), str(found.source or ""))
