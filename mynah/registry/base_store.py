"""The base models of adapters in the artifact store: each is stored once, below bases/DIGEST/ of Mynah's experiment.

    bases/DIGEST/config.json, model.safetensors, tokenizer.json, …   the checkpoint
    bases/DIGEST/manifest.json                                       written last: without it a base model is not whole

DIGEST is that of the weights, which base_model.json in an adapter's folder names. A logged model that is an adapter has it as a tag from its
creation on, so that a base model is in use as soon as an adapter of it is being registered. Whoever stores or removes one holds its lock.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import write_json
from mynah.core.json_reader import JsonField
from mynah.core.lock_types import StillHeld
from mynah.mlflow_client.client import all_pages, client, experiment, store_errors
from mynah.mlflow_client.store import Store
from mynah.registry.base_names import ADAPTER_CONFIG, BASE_RECORD, BASE_TAG, BASES_FOLDER, DIGEST, MODEL
from mynah.registry.locks import alias_lock
from mynah.storage.base import ArtifactStore, sha256, upload, upload_shown
from mynah.storage.manifest import BASES, MANIFEST_FILE, Entry, find_faults, manifest_of, read_manifest
from mynah.storage.open import open_artifact_store

SECONDS_TO_STORE = 600.0  # that another process may need to store a base model
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")


def bases_uri(store: Store) -> str:
    """Return the address of the folder with all base models."""
    with store_errors(store.tracking_uri):
        found = client(store.tracking_uri).get_experiment(experiment(store))
    return f"{str(found.artifact_location).rstrip('/')}/{BASES_FOLDER}"


def open_base(store: Store, base_digest: str) -> ArtifactStore:
    """Open a base model's files, which need not exist."""
    return open_artifact_store(f"{bases_uri(store)}/{base_digest}", store.tracking_uri)


@contextlib.contextmanager
def base_lock(store: Store, base_digest: str) -> Iterator[StillHeld]:
    """Hold the lock of a base model, which is none of a bot's. Raises as `alias_lock`."""
    name = f"base-{hashlib.sha256(base_digest.encode()).hexdigest()[:16]}"
    with alias_lock(name, store, SECONDS_TO_STORE) as still_held:
        yield still_held


def ensure_base(store: Store, base_digest: str, files: Mapping[str, Path]) -> ArtifactStore:
    """Store a base model, verified, unless it is there whole. Call it under its lock.

    Args:
        store: The tracking store.
        base_digest: The digest of its weights.
        files: Its checkpoint: paths by name.

    Returns:
        Where it is stored.

    Raises:
        InputError: The store has it with another tokenizer.
        PlatformError: The store fails, or holds something else than was sent.
    """
    target = open_base(store, base_digest)
    if not base_faults(target, base_digest):
        _require_same_tokenizer(target, files)
        return target
    with tempfile.TemporaryDirectory(prefix="mynah-base-") as scratch:
        manifest = Path(scratch) / MANIFEST_FILE
        write_json(manifest, manifest_of(files))
        upload_shown(target, files, "Storing the base model")
        upload(target, {MANIFEST_FILE: manifest})
    return target


def _require_same_tokenizer(target: ArtifactStore, files: Mapping[str, Path]) -> None:
    """Raise InputError where an adapter was trained with another tokenizer than the stored one: it would be served with that."""
    stored = read_manifest(target, BASES)
    for name in TOKENIZER_FILES:
        if name in files and name in stored and stored[name].sha256 != sha256(files[name]):
            raise InputError(
                f"{target.uri} holds a base model with the same weights and another {name}",
                "Train the adapter on that one: its folder, or MYNAH_BASES.",
            )


def base_faults(source: ArtifactStore, base_digest: str) -> list[str]:
    """Return what is wrong with a stored base model; [] when it is whole. Reads the manifest and a listing, but no weights."""
    if faults := find_faults(source, BASES):
        return faults
    found = weights_digest(read_manifest(source, BASES))
    return [] if found == base_digest else [f"its weights have the digest {found[:12]}… instead of {base_digest[:12]}…"]


def weights_digest(manifest: Mapping[str, Entry]) -> str:
    """Return the digest of the weights that a manifest lists, as `BaseModel.weights_digest` computes it of a folder."""
    return "+".join(manifest[name].sha256[:32] for name in sorted(manifest) if name.endswith(".safetensors"))


def base_digest_of(folder: Path) -> str:
    """Return the digest of the base model of an adapter's folder; "" for a whole checkpoint. Raises InputError where it is not recorded."""
    return _digest_in(folder / BASE_RECORD) if (folder / ADAPTER_CONFIG).is_file() else ""


def base_digest_in(source: ArtifactStore) -> str:
    """Return the digest of the base model of a stored version that is an adapter; "" for a whole checkpoint.

    Raises InputError where it is not recorded.
    """
    if f"{MODEL}{ADAPTER_CONFIG}" not in read_manifest(source):
        return ""
    with tempfile.TemporaryDirectory(prefix="mynah-base-") as scratch:
        path = Path(scratch) / BASE_RECORD
        source.get(f"{MODEL}{BASE_RECORD}", path)
        return _digest_in(path)


def _digest_in(path: Path) -> str:
    found = JsonField.read(path, "finetune")["digest"].text()
    if not DIGEST.fullmatch(found):  # it becomes the name of a folder
        raise InputError(f"{path}: {found[:40]!r} is no digest of weights", "Train the adapter again.")
    return found


def version_faults(store: Store, source: ArtifactStore) -> list[str]:
    """Return what is wrong with a version's files and, where it is an adapter, with its base model; [] when all is there."""
    if faults := find_faults(source):
        return faults
    if not (base_digest := base_digest_in(source)):
        return []
    return [f"its base model: {fault}" for fault in base_faults(open_base(store, base_digest), base_digest)]


def require_base(store: Store, base_digest: str, what: str) -> None:
    """Raise InputError when the base model of `what`, an adapter, is not whole in the store."""
    source = open_base(store, base_digest)
    if faults := base_faults(source, base_digest):
        raise base_gone(source.uri, base_digest, what, faults[0])


def base_gone(uri: str, base_digest: str, what: str, fault: str) -> InputError:
    """Create the error for an adapter whose base model is missing or damaged.

    Args:
        uri: Where it should be.
        base_digest: Its digest.
        what: The adapter.
        fault: What is wrong with it.
    """
    return InputError(
        f"the base model of {what}, with the digest {base_digest[:12]}…, is not whole in {uri}: {fault}",
        "Register an adapter of the same base model, which stores it again, or promote another version; `mynah doctor` shows all.",
    )


def stored_bases(store: Store) -> dict[str, int]:
    """Return the bytes of each base model in the store, whole or not, by digest."""
    sizes: dict[str, int] = {}
    for name, file in open_artifact_store(bases_uri(store), store.tracking_uri).files().items():
        folder = name.partition("/")[0]
        sizes[folder] = sizes.get(folder, 0) + file.size
    return sizes


def used_bases(store: Store) -> dict[str, int]:
    """Return the number of adapters of each base model, by digest: also of adapters that are being registered, but of none that failed."""
    api, used = client(store.tracking_uri), dict[str, int]()
    with store_errors(store.tracking_uri):
        where, tagged = [experiment(store)], f"tags.`{BASE_TAG}` != ''"
        for model in all_pages(lambda token: api.search_logged_models(where, tagged, page_token=token)):
            if str(model.status) != "FAILED":
                used[model.tags[BASE_TAG]] = used.get(model.tags[BASE_TAG], 0) + 1
    return used


def remove_unused(store: Store, base_digest: str) -> None:
    """Remove a base model under its lock, unless an adapter uses it by now."""
    with base_lock(store, base_digest) as still_held:
        if base_digest not in used_bases(store):
            still_held()
            open_base(store, base_digest).remove()
