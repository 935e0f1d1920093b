"""Read MLflow's model registry: one registered model per bot, with aliases for the roles of its versions.

Used by register, promote, prune and forget (which write), and by the server and the commands that show bots (which read). Importing mlflow takes
seconds, so only functions import it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.names import BOT_NAME, bot_name
from mynah.mlflow_client.client import all_pages, client, store_errors
from mynah.mlflow_client.compat import registry_client
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.registry.base_store import version_faults
from mynah.registry.checkpoint_cache import local_checkpoint
from mynah.registry.versions import Bot, BotVersion, VersionRef, files_gone, no_such_bot
from mynah.storage.base import ArtifactStore
from mynah.storage.open import open_artifact_store
from mynah.storage.work_folder import current_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


class Registry:
    """Read access to the registry of a store. Every method raises PlatformError when the store fails."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.client = client(store.tracking_uri)

    @property
    def writer(self) -> Any:  # noqa: ANN401 - see registry_client
        """MLflow's client of only the registry, for writing."""
        return registry_client(self.client)

    def bots(self) -> list[Bot]:
        """Return all bots, ordered by name."""
        return [self._bot(model) for model in self._models()]

    def names(self) -> list[str]:
        """Return the names of all bots."""
        return [str(model.name) for model in self._models()]

    def bot(self, name: str) -> Bot:
        """Return the bot `name` with all its versions. Raises InputError with the most similar name when it does not exist."""
        return self._bot(self._model(name))

    def head(self, name: str, *selected: VersionRef) -> Bot:
        """Return the bot with only the versions `selected` by number or alias, as far as they exist: a bot may have thousands."""
        from mlflow.exceptions import MlflowException

        model = self._model(name)
        numbers = sorted(
            {int(model.aliases.get(key, 0) if isinstance(key, str) else key) for key in selected} - {0}, reverse=True
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

    def files(self, version: BotVersion) -> ArtifactStore:
        """Open the version's files: MLmodel, and model/ with the complete Hugging Face folder or the adapter."""
        return open_artifact_store(self.uri(version), self.store.tracking_uri)

    def faults(self, version: BotVersion) -> list[str]:
        """Return what is wrong with the version's files and, where it is an adapter, with its base model; [] when all is there.

        Reads manifests and listings, but no weights. Raises InputError when the registry no longer has the version.
        """
        return version_faults(self.store, self.files(version))

    def uri(self, version: BotVersion) -> str:
        """Return the address of the version's files, below the work folder for a store that lies in one.

        Raises InputError when the registry no longer has it, or it is no absolute path.
        """
        from mlflow.exceptions import MlflowException

        with store_errors(self.store.tracking_uri):
            try:
                uri = self.client.get_model_version_download_uri(version.name, str(version.version))
                if uri.startswith("models:/"):  # MLflow 3: the source is a logged model with files of its own
                    uri = self.client.get_logged_model(uri.removeprefix("models:/")).artifact_location
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise files_gone(version, "the registry") from error
        return current_uri(str(uri), self.store.tracking_uri)

    def checkpoint(self, version: BotVersion) -> Path:
        """Return the version's complete Hugging Face folder on this machine's disk, or its adapter's with the base model there too.

        Both are downloaded once. Raises InputError when files are gone, PlatformError when they differ from what was registered: never an
        empty folder.
        """
        return local_checkpoint(self.store, version, self.files(version))

    def _models(self) -> list["RegisteredModel"]:
        def page(token: str | None) -> Any:  # noqa: ANN401 - MLflow's
            return self.client.search_registered_models(max_results=100, order_by=["name ASC"], page_token=token)

        with store_errors(self.store.tracking_uri):
            return [model for model in all_pages(page) if BOT_TAG in model.tags and BOT_NAME.fullmatch(model.name)]

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
        versions: list[BotVersion] = []
        token = None
        with store_errors(self.store.tracking_uri):
            while True:
                page = self.client.search_model_versions(f"name = '{model.name}'", max_results=1000, page_token=token)
                versions += [_version(version) for version in page]
                token = page.token
                if not token:
                    break
        return _as_bot(model, sorted(versions, key=lambda version: version.version, reverse=True))


def _as_bot(model: "RegisteredModel", versions: Sequence[BotVersion]) -> Bot:
    return Bot(str(model.name), versions, {alias: int(number) for alias, number in model.aliases.items()}, dict(model.tags))


def _version(model_version: "ModelVersion") -> BotVersion:
    created_at = datetime.fromtimestamp(model_version.creation_timestamp / 1000, UTC)
    return BotVersion(
        model_version.name,
        int(model_version.version),
        created_at,
        dict(model_version.tags),
        str(model_version.run_id or ""),
        str(model_version.source or ""),
    )
