"""The command `mynah publish`."""

from typing import Annotated

import typer

from components.events import waiting
from pipelines.options import DEFAULT_WORKDIR, Json, Workdir, existing, result


def publish(
    name: Annotated[str, typer.Argument(help="The bot.")],
    to: Annotated[str, typer.Option(metavar="hub:ORG/NAME", help="The repository, made where it is not there.")],
    version: Annotated[int, typer.Option(min=0, help="Which version; 0: the champion.")] = 0,
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it; private unless told.")] = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Upload a version with its card to a Hugging Face hub, if verdict and consent allow it (token: HF_TOKEN). Exit code 4 when not."""
    from dataclasses import asdict

    from components.copies import repository

    repository(to)  # before a store is opened, which may take seconds
    with waiting(f"Publishing {name}"):
        from components.publish import publish as work
        from components.store import open_store

        done = work(name, to, open_store(existing(workdir)), version, public=public)
    seen = "everybody" if done.public else "you and those you let in"
    result(
        asdict(done), f"{done.name} version {done.version} is published, for {seen} to see, in {len(done.files)} files\n{done.url}",
        as_json,
    )  # fmt: skip
