"""Cache checkpoints of a remote registry on this machine: downloaded once, verified, shared by every command."""

import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import atomic_folder, digest, make_folder, require_space, storage_errors
from mynah.core.progress import waiting
from mynah.mlflow_client.store import Store
from mynah.registry.versions import BotVersion, files_gone
from mynah.storage.base import ArtifactStore
from mynah.storage.local import FolderArtifactStore
from mynah.storage.manifest import find_faults, read_manifest

SECONDS_TO_FETCH = 600.0
MODEL = "model/"  # the Hugging Face folder within a version's files


def cache_folder(store: Store) -> Path:
    """Return the folder that caches checkpoints of a remote store."""
    return (store.folder or Path(tempfile.gettempdir()) / "mynah") / "cache"


def local_checkpoint(store: Store, version: BotVersion, source: ArtifactStore) -> Path:
    """Return the folder of a version's Hugging Face checkpoint.

    Args:
        store: The tracking store; its work folder holds the cache.
        version: The version.
        source: The version's files.

    Returns:
        The store's own folder, or that of a verified copy.

    Raises:
        InputError: Files are missing.
        PlatformError: A copy differs from the registered digest, or another process downloads it for too long.
    """
    if isinstance(source, FolderArtifactStore):
        if find_faults(source):
            raise files_gone(version, str(source.folder))
        return source.folder / MODEL.rstrip("/")
    target = cache_folder(store) / (version.model_id or f"{version.name}-{version.version}")
    make_folder(target.parent)
    try:
        with storage_errors(target), FileLock(f"{target}.lock", timeout=SECONDS_TO_FETCH):
            if not target.is_dir():
                _download(version, source, target)
    except Timeout as error:
        raise PlatformError(
            f"another mynah has been downloading {target.name} for {SECONDS_TO_FETCH:.0f} s", "Wait for it, or stop it."
        ) from error
    return target


def _download(version: BotVersion, source: ArtifactStore, target: Path) -> None:
    try:
        manifest = read_manifest(source)
    except InputError as error:
        raise files_gone(version, source.uri) from error
    entries = {name: entry for name, entry in manifest.items() if name.startswith(MODEL)}
    require_space(target.parent, sum(entry.size for entry in entries.values()), "the copy of the model")
    with atomic_folder(target) as folder, waiting(f"Downloading {version.name} version {version.version}"):
        for name, entry in entries.items():
            path = folder / name.removeprefix(MODEL)
            make_folder(path.parent)
            try:
                source.get(name, path)
            except InputError as error:
                raise files_gone(version, source.uri) from error
            if path.stat().st_size != entry.size or digest(path) != entry.sha256:
                raise PlatformError(
                    f"{source.uri}/{name} differs from what was registered: it has another digest",
                    f"Promote another version of {version.name}, and train this one again.",
                )
