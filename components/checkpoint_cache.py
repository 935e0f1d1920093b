"""Checkpoints of a remote registry on this machine: fetched once, verified, shared by every command."""

import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from components.artifact_folder import FolderPlace
from components.artifacts import Place
from components.errors import InputError, PlatformError
from components.events import waiting
from components.files import atomic_folder, digest, make_folder, require_space, storage_errors
from components.manifest import faults, read_manifest
from components.registry import BotVersion, gone
from components.store import Store

SECONDS_TO_FETCH = 600.0
MODEL = "model/"  # the Hugging Face folder within a version's files


def cache_folder(store: Store) -> Path:
    """Where checkpoints of a remote store are kept on this machine."""
    return (store.folder or Path(tempfile.gettempdir()) / "mynah") / "cache"


def local_checkpoint(store: Store, version: BotVersion, source: Place) -> Path:
    """The folder with the version's Hugging Face checkpoint: the store's own, or a verified copy.

    Raises InputError when files are missing, PlatformError when a copy does not have the digest that was registered.
    """
    if isinstance(source, FolderPlace):
        if faults(source):
            raise gone(version, str(source.folder))
        return source.folder / MODEL.rstrip("/")
    target = cache_folder(store) / (version.model_id or f"{version.name}-{version.version}")
    make_folder(target.parent)
    try:
        with storage_errors(target), FileLock(f"{target}.lock", timeout=SECONDS_TO_FETCH):
            if not target.is_dir():
                _download(version, source, target)
    except Timeout as error:
        raise PlatformError(
            f"another mynah has been fetching {target.name} for {SECONDS_TO_FETCH:.0f} s", "Wait for it, or end it."
        ) from error
    return target


def _download(version: BotVersion, source: Place, target: Path) -> None:
    try:
        manifest = read_manifest(source)
    except InputError as error:
        raise gone(version, source.uri) from error
    wanted = {name: entry for name, entry in manifest.items() if name.startswith(MODEL)}
    require_space(target.parent, sum(entry.size for entry in wanted.values()), "the copy of the model")
    with atomic_folder(target) as folder, waiting(f"Fetching {version.name} version {version.version}"):
        for name, entry in wanted.items():
            path = folder / name.removeprefix(MODEL)
            make_folder(path.parent)
            try:
                source.get(name, path)
            except InputError as error:
                raise gone(version, source.uri) from error
            if path.stat().st_size != entry.size or digest(path) != entry.sha256:
                raise PlatformError(
                    f"{source.uri}/{name} is not what was registered: its digest differs",
                    f"Promote another version of {version.name}, and make this one again.",
                )
