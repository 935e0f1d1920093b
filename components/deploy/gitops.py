"""Write a deployment as files for a GitOps repository (Argo CD, Flux): a manifest per bot, and its entry in kustomization.yaml."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import yaml

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import write_text
from mynah.kubernetes.cluster import Object

KUSTOMIZATION = "kustomization.yaml"
EMPTY = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"


@dataclass(frozen=True, slots=True)
class Change:
    """A file to write: its current text ("" for none) and its new text."""

    path: Path
    now: str
    then: str

    @property
    def diff(self) -> str:
        """The change as a unified diff, with paths relative to the folder; "" for none."""
        name = self.path.name
        lines = difflib.unified_diff(
            self.now.splitlines(keepends=True),
            self.then.splitlines(keepends=True),
            f"a/{name}" if self.now else "/dev/null",
            f"b/{name}",
        )
        return "".join(lines)


def changes(folder: Path, manifest: Object, *others: Object) -> list[Change]:
    """Return the changes with which a folder deploys a bot.

    Args:
        folder: The folder of a GitOps repository.
        manifest: The InferenceService.
        others: What belongs to it, in the same file.

    Returns:
        The changes; empty when the folder already deploys it.

    Raises:
        InputError: The folder does not exist, its kustomization.yaml cannot be extended, or the bot's file there is something else.
        PlatformError: A file of it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}", "Name the folder of your GitOps repository that holds bots, or create it."
        )
    name = f"{manifest['metadata']['name']}.yaml"
    path, entries = folder / name, folder / KUSTOMIZATION
    bot, listed = _text(path), _text(entries)
    there = _loaded_all(path, bot)
    if bot.strip() and not (there and _is_of(there[0], manifest)):
        raise InputError(
            f"{path} is something else than the InferenceService {manifest['metadata']['name']}",
            "Rename it, or name another folder.",
        )
    documents = [manifest, *others]
    text = "---\n".join(yaml.safe_dump(document, sort_keys=False, width=130, allow_unicode=True) for document in documents)
    candidates = [
        Change(path, bot, bot if there == documents else text),
        Change(entries, listed, add_entry(listed or EMPTY, name, entries)),
    ]
    return [change for change in candidates if change.now != change.then]


def _is_of(found: object, manifest: Object) -> bool:
    """Return whether what a file holds is the bot's manifest, of whatever version."""
    metadata = found.get("metadata") if isinstance(found, dict) else None
    return (
        isinstance(found, dict)
        and isinstance(metadata, dict)
        and (found.get("kind"), metadata.get("name")) == (manifest["kind"], manifest["metadata"]["name"])
    )


def write(changed: list[Change]) -> None:
    """Write changes, each file atomically; the manifest before the entry that names it. Raises PlatformError when it fails."""
    for change in changed:
        write_text(change.path, change.then)


def add_entry(text: str, name: str, path: Path) -> str:
    """Add a resource to a kustomization.yaml; everything else in it stays unchanged.

    Args:
        text: Its content.
        name: The file name of the resource, inserted in sorted order.
        path: Its path, for messages.

    Returns:
        The new content.

    Raises:
        InputError: It is not a kustomization, or its resources are not written one a line.
    """
    loaded = _loaded(path, text)
    resources = loaded.get("resources") or [] if isinstance(loaded, dict) else None
    if not isinstance(resources, list):
        raise InputError(f"{path} is not a kustomization", "Correct it: `kubectl kustomize` of its folder must work.")
    if name in resources:
        return text
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    start = next((number for number, line in enumerate(lines) if line.startswith("resources:")), None)
    changed = "".join([*lines, "resources:\n", f"  - {name}\n"] if start is None else _inserted(lines, start, name))
    then = _loaded(path, changed)
    if not isinstance(then, dict) or sorted(then.get("resources") or []) != sorted([*resources, name]):
        raise InputError(
            f"the resources in {path} are not written one a line", f"Write them as `  - NAME`, or add {name} by hand."
        )
    return changed


def _inserted(lines: list[str], start: int, name: str) -> list[str]:
    """Return `lines` with an entry before the first item of the list at `start` that sorts after it."""
    entries = []
    for number in range(start + 1, len(lines)):
        line = lines[number].strip()
        if line.startswith("- "):
            entries.append(number)
        elif line and not line.startswith("#"):
            break
    indent = lines[entries[0]][: lines[entries[0]].index("-")] if entries else "  "
    larger = [number for number in entries if lines[number].strip().removeprefix("- ").strip("\"' ") > name]
    position = larger[0] if larger else (entries[-1] + 1 if entries else start + 1)
    head = lines[start].split("#")[0].strip()
    if head == "resources: []":
        lines = [*lines[:start], "resources:\n", *lines[start + 1 :]]
    return [*lines[:position], f"{indent}- {name}\n", *lines[position:]]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(
            f"{path} cannot be read: {error}", "Check that it is a text file and that you may read it."
        ) from error


def _loaded(path: Path, text: str) -> object:
    """Return the one document of a file; None for an empty one."""
    documents = _loaded_all(path, text)
    if len(documents) > 1:
        raise InputError(f"{path} has {len(documents)} documents", "Keep one in it.")
    return documents[0] if documents else None


def _loaded_all(path: Path, text: str) -> list[object]:
    """Return the documents of a file that are not empty. Raises InputError for another text."""
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())[:200]}", "Correct it first.") from error
