"""The commands `mynah keys`: manages the API keys in the file that `mynah serve --keys` reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.settings import MYNAH_KEYS
from pipelines.cli.options import Json, result
from pipelines.flat_signature import MadeBy, flatten

if TYPE_CHECKING:
    from serving.auth.api_keys import KeyRing, Limits

app = typer.Typer(
    help="API keys for a server (mynah serve --keys FILE): add, list, revoke, limit.", no_args_is_help=True, rich_markup_mode=None
)
File = Annotated[Path, typer.Option("--file", envvar=MYNAH_KEYS.name, help="The key file, JSON or YAML. It holds hashes only.")]
Requests = Annotated[int | None, typer.Option(min=1, help="Requests per minute.")]
Tokens = Annotated[int | None, typer.Option(min=1, help="Generated tokens per minute.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Concurrent requests.")]


def limits_of(requests_per_minute: Requests = None, tokens_per_minute: Tokens = None, concurrent: Concurrent = None) -> "Limits":
    """Return the limits that the options describe."""
    from serving.auth.api_keys import Limits

    return Limits(requests_per_minute, tokens_per_minute, concurrent)


LimitOptions = Annotated["Limits", MadeBy(limits_of)]


@app.command()
@flatten
def add(
    file: File,
    tenant: Annotated[str, typer.Option(help="The tenant that the key belongs to.")],
    bots: Annotated[
        list[str] | None, typer.Option("--bot", help="A bot that the key can query, or a pattern: 'w*'. Repeatable.")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Allow loading and unloading bots.")] = False,
    *,
    limits: LimitOptions,
    as_json: Json = False,
) -> None:
    """Create a key and print it once; the file stores only its hash."""
    import sys
    from datetime import UTC, datetime

    from mynah.core.errors import InputError
    from serving.auth.api_keys import new_key
    from serving.auth.key_file import add_key

    if not bots and not admin:
        raise InputError("the key could query no bot", "Name bots with --bot; --bot '*' means all.")
    key, presented = new_key(tenant, bots or [], admin, limits, f"{datetime.now(UTC):%Y-%m-%d}")
    add_key(file, key)
    result({"id": key.id, "key": presented}, presented, as_json)
    print(f"Keep it: {file} has only its hash. To revoke it: mynah keys revoke {key.id} --file {file}", file=sys.stderr)


@app.command(name="list")
def list_(file: File, as_json: Json = False) -> None:
    """List the keys of a file: ids, tenants, bots and limits."""
    from dataclasses import asdict

    from serving.auth.key_file import read_keys

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
    """Remove a key from the file; servers that use the file reject it from then on."""
    from serving.auth.key_file import revoke_key

    revoke_key(file, identity)
    result({"revoked": identity}, f"{identity} is revoked", as_json)


@app.command()
@flatten
def limit(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    file: File,
    limits: LimitOptions,
    as_json: Json = False,
) -> None:
    """Set the limits for all keys of a tenant together; options that are not given set no limit."""
    from dataclasses import asdict

    from serving.auth.key_file import limit_tenant

    limit_tenant(file, tenant, limits)
    result({"tenant": tenant, **asdict(limits)}, f"the limits of {tenant} are set", as_json)


def _show(ring: "KeyRing") -> None:
    from rich.table import Table

    from pipelines.cli.render import console

    table = Table()
    for heading in ("Id", "Tenant", "Bots", "Admin", "Limits", "Created"):
        table.add_column(heading)
    for key in ring.keys.values():
        table.add_row(key.id, key.tenant, ", ".join(key.bots), "yes" if key.admin else "", _limits_text(key.limits), key.created)
    for tenant, limits in ring.tenants.items():
        table.add_row("together", tenant, "", "", _limits_text(limits), "")
    console().print(table)


def _limits_text(limits: "Limits") -> str:
    counts = {
        "requests/min": limits.requests_per_minute, "tokens/min": limits.tokens_per_minute, "at a time": limits.concurrent,
    }  # fmt: skip
    return ", ".join(f"{value:,} {what}" for what, value in counts.items() if value)
