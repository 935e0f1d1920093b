"""The command `mynah bases`: the base models of the catalogue, and which of them are on this machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mynah.core.progress import waiting
from pipelines.cli.options import Json, print_json

if TYPE_CHECKING:
    from mynah.models.catalogue import CatalogueEntry


def bases(as_json: Json = False) -> None:
    """Base models for --base-model, with their licences and what is there without a network."""
    with waiting("Looking"):
        from mynah.models.catalogue import catalogue

        records = [_record(entry) for entry in catalogue()]
    if as_json:
        print_json(records)
    else:
        _show(records)


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
