"""What a registered version consists of: every file with its size and SHA-256, in manifest.json beside MLmodel."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.artifacts import Place, fetch_text, sha256
from components.errors import InputError

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a version."""

    size: int  # bytes
    sha256: str


def manifest_of(files: Mapping[str, Path]) -> dict[str, Any]:
    """The manifest of `files` (name to path) as manifest.json holds it."""
    return {"files": {name: {"size": path.stat().st_size, "sha256": sha256(path)} for name, path in sorted(files.items())}}


def read_manifest(source: Place) -> dict[str, Entry]:
    """The manifest of the version whose files lie in `source`. Raises InputError when it is gone or none."""
    try:
        record = json.loads(fetch_text(source, MANIFEST_FILE))
        found = {str(name): Entry(int(each["size"]), str(each["sha256"])) for name, each in record["files"].items()}
        _require_whole(found)
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{source.uri}/{MANIFEST_FILE} is no manifest ({error})", "Register the model again.") from error


def _require_whole(files: Mapping[str, Entry]) -> None:
    """Raise ValueError unless the names are safe as paths below a folder, and a model is among them: anybody may write a bucket."""
    for name in files:
        if (
            name == "."
            or name != PurePosixPath(name).as_posix()
            or name.startswith("/")
            or ".." in name.split("/")
            or "\\" in name
            or "\0" in name
        ):
            raise ValueError(f"{name[:80]!r} is no name of a file in it")
    if not {"MLmodel", "model/config.json"} <= set(files) or not any(name.endswith(".safetensors") for name in files):
        raise ValueError("it lists no whole model")


def faults(source: Place) -> list[str]:
    """What of a version is missing or of another size; [] when it is whole. Reads the manifest and lists, and no weights."""
    try:
        expected = read_manifest(source)
    except InputError as error:
        return [error.problem]
    there = source.files()
    found = [f"{name} is missing" for name in expected if name not in there]
    return found + [
        f"{name} has {there[name].size:,} bytes instead of {entry.size:,}"
        for name, entry in expected.items()
        if name in there and there[name].size != entry.size
    ]
