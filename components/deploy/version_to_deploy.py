"""Select the version of a bot to deploy, check that it may be deployed, and describe it for KServe."""

from collections.abc import Mapping
from dataclasses import replace

from components.deploy.manifest import Serving
from components.deploy.merged import store_merged
from mynah.core.errors import GateRefused, InputError
from mynah.kubernetes.endpoint import storage_uri
from mynah.mlflow_client.store import Store
from mynah.registry.base_names import MODEL
from mynah.registry.base_store import base_digest_in, open_base
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION, BotVersion, no_such_version
from mynah.storage.manifest import BASES, Entry, read_manifest
from mynah.storage.open import direct_uri


def serving_of(name: str, store: Store, version: int = 0, force: str = "", *, merged: bool = False) -> Serving:
    """Return a version of a bot to serve.

    Args:
        name: The bot.
        store: The tracking store.
        version: The version; 0 for the champion.
        force: The reason for deploying it although the gate did not pass it; "" to refuse it.
        merged: Serve an adapter merged into its base model, from a folder that any runtime can load, which is stored beside the version.

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
    problems = registry.faults(selected)
    if problems:
        raise InputError(
            f"{name} version {selected.version} is incomplete: {'; '.join(problems[:3])}",
            f"Train it again with `mynah run --name {name} …`; `mynah doctor` shows all.",
        )
    serving = _serving(registry, selected, merged=merged)
    return replace(serving, forced="" if selected.passed else force)


def _serving(registry: Registry, version: BotVersion, *, merged: bool) -> Serving:
    """Return where the files of a version are, and their size: of an adapter with its base model, or of both merged."""
    source, uri = registry.files(version), _uri(registry, version)
    serving = Serving(version.name, version.version, uri, _size(read_manifest(source), MODEL), version.model_id)
    base_digest = base_digest_in(source)
    if not base_digest:
        return serving
    if merged:
        stored = store_merged(registry, version)
        return replace(serving, uri=f"{storage_uri(direct_uri(stored.uri))}", size=_size(read_manifest(stored, BASES)))
    base = open_base(registry.store, base_digest)
    size = serving.size + _size(read_manifest(base, BASES))
    return replace(serving, size=size, base_uri=direct_uri(base.uri), base_digest=base_digest)


def _size(manifest: Mapping[str, Entry], prefix: str = "") -> int:
    return sum(entry.size for path, entry in manifest.items() if path.startswith(prefix))


def _uri(registry: Registry, version: BotVersion) -> str:
    """Return the immutable folder of a version's checkpoint in S3."""
    uri = direct_uri(registry.uri(version))
    if not uri.startswith("s3://"):
        raise InputError(
            f"the files of {version.name} version {version.version} are in {uri[:200]}, which no cluster can read",
            "Register it with an MLflow server that keeps artifacts in S3 (README, With servers).",
        )
    return f"{storage_uri(uri)}{MODEL}"
