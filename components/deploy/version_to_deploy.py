"""Select the version of a bot to deploy, check that it may be deployed, and describe it for KServe."""

from components.deploy.manifest import Serving
from mynah.core.errors import GateRefused, InputError
from mynah.kubernetes.endpoint import storage_uri
from mynah.mlflow_client.store import Store
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION, BotVersion, no_such_version
from mynah.storage.manifest import find_faults, read_manifest
from mynah.storage.open import direct_uri

MODEL = "model/"  # the Hugging Face folder within a version's files


def serving_of(name: str, store: Store, version: int = 0, force: str = "") -> Serving:
    """Return a version of a bot to serve.

    Args:
        name: The bot.
        store: The tracking store.
        version: The version; 0 for the champion.
        force: The reason for deploying it although the gate did not pass it; "" to refuse it.

    Returns:
        The version, with the folder and the size of its files.

    Raises:
        InputError: The bot or version is unknown, or its files are gone or where a cluster cannot read them.
        GateRefused: The gate did not pass it, and `force` is "".
    """
    registry = Registry(store)
    bot = registry.head(name, version or CHAMPION)
    if not bot.versions and not version:
        raise InputError(f"{name} has no champion", f"Promote one with `mynah promote {name}`, or name a --version.")
    if not bot.versions:
        raise no_such_version(registry.bot(name), f"version {version}")
    selected = bot.versions[0]
    if not selected.passed and not force:
        verdict = selected.tags.get("mynah.verdict", "no verdict")
        raise GateRefused(
            f"{name} version {selected.version} is not deployed: the gate did not pass it ({verdict})",
            'Deploy another version; --force "why" overrules this and is recorded.',
        )
    source = registry.files(selected)
    problems = find_faults(source)
    if problems:
        raise InputError(
            f"{name} version {selected.version} is incomplete: {'; '.join(problems[:3])}",
            f"Train it again with `mynah run --name {name} …`; `mynah doctor` shows all.",
        )
    size = sum(entry.size for path, entry in read_manifest(source).items() if path.startswith(MODEL))
    return Serving(name, selected.version, _uri(registry, selected), size, selected.model_id, "" if selected.passed else force)


def _uri(registry: Registry, version: BotVersion) -> str:
    """Return the immutable folder of a version's checkpoint in S3."""
    uri = direct_uri(registry.uri(version))
    if not uri.startswith("s3://"):
        raise InputError(
            f"the files of {version.name} version {version.version} are in {uri[:200]}, which no cluster can read",
            "Register it with an MLflow server that keeps artifacts in S3 (README, With servers).",
        )
    return f"{storage_uri(uri)}{MODEL}"
