"""The command `mynah bases`: the base models of the catalogue, and which of them are on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mynah.core.errors import InputError
from mynah.core.progress import waiting
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json, result

if TYPE_CHECKING:
    from mynah.models.catalogue import CatalogueEntry


def bases(
    of: Annotated[
        str,
        typer.Option(
            "--of",
            metavar="BOT",
            help="Print where the base model of an adapter is on this machine, fetched: NAME or NAME:VERSION.",
        ),
    ] = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Base models for --base-model, with their licences and what is there without a network."""
    if of:
        folder = _folder_of(of, workdir)
        result({"bot": of, "folder": str(folder)}, str(folder), as_json)
        return
    with waiting("Looking"):
        from mynah.models.catalogue import catalogue

        records = [_record(entry) for entry in catalogue()]
    if as_json:
        print_json(records)
    else:
        _show(records)


def _folder_of(bot: str, workdir: Path) -> Path:
    """Return the folder of the base model of a version that is an adapter. Raises InputError where there is none."""
    with waiting("Looking for the version"):
        from mynah.models.adapter import is_adapter
        from mynah.models.adapter_base import base_folder
        from mynah.registry.registry import Registry
        from mynah.registry.versions import no_such_version, parse_bot
        from mynah.tracking.open import open_store

        name, ref = parse_bot(bot)
        registry = Registry(open_store(existing(workdir)))
        version = registry.head(name, ref).at(ref)
        if version is None:
            raise no_such_version(registry.bot(name), ref if isinstance(ref, str) else f"version {ref}")
        checkpoint = registry.checkpoint(version)
    if not is_adapter(checkpoint):
        raise InputError(f"{name} version {version.version} is a whole model", f"It needs no base model: it is in {checkpoint}.")
    return base_folder(checkpoint)


def _record(entry: "CatalogueEntry") -> dict[str, Any]:
    """A JSON object of a base model."""
    from mynah.models.catalogue import how_to_install, licenses

    source, known, (offline, where) = entry.source, licenses()[entry.license], _where(entry)
    return {
        "name": entry.name, "architecture": entry.architecture, "parameters": entry.parameters, "context": entry.context,
        "end_token": entry.end_token, "source": source.kind, "package": source.package, "hub": source.hub,
        "license": entry.license, "license_url": known.url, "license_terms": known.terms, "offline": offline, "where": where,
        "install": how_to_install(entry) if source.kind == "package" else "",
    }  # fmt: skip


def _where(entry: "CatalogueEntry") -> tuple[bool, str]:
    """Whether a base model is on this machine, and in words where it is or what it needs."""
    from mynah.models.base_models import hub_folder
    from mynah.models.catalogue import package_file

    if entry.source.kind == "bundled":
        return True, "bundled"
    if entry.source.kind == "package":
        return (True, "installed") if package_file(entry) else (False, "not installed")
    return (True, "cached") if hub_folder(entry.name) else (False, "needs the hub")


def _show(records: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    from pipelines.cli.render import console

    table = Table()
    for heading in ("Base model", "Family", "Weights", "Context", "Licence", "Offline"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("Weights", "Context") else "left")
    for each in records:
        table.add_row(
            each["name"],
            each["architecture"],
            f"{each['parameters'] / 1e6:,.0f} M",
            f"{each['context']:,}",
            each["license"],
            each["where"],
        )
    console().print(table)
    for each in records:
        if each["where"] == "not installed":
            console().print(f"{each['name']}: {each['install']}", style="dim", soft_wrap=True)
    console().print("Others: a folder, a GGUF file, or a name of the hub. What licences ask: --json", style="dim")
