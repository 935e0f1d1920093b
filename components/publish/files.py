"""The files of a version that go to a hub: verified weights, and the card as it is now, without addresses of ours."""

import re
from dataclasses import replace
from pathlib import Path

from components.artifacts import place
from components.card.addresses import PAGE, PICTURE
from components.card.choose import README, steps_of_version
from components.card.front import readdressed
from components.card.preview import FILE as PREVIEW_FILE
from components.card.preview import read_preview
from components.card.share import share_page
from components.checkpoint import check_folder
from components.checkpoint_cache import MODEL
from components.copies import is_of_card, may_go
from components.errors import InputError, PlatformError
from components.files import digest, write_text
from components.manifest import read_manifest
from components.registry import BotVersion, Registry

# MLflow's page of a run: [words](http://…/#/experiments/1/runs/0123…), or the address by itself.
LINK = re.compile(r"\[([^\]\n]*)\]\(<?(https?://[^\s()<>]*#/experiments/[^\s()<>]*)>?\)")
ADDRESS = re.compile(r"<?(https?://[^\s()<>\"]*#/experiments/[^\s()<>\"]*)>?")
RUN = re.compile(r"/runs/([0-9a-zA-Z_-]+)")


def gather(registry: Registry, version: BotVersion, address: str, scratch: Path) -> dict[str, Path]:
    """What of `version` goes to the repository at `address`: name to path. What has to be written anew is, into `scratch`.

    Raises InputError when files are missing, PlatformError when one is not what was registered.
    """
    folder = registry.checkpoint(version)
    files = {name: folder / name for name in _verified(registry, version, folder)}
    if card := _card_of_run(registry, version, scratch / "card"):
        files = {name: path for name, path in files.items() if not is_of_card(name)} | card
    if README not in files:
        raise InputError(f"{version.name} version {version.version} has no card", "Make it again: it is published with its card.")
    files.pop(PAGE, None)
    return files | _readdressed(files, f"{address}/resolve/main", scratch)


def _readdressed(files: dict[str, Path], url: str, scratch: Path) -> dict[str, Path]:
    """The card for those who see its files at `url`: link previews take whole addresses alone. The share page needs card.json."""
    folder = scratch / "published"
    folder.mkdir()
    card = without_our_addresses(files[README].read_text("utf-8", errors="replace"))
    write_text(folder / README, readdressed(card, url))
    made = {README: folder / README}
    if (scratch / "card" / PREVIEW_FILE).is_file() and PICTURE in files:
        chosen = replace(read_preview(scratch / "card"), url=url)
        write_text(folder / PAGE, share_page(chosen, files[PICTURE].read_bytes()))
        made[PAGE] = folder / PAGE
    return made


def without_our_addresses(card: str) -> str:
    """A card whose links to runs in MLflow say the run's id alone: nobody outside reaches the server."""

    def told(words: str, address: str) -> str:
        run = RUN.search(address)
        name = f"run `{run[1]}`" if run else "a run that is not public"
        return f"{words} ({name})" if words and not ADDRESS.search(words) else name

    return ADDRESS.sub(lambda found: told("", found[1]), LINK.sub(lambda found: told(found[1], found[2]), card))


def _verified(registry: Registry, version: BotVersion, folder: Path) -> list[str]:
    """The names that may go, of the files that were registered, each with the digest that it had."""
    check_folder(folder)
    manifest = read_manifest(registry.files(version))
    going = {name.removeprefix(MODEL): entry for name, entry in manifest.items() if name.startswith(MODEL)}
    for name in filter(may_go, going):
        if not (folder / name).is_file() or digest(folder / name) != going[name].sha256:
            raise PlatformError(
                f"{name} of {version.name} version {version.version} is not what was registered",
                f"Make it again with `mynah run --name {version.name} …`; `mynah doctor --deep` shows all.",
            )
    return [name for name in going if may_go(name)]


def _card_of_run(registry: Registry, version: BotVersion, folder: Path) -> dict[str, Path]:
    """Into `folder`, the card among the pipeline run's artifacts, where somebody may have chosen another picture since; {} where there is none."""
    made = steps_of_version(registry, version).get("card")
    if not made:
        return {}
    source = place(f"{made.info.artifact_uri}/card", registry.store.tracking_uri)
    names = [name for name in source.files() if is_of_card(name) or name == PREVIEW_FILE]
    if README not in names:
        return {}
    folder.mkdir()
    for name in names:
        source.get(name, folder / name)
    return {name: folder / name for name in names if is_of_card(name)}
