"""The command `mynah publish`."""

from pathlib import Path
from typing import Annotated

import typer

from mynah.core.progress import waiting
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, existing, result


def publish(
    name: Annotated[str, typer.Argument(help="The bot.")],
    to: Annotated[str, typer.Option(metavar="hub:ORG/NAME", help="The repository, which is created if necessary.")],
    version: Annotated[int, typer.Option(min=0, help="The version; 0 is the champion.")] = 0,
    public: Annotated[bool, typer.Option("--public", help="Make the repository public instead of private.")] = False,
    base_license: Annotated[
        str,
        typer.Option("--license", metavar="ID", help="The base model's licence, where nothing records it: apache-2.0, mit, …"),
    ] = "",
    license_text: Annotated[
        Path | None,
        typer.Option(help="A file with that licence's text, where it asks for a copy and none lies beside the weights."),
    ] = None,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Upload a version with its card to a Hugging Face hub, if verdict, consent and the base model's licence allow it (token: HF_TOKEN).

    Exit code 4 when not.
    """
    from dataclasses import asdict

    from mynah.registry.published_copies import repository

    repository(to)  # validates the name before opening the store, which may take seconds
    with waiting(f"Publishing {name}"):
        from components.publish.licensing import LicenseAnswer
        from components.publish.step import publish
        from mynah.tracking.open import open_store

        answer = LicenseAnswer(base_license, license_text)
        done = publish(name, to, open_store(existing(workdir)), version, public=public, answer=answer)
    audience = "everybody" if done.public else "you and people with access"
    result(
        asdict(done), f"{done.name} version {done.version} is published in {len(done.files)} files, visible to {audience}\n{done.url}",
        as_json,
    )  # fmt: skip
