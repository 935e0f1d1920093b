"""`mynah serve`: the options of the server and the sources of its bots. Heavy modules are imported when they are needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import InputError
from mynah.core.files import path_exists
from mynah.core.settings import MYNAH_KEYS, MYNAH_MODEL_NAME, MYNAH_MODEL_VERSION, MYNAH_WEBHOOK_SECRET
from mynah.core.threads import DECODING, wait_shortly
from pipelines.cli.options import DEFAULT_WORKDIR, Workdir, existing
from pipelines.flat_signature import flatten

if TYPE_CHECKING:
    from serving.config import Settings
    from serving.models.sources import FolderSource, RegistrySource, ServedBot

GIB, MIB = 1 << 30, 1 << 20

Names = Annotated[list[str] | None, typer.Argument(help="The bots; by default, the champions of all bots in the registry.")]
ModelDir = Annotated[
    Path | None,
    typer.Option(help="Serve the checkpoint in this folder, such as KServe's /mnt/models."),
]
BotName = Annotated[
    str | None,
    typer.Option(envvar=MYNAH_MODEL_NAME.name, help="The bot's name with --model-dir; `model` by default."),
]
BotVersion = Annotated[str, typer.Option(envvar=MYNAH_MODEL_VERSION.name, help="The version shown to clients with --model-dir.")]
Host = Annotated[str, typer.Option(help="The address to bind. 0.0.0.0 accepts requests from the network; set --keys then.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 picks a free one.")]
GrpcPort = Annotated[int | None, typer.Option(min=0, max=65535, help="The port of KServe's v2 over gRPC; 0 picks a free one.")]
Keys = Annotated[
    Path | None,
    typer.Option(envvar=MYNAH_KEYS.name, help="The file of hashed API keys (see `mynah keys`). Without it, no key is needed."),
]
Memory = Annotated[
    float | None,
    typer.Option(min=0.01, max=1_000_000, help="GiB for models in memory; half of the free memory by default."),
]
Cache = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=1_000_000, help="GiB for the KV cache of running requests; a quarter of the free memory by default."
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="A port where /metrics needs no key; on the main port, /metrics needs an admin key if there are keys.",
    ),
]
Poll = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two reads of the registry.")]
Queue = Annotated[int, typer.Option(min=1, help="The maximum number of queued requests.")]
MaxBody = Annotated[float, typer.Option(min=0.001, max=1024, help="The maximum MiB of a request's body.")]
Grace = Annotated[float, typer.Option(min=0, max=3600, help="Seconds for running requests after SIGTERM or Ctrl-C.")]
Deadline = Annotated[float, typer.Option(min=0.1, max=86_400, help="The maximum seconds of an answer.")]
Split = Annotated[float, typer.Option(min=0, max=100, help="The percentage of a bot's requests that its challenger answers.")]
Shadow = Annotated[
    float,
    typer.Option(min=0, max=100, help="The percentage of a bot's requests of which its challenger gets a copy."),
]
AllowVerbatim = Annotated[bool, typer.Option("--allow-verbatim", help="Let bots repeat posts that they were trained on.")]
LogPrompts = Annotated[bool, typer.Option("--log-prompts", help="Log prompts. Inform your users.")]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options of a server, in the units of the command line; `settings` converts them."""

    host: Host = "127.0.0.1"
    port: Port = 8080
    grpc_port: GrpcPort = None
    keys: Keys = None
    memory: Memory = None  # GiB
    cache: Cache = None  # GiB
    metrics_port: MetricsPort = None
    poll: Poll = 2.0  # seconds
    queue: Queue = 256
    max_body: MaxBody = 1.0  # MiB
    grace: Grace = 25.0  # seconds
    deadline: Deadline = 120.0  # seconds
    split: Split = 0.0  # percent
    shadow: Shadow = 0.0  # percent
    allow_verbatim: AllowVerbatim = False
    log_prompts: LogPrompts = False

    def settings(self) -> "Settings":
        """Return the server's settings. Raises InputError for an invalid value."""
        from serving.config import Settings, default_cache, default_memory

        return Settings(
            host=self.host, port=self.port, grpc_port=self.grpc_port, keys_file=self.keys, most_waiting=self.queue,
            max_body=int(self.max_body * MIB), grace=self.grace, deadline=self.deadline,
            memory=int(self.memory * GIB) if self.memory else default_memory(),
            cache=int(self.cache * GIB) if self.cache else default_cache(),
            metrics_port=self.metrics_port, webhook_secret=MYNAH_WEBHOOK_SECRET.get(), poll=self.poll,
            split=self.split / 100, shadow=self.shadow / 100, allow_verbatim=self.allow_verbatim, log_prompts=self.log_prompts,
        )  # fmt: skip


@flatten
def serve(
    names: Names = None,
    model_dir: ModelDir = None,
    name: BotName = None,
    version: BotVersion = MYNAH_MODEL_VERSION.default,
    *,
    options: ServerOptions,
    workdir: Workdir = DEFAULT_WORKDIR,
) -> None:
    """Serve bots over KServe's v1 and v2 protocols and OpenAI's completions and chat completions."""
    from mynah.decoding.requirements import require_kernels

    settings = options.settings()
    wait_shortly(DECODING)
    require_kernels()
    if name and not model_dir:
        raise InputError(f"--name {name[:80]!r} is for a folder", f"Add --model-dir FOLDER, or write `mynah serve {name[:80]}`.")
    if model_dir and names:
        raise InputError("a folder's bot and the registry's cannot be served at once", "Leave out --model-dir, or the names.")
    source = of_folder(model_dir, name or "model", version) if model_dir else of_registry(workdir, names or [])
    from serving.server import serve

    serve(source, settings)


def of_folder(folder: Path, name: str, version: str) -> "FolderSource":
    """Return the source of one bot whose checkpoint is in a folder.

    Args:
        folder: the checkpoint's folder, or the parent of its folder model/, which is MLflow's layout.
        name: the bot's name.
        version: the version shown to clients.

    Raises:
        InputError: the folder has no checkpoint.
    """
    from serving.models.sources import FolderSource, ServedBot

    for candidate in (folder, folder / "model"):
        if path_exists(candidate / "config.json"):
            return FolderSource([ServedBot(name, version, candidate)])
    raise InputError(f"there is no checkpoint in {folder}", "Name the folder that has config.json and model.safetensors.")


def of_registry(workdir: Path, names: list[str]) -> "RegistrySource":
    """Return the source of the registry's bots.

    Args:
        workdir: the work folder with the store, unless the environment names a server.
        names: the bots to serve; [] means all.

    Raises:
        InputError: there is no registry, or a name is invalid.
    """
    from mynah.mlflow_client.store import Store, server_address
    from serving.models.sources import RegistrySource

    existing(workdir)
    # Without `open_store`, which imports MLflow and creates an experiment, which a server does not need.
    address = server_address()
    return RegistrySource(Store(address, folder=workdir.resolve()) if address else Store.in_folder(workdir), names)


def stored_bot(workdir: Path, address: str) -> "ServedBot":
    """Return a version of a bot on this machine's disk.

    Args:
        workdir: the work folder.
        address: NAME, which is its champion, NAME@ALIAS or NAME:VERSION, as in requests to the server.

    Raises:
        InputError: there is no such bot or version, or its files are missing.
    """
    from mynah.registry.registry import Registry
    from mynah.registry.versions import CHAMPION, no_such_version, parse_bot
    from mynah.tracking.open import open_store
    from serving.models.sources import ServedBot

    name, ref = parse_bot(address)
    registry = Registry(open_store(existing(workdir)))
    version = registry.head(name, ref).at(ref)
    if not version and ref == CHAMPION:
        raise InputError(f"{name} has no champion", f"Promote one with `mynah promote {name}`.")
    if not version:
        raise no_such_version(registry.bot(name), ref[:80] if isinstance(ref, str) else f"version {ref}")
    return ServedBot(name, str(version.version), registry.checkpoint(version))
