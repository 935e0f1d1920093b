"""export: a version of a bot as files for other programs: a GGUF for llama.cpp, the same with a Modelfile for Ollama, or its checkpoint.

An adapter is merged into its base model.

The copy lies outside the registry: `mynah forget` does not know of it.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from components.export.modelfile import modelfile
from mynah.core.errors import InputError
from mynah.core.files import atomic_folder, refuse_foreign_folder, require_space, write_text
from mynah.mlflow_client.store import Store, work_folders
from mynah.models.checkpoint_files import weight_files
from mynah.models.licenses import UNKNOWN, license_of
from mynah.models.merged import whole_model
from mynah.registry.card_files import README_FILE
from mynah.registry.published_copies import is_publishable
from mynah.registry.registry import Registry
from mynah.registry.versions import BotVersion, no_such_version, parse_bot

Target = Literal["gguf", "ollama", "folder"]
MatrixType = Literal["f16", "q8_0"]
LICENCE_FILES = re.compile(r"(?:BASE_)?(LICEN[CS]E|NOTICE|USE_POLICY)([._-][\w.-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Exported:
    """A version outside the registry."""

    name: str
    version: int
    to: str
    out: str
    files: list[str]


def export(bot: str, to: Target, out: Path, store: Store, kind: MatrixType = "f16") -> Exported:
    """Write a version of a bot for another program.

    Args:
        bot: NAME, NAME@ALIAS or NAME:VERSION.
        to: gguf (NAME.gguf), ollama (that and a Modelfile) or folder (Hugging Face's checkpoint); each with card and licence.
        out: The folder to write; one that a step wrote before is replaced.
        store: The tracking store.
        kind: The type of the matrices in the GGUF.

    Returns:
        What was written.

    Raises:
        InputError: There is no such version, its files are gone, GGUF cannot express it, or `out` must not be replaced.
        PlatformError: A store fails, or the disk is full.
    """
    if to not in get_args(Target) or kind not in get_args(MatrixType):
        raise InputError(f"there is no export to {to!r} as {kind!r}", "Use gguf, ollama or folder, and f16 or q8_0.")
    if out.suffix.lower() == ".gguf":
        raise InputError(f"{out} names a file", "Name the folder to write with --out; the file in it is called NAME.gguf.")
    refuse_foreign_folder(out, around=work_folders(store))
    name, ref = parse_bot(bot)
    registry = Registry(store)
    version = registry.head(name, ref).at(ref)
    if version is None:
        raise no_such_version(registry.bot(name), ref if isinstance(ref, str) else f"version {ref}")
    return export_checkpoint(registry.checkpoint(version), version, to, out, kind)


def export_checkpoint(checkpoint: Path, version: BotVersion, to: Target, out: Path, kind: MatrixType = "f16") -> Exported:
    """Write the checkpoint of `version`; see `export`."""
    with whole_model(checkpoint) as whole:
        return _export(whole, version, to, out, kind)


def _export(checkpoint: Path, version: BotVersion, to: Target, out: Path, kind: MatrixType) -> Exported:
    size = sum(
        path.stat().st_size for path in weight_files(checkpoint)
    )  # of at least two bytes a number, so no less than the GGUF
    require_space(out.parent, size, f"exporting {version.name}")
    write: dict[str, Callable[[Path], None]] = {
        "gguf": lambda folder: _write_gguf(checkpoint, version.name, folder, kind),
        "ollama": lambda folder: _write_ollama(checkpoint, version.name, folder, kind),
        "folder": lambda folder: _copy(checkpoint, folder, is_publishable),
    }
    with atomic_folder(out, [checkpoint]) as folder:
        write[to](folder)
        _copy(checkpoint, folder, lambda name: name == README_FILE or LICENCE_FILES.fullmatch(name) is not None)
        files = sorted(path.name for path in folder.iterdir())
    return Exported(version.name, version.version, to, str(out), files)


def _write_gguf(checkpoint: Path, name: str, folder: Path, kind: MatrixType) -> None:
    from mynah.models.gguf.write import write_gguf  # torch, which takes seconds

    write_gguf(checkpoint, folder / f"{name}.gguf", kind, name=name, licence=_license(checkpoint))


def _write_ollama(checkpoint: Path, name: str, folder: Path, kind: MatrixType) -> None:
    _write_gguf(checkpoint, name, folder, kind)
    write_text(folder / "Modelfile", modelfile(f"{name}.gguf", checkpoint, _license(checkpoint)))


def _copy(checkpoint: Path, folder: Path, is_wanted: Callable[[str], bool]) -> None:
    for path in sorted(checkpoint.iterdir()):
        if path.is_file() and is_wanted(path.name):
            shutil.copyfile(path, folder / path.name)


def _license(checkpoint: Path) -> str:
    """The licence of the model in a folder; "" where it is not known."""
    found = license_of(checkpoint)
    return "" if found == UNKNOWN else found
