"""Collect the files of a version to publish: verified weights, an adapter's merged, and the current card without private links."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from components.card.front_matter import with_new_url
from components.card.preview import read_preview
from components.card.section_license import HEADING, license_section
from components.card.share_page import share_page
from components.publish.licensing import LicenseAnswer, license_additions
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import digest, write_text
from mynah.models.adapter import is_adapter
from mynah.models.checkpoint import check_folder
from mynah.models.merged import write_merged
from mynah.registry.card_files import PAGE_FILE, PICTURE_FILE, PREVIEW_FILE, README_FILE
from mynah.registry.checkpoint_cache import MODEL
from mynah.registry.lineage import steps_of_version
from mynah.registry.published_copies import is_card_file, is_publishable
from mynah.registry.registry import Registry
from mynah.registry.versions import BotVersion
from mynah.storage.manifest import read_manifest
from mynah.storage.open import open_artifact_store

# MLflow's page of a run: [text](http://…/#/experiments/1/runs/0123…), or the URL by itself.
LINK = re.compile(r"\[([^\]\n]*)\]\(<?(https?://[^\s()<>]*#/experiments/[^\s()<>]*)>?\)")
ADDRESS = re.compile(r"<?(https?://[^\s()<>\"]*#/experiments/[^\s()<>\"]*)>?")
RUN = re.compile(r"/runs/([0-9a-zA-Z_-]+)")


@dataclass(frozen=True, slots=True)
class Terms:
    """The licence of a version's base model, and what a person says of it."""

    license: str
    answer: LicenseAnswer


def gather_files(registry: Registry, version: BotVersion, address: str, scratch: Path, terms: Terms) -> dict[str, Path]:
    """Return the files to upload, as paths by name.

    Args:
        registry: The registry.
        version: The version.
        address: The repository's URL.
        scratch: A folder for files that are rewritten.
        terms: The base model's licence.

    Raises:
        InputError: Files are missing.
        GateRefused: The licence asks for a text that is not there.
        PlatformError: A file differs from what was registered.
    """
    folder = registry.checkpoint(version)
    files = {name: folder / name for name in _verified(registry, version, folder)}
    if is_adapter(folder):  # a hub's readers expect a model
        write_merged(folder, scratch / "merged")
        files = {path.name: path for path in (scratch / "merged").iterdir() if is_publishable(path.name)}
    if card := _card_of_run(registry, version, scratch / "card"):
        files = {name: path for name, path in files.items() if not is_card_file(name)} | card
    if README_FILE not in files:
        raise InputError(f"{version.name} version {version.version} has no card", "Make it again: it is published with its card.")
    files.pop(PAGE_FILE, None)
    files |= license_additions(version, terms.license, terms.answer, files, scratch)
    return files | _readdressed(files, f"{address}/resolve/main", scratch, version, terms.license)


def _readdressed(files: dict[str, Path], url: str, scratch: Path, version: BotVersion, base_license: str) -> dict[str, Path]:
    """Return the card with URLs of its files at `url`: link previews need absolute ones. The share page needs card.json.

    The card of an earlier version of Mynah, or of a base model whose licence was not known, gets the section on licences.
    """
    folder = scratch / "published"
    folder.mkdir()
    card = remove_private_links(files[README_FILE].read_text("utf-8", errors="replace"))
    card = _with_license(card, license_section(version.tags.get("mynah.base_model", ""), base_license))
    write_text(folder / README_FILE, with_new_url(card, url, base_license))
    rewritten = {README_FILE: folder / README_FILE}
    if (scratch / "card" / PREVIEW_FILE).is_file() and PICTURE_FILE in files:
        preview = replace(read_preview(scratch / "card"), url=url)
        write_text(folder / PAGE_FILE, share_page(preview, files[PICTURE_FILE].read_bytes()))
        rewritten[PAGE_FILE] = folder / PAGE_FILE
    return rewritten


def _with_license(card: str, section: str) -> str:
    """Return the card with the section on licences in the place of an earlier one, or at its end."""
    before, heading, after = card.partition(f"\n{HEADING}\n")
    if not heading:
        return f"{card.rstrip()}\n\n{section}\n"
    _, following, rest = after.partition("\n## ")
    return f"{before}\n{section}\n{following}{rest}" if following else f"{before}\n{section}\n"


def remove_private_links(card: str) -> str:
    """Replace links to runs in MLflow by the run's id: nobody outside can reach the server."""

    def replacement(text: str, address: str) -> str:
        run = RUN.search(address)
        name = f"run `{run[1]}`" if run else "a run that is not public"
        return f"{text} ({name})" if text and not ADDRESS.search(text) else name

    return ADDRESS.sub(lambda match: replacement("", match[1]), LINK.sub(lambda match: replacement(match[1], match[2]), card))


def _verified(registry: Registry, version: BotVersion, folder: Path) -> list[str]:
    """Return the names of publishable files, after comparing each with its registered digest."""
    check_folder(folder)
    manifest = read_manifest(registry.files(version))
    entries = {name.removeprefix(MODEL): entry for name, entry in manifest.items() if name.startswith(MODEL)}
    for name in filter(is_publishable, entries):
        if not (folder / name).is_file() or digest(folder / name) != entries[name].sha256:
            raise PlatformError(
                f"{name} of {version.name} version {version.version} is not what was registered",
                f"Train it again with `mynah run --name {version.name} …`; `mynah doctor --deep` shows all.",
            )
    return [name for name in entries if is_publishable(name)]


def _card_of_run(registry: Registry, version: BotVersion, folder: Path) -> dict[str, Path]:
    """Copy the card among the pipeline run's artifacts into `folder`, where its picture may have changed since; {} where there is none."""
    card_run = steps_of_version(registry, version).get("card")
    if not card_run:
        return {}
    source = open_artifact_store(f"{card_run.info.artifact_uri}/card", registry.store.tracking_uri)
    names = [name for name in source.files() if is_card_file(name) or name == PREVIEW_FILE]
    if README_FILE not in names:
        return {}
    folder.mkdir()
    for name in names:
        source.get(name, folder / name)
    return {name: folder / name for name in names if is_card_file(name)}
