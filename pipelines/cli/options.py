"""Options and output functions shared by the commands of `mynah`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mynah.core.errors import GateRefused, InputError
from mynah.core.files import path_exists
from mynah.core.outputs import refuse_overlap
from mynah.core.progress import strip_control_chars
from mynah.core.settings import MYNAH_WORKDIR
from mynah.mlflow_client.store import server_address

if TYPE_CHECKING:
    from pipelines.local.outcome import Outcome

Workdir = Annotated[Path, typer.Option(envvar=MYNAH_WORKDIR.name, help="The folder of runs, MLflow's store and the registry.")]
Author = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Whose posts are read of a chat of WhatsApp or Telegram, or of a table of several authors; for what names no author, the author.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Runner = Annotated[
    Literal["subprocess", "docker"],
    typer.Option(help="docker runs each step in its image (see `make images`) with Docker or podman."),
]
Out = Annotated[Path, typer.Option(help="The folder to write; a folder that a step wrote before is replaced.")]
DEFAULT_WORKDIR = Path.home() / ".mynah"


def require_apart(out: Path, *inputs: Path | None, workdir: Path | None = None) -> None:
    """Raise InputError where an output overlaps an input: for the inputs that the step itself does not see.

    Args:
        out: the file or folder to write.
        inputs: what the command reads; None for an option that was not given.
        workdir: the work folder, which `out` may lie in.
    """
    refuse_overlap(out, [path for path in inputs if path], [workdir] if workdir else ())


def existing(workdir: Path) -> Path:
    """Return the work folder. Raises InputError without a tracking server or a store in the folder, instead of creating a store there."""
    if not server_address() and not path_exists(workdir / "mlflow.db"):
        raise InputError(
            f"there are no bots in {workdir}", "Make one with `mynah run --name NAME --from SOURCE`, or name another --workdir."
        )
    return workdir


def require_promoted(outcome: "Outcome") -> None:
    """Raise GateRefused, which is exit code 4, for a run whose version was not promoted, or that has no new version."""
    if not outcome.version:
        raise GateRefused(
            f"no new version of {outcome.name}: {outcome.decision.removeprefix('unchanged: ')}",
            "Continue with more new posts or for longer (--effort best), or start over: leave out --continue.",
        )
    if not outcome.promoted:
        raise GateRefused(
            f"{outcome.name} version {outcome.version} was not promoted: {outcome.decision.removeprefix('refused: ')}",
            f"See {outcome.folder / 'report' / 'report.md'}.",
        )


def result(record: Any, text: str, as_json: bool) -> None:  # noqa: ANN401 - any JSON value
    """Print a result.

    Args:
        record: the result as a JSON value.
        text: the result as text.
        as_json: whether to print `record` instead of `text`.
    """
    if as_json:
        print_json(record)
    else:
        print(strip_control_chars(text))


def print_json(record: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print a JSON value on stdout."""
    print(json.dumps(record, indent=2, ensure_ascii=False))
