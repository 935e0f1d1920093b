"""Finds an adapter's base model on this machine, by digest."""

import functools
from collections.abc import Iterator
from pathlib import Path

from mynah.core.errors import InputError, MynahError
from mynah.core.settings import MYNAH_BASES
from mynah.models.adapter import check_adapter, is_adapter, read_base
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import BaseModel, resolve
from mynah.models.checkpoint_files import weight_files
from mynah.registry.base_names import BASES_FOLDER

LEVELS = 4  # of a store: bases/ lies beside models/m-…/artifacts/model


def model_folder(folder: Path) -> Path:
    """Return the folder that holds a checkpoint's config, tokenizer and full weights: itself, or an adapter's base model.

    Raises:
        InputError: The adapter's folder is broken, or its base model is not on this machine.
    """
    return base_folder(folder) if is_adapter(folder) else folder


def base_folder(folder: Path) -> Path:
    """Return the checkpoint of an adapter's base model: the first of those that could be it whose weights have the digest.

    These are the folder that adapter_config.json names, bases/DIGEST in the adapter's folder or one above it (a store, a cache, or what KServe
    mounted), the folder below MYNAH_BASES that is named by the digest, and the base model of that name (`mynah bases`).

    Raises:
        InputError: As `model_folder`.
    """
    config, base = check_adapter(folder), read_base(folder)
    for candidate in _candidates(folder, config.base_path, base):
        if candidate.is_dir() and _digest(candidate) == base.digest:
            return candidate
    raise InputError(
        f"the adapter in {folder} belongs to the base model {base.name} with the digest {base.digest[:12]}…, which is not on this machine",
        f"Install or fetch that {base.name}, or name the folder that holds it by its digest with {MYNAH_BASES.name}.",
    )


def _candidates(folder: Path, base_path: str, base: BaseModelRecord) -> Iterator[Path]:
    if base_path:
        yield Path(base_path)
    yield from (above / BASES_FOLDER / base.digest for above in (folder, *folder.absolute().parents[:LEVELS]))
    if bases := MYNAH_BASES.get():
        yield bases / base.digest
    try:
        yield resolve(base.name).folder
    except MynahError:
        return


def _digest(folder: Path) -> str:
    """The digest of a folder's weights, computed again only when a file has changed."""
    return _digest_of(folder, tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weight_files(folder)))


@functools.lru_cache(maxsize=64)
def _digest_of(folder: Path, _files: tuple[tuple[str, int, int], ...]) -> str:
    return BaseModel(folder.name, folder).weights_digest
