"""The commands `mynah keys`: who may ask a server, in a file that its option --keys takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import Json, result

if TYPE_CHECKING:
    from serving.doors.keys import KeyRing, Limits

app = typer.Typer(
    help="API keys for a server (mynah serve --keys FILE): add, list, revoke, limit.", no_args_is_help=True, rich_markup_mode=None
)
File = Annotated[Path, typer.Option("--file", envvar="MYNAH_KEYS", help="The key file, JSON or YAML. It holds hashes only.")]
Requests = Annotated[int | None, typer.Option(min=1, help="Requests a minute.")]
Tokens = Annotated[int | None, typer.Option(min=1, help="Generated tokens a minute.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Requests at the same time.")]


@app.command()
def add(
    file: File,
    tenant: Annotated[str, typer.Option(help="Whose key it is.")],
    bots: Annotated[list[str] | None, typer.Option("--bot", help="A bot it may ask, or a pattern: 'w*'. Repeatable.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may load and unload bots.")] = False,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    concurrent: Concurrent = None,
    as_json: Json = False,
) -> None:
    """Make a key, and print it: this once, for the file keeps only its hash."""
    import sys
    from datetime import UTC, datetime

    from components.errors import InputError
    from serving.doors.key_file import add_key
    from serving.doors.keys import Limits, new_key

    if not bots and not admin:
        raise InputError("the key could ask no bot", "Name those that it may ask with --bot; --bot '*' means all.")
    limits = Limits(requests_per_minute, tokens_per_minute, concurrent)
    key, presented = new_key(tenant, bots or [], admin, limits, f"{datetime.now(UTC):%Y-%m-%d}")
    add_key(file, key)
    result({"id": key.id, "key": presented}, presented, as_json)
    print(f"Keep it: {file} has only its hash. To revoke it: mynah keys revoke {key.id} --file {file}", file=sys.stderr)


@app.command(name="list")
def list_(file: File, as_json: Json = False) -> None:
    """The keys of a file: ids, tenants, bots and limits."""
    from dataclasses import asdict

    from serving.doors.key_file import read_keys

    ring = read_keys(file)
    records = [{name: value for name, value in asdict(key).items() if name != "hash"} for key in ring.keys.values()]
    if as_json:
        tenants = {name: asdict(limits) for name, limits in ring.tenants.items()}
        result({"keys": records, "tenants": tenants}, "", as_json)
        return
    _show(ring)


@app.command()
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The key's id: the part between its underscores.")],
    file: File,
    as_json: Json = False,
) -> None:
    """Take a key out of the file; servers that read it refuse the key at once."""
    from serving.doors.key_file import revoke_key

    revoke_key(file, identity)
    result({"revoked": identity}, f"{identity} is revoked", as_json)


@app.command()
def limit(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    file: File,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    concurrent: Concurrent = None,
    as_json: Json = False,
) -> None:
    """Set what all keys of a tenant may ask together; what is not named is without limit."""
    from dataclasses import asdict

    from serving.doors.key_file import limit_tenant
    from serving.doors.keys import Limits

    limits = Limits(requests_per_minute, tokens_per_minute, concurrent)
    limit_tenant(file, tenant, limits)
    result({"tenant": tenant, **asdict(limits)}, f"the limits of {tenant} are set", as_json)


def _show(ring: "KeyRing") -> None:
    from rich.table import Table

    from pipelines.show import console

    table = Table()
    for heading in ("Id", "Tenant", "Bots", "Admin", "Limits", "Made"):
        table.add_column(heading)
    for key in ring.keys.values():
        table.add_row(key.id, key.tenant, ", ".join(key.bots), "yes" if key.admin else "", _told(key.limits), key.created)
    for tenant, limits in ring.tenants.items():
        table.add_row("together", tenant, "", "", _told(limits), "")
    console().print(table)


def _told(limits: "Limits") -> str:
    counts = {
        "requests/min": limits.requests_per_minute, "tokens/min": limits.tokens_per_minute, "at a time": limits.concurrent,
    }  # fmt: skip
    return ", ".join(f"{value:,} {what}" for what, value in counts.items() if value)
