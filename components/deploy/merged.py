"""An adapter merged into its base model, stored beside the version: for a runtime that loads only whole checkpoints."""

import tempfile
from pathlib import Path

from mynah.core.files import write_json
from mynah.registry.registry import Registry
from mynah.registry.versions import BotVersion
from mynah.storage.base import ArtifactStore, upload, upload_shown, visible_files
from mynah.storage.manifest import BASES, MANIFEST_FILE, find_faults, manifest_of
from mynah.storage.open import open_artifact_store

FOLDER = "merged"  # among the version's files, with which `mynah prune` and `mynah forget` remove it


def store_merged(registry: Registry, version: BotVersion) -> ArtifactStore:
    """Store the checkpoint of an adapter merged into its base model, verified, unless it is there whole.

    Args:
        registry: The registry.
        version: The adapter.

    Returns:
        Where it is stored.

    Raises:
        InputError: Files of the adapter or of its base model are missing.
        PlatformError: A store fails, a file differs from what was registered, or the disk is full.
    """
    target = open_artifact_store(f"{registry.uri(version).rstrip('/')}/{FOLDER}", registry.store.tracking_uri)
    if not find_faults(target, BASES):
        return target
    from mynah.models.merged import whole_model  # torch, which takes seconds

    with tempfile.TemporaryDirectory(prefix="mynah-deploy-") as scratch, whole_model(registry.checkpoint(version)) as folder:
        files, manifest = visible_files(folder), Path(scratch) / MANIFEST_FILE
        write_json(manifest, manifest_of(files))
        upload_shown(target, files, "Storing the merged model")
        upload(target, {MANIFEST_FILE: manifest})
    return target
