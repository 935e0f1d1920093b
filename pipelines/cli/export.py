"""The command `mynah export`."""

from typing import Annotated, Literal

import typer

from mynah.core.progress import waiting
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Out, Workdir, existing, require_apart, result


def export(
    name: Annotated[
        str, typer.Argument(metavar="NAME[@ALIAS|:VERSION]", help="The bot, and which version; the champion unless told.")
    ],
    to: Annotated[
        Literal["gguf", "ollama", "folder"],
        typer.Option(help="gguf for llama.cpp; ollama: that and a Modelfile; folder: the Hugging Face checkpoint."),
    ],
    out: Out,
    matrix_type: Annotated[
        Literal["f16", "q8_0"], typer.Option("--type", help="Of the GGUF: q8_0 is half as large, and writes almost the same.")
    ] = "f16",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """A version as files for other programs, with its card: GGUF, an Ollama model, or a checkpoint. `mynah forget` does not know of them."""
    from dataclasses import asdict

    from components.export.step import export
    from mynah.registry.versions import parse_bot

    bot, _ = parse_bot(name)
    require_apart(out, workdir=workdir)
    with waiting(f"Exporting {bot}"):
        from mynah.tracking.open import open_store

        done = export(name, to, out, open_store(existing(workdir)), matrix_type)
    text = f"{done.name} version {done.version} → {out}: {', '.join(done.files)}"
    if to == "ollama":
        text += f"\nollama create {done.name} -f {out}/Modelfile, then: ollama run {done.name} 'My dream is'"
    result(asdict(done), text, as_json)
