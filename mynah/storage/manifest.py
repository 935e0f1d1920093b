"""The manifest of a registered version or of a stored base model: every file with its size and SHA-256, in manifest.json beside them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mynah.core.errors import InputError
from mynah.storage.base import ArtifactStore, fetch_text, sha256

MANIFEST_FILE = "manifest.json"
# What a manifest lists at least: of a version, a checkpoint or an adapter; of a base model, a checkpoint.
VERSIONS = ({"MLmodel", "model/config.json"}, {"MLmodel", "model/adapter_config.json"})
BASES = ({"config.json"},)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a version."""

    size: int  # bytes
    sha256: str


def manifest_of(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the manifest of `files` (paths by name) as manifest.json stores it."""
    return {"files": {name: {"size": path.stat().st_size, "sha256": sha256(path)} for name, path in sorted(files.items())}}


def read_manifest(source: ArtifactStore, of: Sequence[set[str]] = VERSIONS) -> dict[str, Entry]:
    """Read the manifest of the version in `source`; of a base model with BASES. Raises InputError when it is missing or invalid."""
    try:
        record = json.loads(fetch_text(source, MANIFEST_FILE))
        manifest = {str(name): Entry(int(entry["size"]), str(entry["sha256"])) for name, entry in record["files"].items()}
        _validate(manifest, of)
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{source.uri}/{MANIFEST_FILE} is not a valid manifest ({error})", "Register the model again."
        ) from error


def _validate(files: Mapping[str, Entry], of: Sequence[set[str]]) -> None:
    """Raise ValueError unless all names are safe as paths below a folder, and a model is among them: anybody may write to a bucket."""
    for name in files:
        if (
            name == "."
            or name != PurePosixPath(name).as_posix()
            or name.startswith("/")
            or ".." in name.split("/")
            or "\\" in name
            or "\0" in name
        ):
            raise ValueError(f"{name[:80]!r} is not a valid file name")
    if not any(needed <= set(files) for needed in of) or not any(name.endswith(".safetensors") for name in files):
        raise ValueError("it lists no complete model")


def find_faults(source: ArtifactStore, of: Sequence[set[str]] = VERSIONS) -> list[str]:
    """Return what is wrong with a version's (with BASES a base model's) files: missing ones, and ones of another size; [] when it is complete.

    Reads the manifest and a listing, but no weights.
    """
    stored = source.files()
    if MANIFEST_FILE not in stored:  # asked for it, MLflow's proxy would answer 500
        return [f"{MANIFEST_FILE} is missing"]
    try:
        expected = read_manifest(source, of)
    except InputError as error:
        return [error.problem]
    missing = [f"{name} is missing" for name in expected if name not in stored]
    return missing + [
        f"{name} has {stored[name].size:,} bytes instead of {entry.size:,}"
        for name, entry in expected.items()
        if name in stored and stored[name].size != entry.size
    ]
