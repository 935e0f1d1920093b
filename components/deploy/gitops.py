"""The change of a deployment as files for a GitOps repository (Argo CD, Flux): a manifest per bot, and its entry in kustomization.yaml."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.cluster import Object
from components.errors import InputError, PlatformError
from components.files import write_text

KUSTOMIZATION = "kustomization.yaml"
EMPTY = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"


@dataclass(frozen=True, slots=True)
class Change:
    """A file that is to be written: its text now ("" when there is none) and then."""

    path: Path
    now: str
    then: str

    @property
    def diff(self) -> str:
        """The change as a unified diff, with paths relative to the folder; "" when there is none."""
        name = self.path.name
        lines = difflib.unified_diff(
            self.now.splitlines(keepends=True),
            self.then.splitlines(keepends=True),
            f"a/{name}" if self.now else "/dev/null",
            f"b/{name}",
        )
        return "".join(lines)


def changes(folder: Path, manifest: Object) -> list[Change]:
    """What has to be written so that `folder` deploys `manifest`; [] when it does already.

    Raises InputError when there is no such folder, or its kustomization.yaml is none that can be added to.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "Name the one in your GitOps repository where bots are, or make it.")
    name = f"{manifest['metadata']['name']}.yaml"
    path, entries = folder / name, folder / KUSTOMIZATION
    bot, listed = _text(path), _text(entries)
    wanted = yaml.safe_dump(manifest, sort_keys=False, width=130, allow_unicode=True)
    found = [
        Change(path, bot, bot if _loaded(path, bot) == manifest else wanted),
        Change(entries, listed, with_entry(listed or EMPTY, name, entries)),
    ]
    return [each for each in found if each.now != each.then]


def write(found: list[Change]) -> None:
    """Write changes, each file whole or not at all; the manifest before the entry that names it. Raises PlatformError when it fails."""
    for each in found:
        write_text(each.path, each.then)


def with_entry(text: str, name: str, path: Path) -> str:
    """The text of a kustomization.yaml with `name` among its resources, in order, and all else as it was."""
    loaded = _loaded(path, text)
    resources = loaded.get("resources") or [] if isinstance(loaded, dict) else None
    if not isinstance(resources, list):
        raise InputError(f"{path} is no kustomization", "Mend it: `kubectl kustomize` of its folder must work.")
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
    """`lines` with an entry before the first of the list at `start` that sorts after it."""
    entries = []
    for number in range(start + 1, len(lines)):
        line = lines[number].strip()
        if line.startswith("- "):
            entries.append(number)
        elif line and not line.startswith("#"):
            break
    indent = lines[entries[0]][: lines[entries[0]].index("-")] if entries else "  "
    after = [number for number in entries if lines[number].strip().removeprefix("- ").strip("\"' ") > name]
    at = after[0] if after else (entries[-1] + 1 if entries else start + 1)
    head = lines[start].split("#")[0].strip()
    if head == "resources: []":
        lines = [*lines[:start], "resources:\n", *lines[start + 1 :]]
    return [*lines[:at], f"{indent}- {name}\n", *lines[at:]]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(f"{path} cannot be read: {error}", "Is it a text file that you may read?") from error


def _loaded(path: Path, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}", "Mend it first.") from error
