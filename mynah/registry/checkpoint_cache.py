"""Cache checkpoints of a remote registry on this machine: downloaded once, verified, shared by every command.

    cache/m-…/            a version's folder; of an adapter, with adapter_config.json naming the base model below
    cache/bases/DIGEST/   a base model, once for all its adapters

Each folder has a lock beside it.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import atomic_folder, digest, make_folder, require_space, storage_errors, write_json
from mynah.core.json_reader import JsonField
from mynah.core.progress import waiting
from mynah.mlflow_client.store import Store
from mynah.registry.base_names import ADAPTER_CONFIG, BASE_PATH, BASES_FOLDER
from mynah.registry.base_names import MODEL as MODEL
from mynah.registry.base_store import base_digest_of, base_faults, base_gone, open_base, require_base
from mynah.registry.versions import BotVersion, files_gone
from mynah.storage.base import ArtifactStore
from mynah.storage.local import FolderArtifactStore
from mynah.storage.manifest import BASES, VERSIONS, find_faults, read_manifest

SECONDS_TO_FETCH = 600.0


def cache_folder(store: Store) -> Path:
    """Return the folder that caches checkpoints of a remote store."""
    return (store.folder or Path(tempfile.gettempdir()) / "mynah") / "cache"


def local_checkpoint(store: Store, version: BotVersion, source: ArtifactStore) -> Path:
    """Return the folder of a version's Hugging Face checkpoint, or of its adapter: then its base model is on this machine too.

    Args:
        store: The tracking store; its work folder holds the cache.
        version: The version.
        source: The version's files.

    Returns:
        The store's own folder, or that of a verified copy.

    Raises:
        InputError: Files are missing, of the version or its base model.
        PlatformError: A copy differs from the registered digest, or another process downloads it for too long.
    """
    what = f"{version.name} version {version.version}"
    if isinstance(source, FolderArtifactStore):
        if find_faults(source):
            raise files_gone(version, str(source.folder))
        folder = source.folder / MODEL.rstrip("/")
        if base_digest := base_digest_of(folder):
            require_base(store, base_digest, what)
        return folder
    target = cache_folder(store) / (version.model_id or f"{version.name}-{version.version}")
    gone = files_gone(version, source.uri)
    fix = f"Promote another version of {version.name}, and train this one again."
    with _made_once(target) as is_new:
        if is_new:
            _download(source, target, _Download(VERSIONS, MODEL, what, lambda _: gone, fix))
    if base_digest := base_digest_of(target):
        _name_base(target, local_base(store, base_digest, what))
    return target


def local_base(store: Store, base_digest: str, what: str) -> Path:
    """Return the folder of a base model on this machine: a verified copy, once for all adapters.

    Args:
        store: The tracking store, which is remote.
        base_digest: The digest of the base model's weights.
        what: The adapter that needs it, for messages.

    Raises:
        InputError: The store has no such base model, or it is damaged.
        PlatformError: A file differs from what was stored, or another process downloads it for too long.
    """
    target = cache_folder(store) / BASES_FOLDER / base_digest
    with _made_once(target) as is_new:
        if is_new:
            source = open_base(store, base_digest)
            if faults := base_faults(source, base_digest):
                raise base_gone(source.uri, base_digest, what, faults[0])
            fix = "Register an adapter of the same base model after removing these files, which stores it again."

            def gone(name: str) -> InputError:
                return base_gone(source.uri, base_digest, what, f"{name} is missing")

            _download(source, target, _Download(BASES, "", f"the base model of {what}", gone, fix))
    return target


@contextlib.contextmanager
def _made_once(target: Path) -> Iterator[bool]:
    """Hold the lock of a folder of the cache, and yield whether it is yet to be made."""
    make_folder(target.parent)
    try:
        with storage_errors(target), FileLock(f"{target}.lock", timeout=SECONDS_TO_FETCH):
            yield not target.is_dir()
    except Timeout as error:
        raise PlatformError(
            f"another mynah has been downloading {target.name} for {SECONDS_TO_FETCH:.0f} s", "Wait for it, or stop it."
        ) from error


@dataclass(frozen=True, slots=True)
class _Download:
    """What is downloaded: the files below `prefix` of a manifest that lists `needed`."""

    needed: Sequence[set[str]]
    prefix: str
    what: str  # for messages
    gone: Callable[[str], InputError]  # the error for a missing file
    fix: str  # of a file that differs


def _download(source: ArtifactStore, target: Path, of: _Download) -> None:
    try:
        manifest = read_manifest(source, of.needed)
    except InputError as error:
        raise of.gone("manifest.json") from error
    entries = {name: entry for name, entry in manifest.items() if name.startswith(of.prefix)}
    require_space(target.parent, sum(entry.size for entry in entries.values()), "the copy of the model")
    with atomic_folder(target) as folder, waiting(f"Downloading {of.what}"):
        for name, entry in entries.items():
            path = folder / name.removeprefix(of.prefix)
            make_folder(path.parent)
            try:
                source.get(name, path)
            except InputError as error:
                raise of.gone(name) from error
            if path.stat().st_size != entry.size or digest(path) != entry.sha256:
                raise PlatformError(f"{source.uri}/{name} differs from what was registered: it has another digest", of.fix)


def _name_base(adapter: Path, base: Path) -> None:
    """Write into a cached adapter where its base model is cached: peft and transformers look there, without a network."""
    config = {name: field.value for name, field in JsonField.read(adapter / ADAPTER_CONFIG, "finetune").pairs()}
    if config.get(BASE_PATH) != str(base):
        write_json(adapter / ADAPTER_CONFIG, config | {BASE_PATH: str(base)})
