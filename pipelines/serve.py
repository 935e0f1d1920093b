"""`mynah serve`: where the bots come from, and how the server runs. Nothing heavy is imported before it is needed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import InputError
from components.files import there_is
from pipelines.options import DEFAULT_WORKDIR, Workdir, existing

if TYPE_CHECKING:
    from serving.repository.sources import FolderSource, RegistrySource, ServedBot

GIB, MIB = 1 << 30, 1 << 20

Names = Annotated[list[str] | None, typer.Argument(help="The bots; every champion of the registry when none is named.")]
ModelDir = Annotated[
    Path | None,
    typer.Option(help="Serve the checkpoint in this folder, such as KServe's /mnt/models."),
]
BotName = Annotated[
    str | None,
    typer.Option(envvar="MYNAH_MODEL_NAME", help="What it is called; `model` unless told."),
]
BotVersion = Annotated[str, typer.Option(envvar="MYNAH_MODEL_VERSION", help="The version that callers are shown.")]
Host = Annotated[str, typer.Option(help="Address to bind. 0.0.0.0 opens it to the network: give it --keys then.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")]
GrpcPort = Annotated[int | None, typer.Option(min=0, max=65535, help="KServe's v2 over gRPC too; 0 picks a free one.")]
Keys = Annotated[
    Path | None,
    typer.Option(envvar="MYNAH_KEYS", help="File with hashed API keys, see `mynah keys`. Without it anybody may ask."),
]
Memory = Annotated[
    float | None,
    typer.Option(min=0.01, max=1_000_000, help="GiB for models in memory; half of what is free unless told."),
]
Cache = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=1_000_000, help="GiB for running requests' keys and values; a quarter of what is free unless told."
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="/metrics on a port of its own, open to who reaches it; with keys /metrics is for admins."
    ),
]
Poll = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between looks at the registry.")]
Queue = Annotated[int, typer.Option(min=1, help="Requests that may wait for their turn.")]
MaxBody = Annotated[float, typer.Option(min=0.001, max=1024, help="MiB of a request's body.")]
Grace = Annotated[float, typer.Option(min=0, max=3600, help="Seconds for running requests after SIGTERM or Ctrl-C.")]
Deadline = Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds for a whole answer.")]
Split = Annotated[float, typer.Option(min=0, max=100, help="Percent of a bot's requests that its challenger answers.")]
Shadow = Annotated[
    float,
    typer.Option(min=0, max=100, help="Percent of a bot's requests that its challenger gets a copy of."),
]
AllowVerbatim = Annotated[bool, typer.Option("--allow-verbatim", help="Let bots repeat posts that they were trained on.")]
LogPrompts = Annotated[bool, typer.Option("--log-prompts", help="Log what people ask. Tell them.")]


def serve(
    names: Names = None,
    model_dir: ModelDir = None,
    name: BotName = None,
    version: BotVersion = "1",
    host: Host = "127.0.0.1",
    port: Port = 8080,
    grpc_port: GrpcPort = None,
    keys: Keys = None,
    memory: Memory = None,
    cache: Cache = None,
    metrics_port: MetricsPort = None,
    poll: Poll = 2.0,
    queue: Queue = 256,
    max_body: MaxBody = 1.0,
    grace: Grace = 25.0,
    deadline: Deadline = 120.0,
    split: Split = 0.0,
    shadow: Shadow = 0.0,
    allow_verbatim: AllowVerbatim = False,
    log_prompts: LogPrompts = False,
    workdir: Workdir = DEFAULT_WORKDIR,
) -> None:
    """Serve bots by KServe's v1 and v2 protocols and OpenAI's completions."""
    from serving.settings import Settings, default_cache, default_memory

    settings = Settings(
        host=host, port=port, grpc_port=grpc_port, keys_file=keys, most_waiting=queue, max_body=int(max_body * MIB), grace=grace, deadline=deadline,
        memory=int(memory * GIB) if memory else default_memory(), cache=int(cache * GIB) if cache else default_cache(),
        metrics_port=metrics_port, webhook_secret=os.environ.get("MYNAH_WEBHOOK_SECRET", ""), poll=poll, split=split / 100, shadow=shadow / 100,
        allow_verbatim=allow_verbatim, log_prompts=log_prompts,
    )  # fmt: skip
    if name and not model_dir:
        raise InputError(f"--name {name[:80]!r} is for a folder", f"Add --model-dir FOLDER, or write `mynah serve {name[:80]}`.")
    if model_dir and names:
        raise InputError("a folder's bot and the registry's cannot be served at once", "Leave out --model-dir, or the names.")
    source = of_folder(model_dir, name or "model", version) if model_dir else of_registry(workdir, names or [])
    from serving.server import serve as work

    work(source, settings)


def of_folder(folder: Path, name: str, version: str) -> "FolderSource":
    """The bot whose checkpoint lies in `folder`, or in its model/ as in what MLflow keeps. Raises InputError when there is none."""
    from serving.repository.sources import FolderSource, ServedBot

    for place in (folder, folder / "model"):
        if there_is(place / "config.json"):
            return FolderSource([ServedBot(name, version, place)])
    raise InputError(f"there is no checkpoint in {folder}", "Name the folder that has config.json and model.safetensors.")


def of_registry(workdir: Path, names: list[str]) -> "RegistrySource":
    """The bots of the registry that `workdir` or the environment names. Raises InputError when there is none, or a name is none."""
    from components.store import Store, server_address
    from serving.repository.sources import RegistrySource

    existing(workdir)
    # Not opened as `open_store` does: it would import MLflow, and make an experiment that a server needs none of.
    address = server_address()
    return RegistrySource(Store(address, folder=workdir.resolve()) if address else Store.in_folder(workdir), names)


def champion(workdir: Path, name: str) -> "ServedBot":
    """The champion of the bot called `name`, on this machine's disk. Raises InputError when it has none or its files are gone."""
    from components.registry import Registry
    from components.store import open_store
    from serving.repository.sources import ServedBot

    registry = Registry(open_store(existing(workdir)))
    bot = registry.bot(name)
    if not bot.champion:
        raise InputError(f"{name} has no champion", f"Promote one with `mynah promote {name}`.")
    return ServedBot(name, str(bot.champion.version), registry.checkpoint(bot.champion))
