"""The command line `mynah`.

Commands import their dependencies when they run, so that `mynah --help` is fast: torch alone takes two seconds.
"""

import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mynah.core.errors import INTERRUPTED, InputError, MynahError, interrupt_on_sigterm
from mynah.core.files import path_exists
from mynah.core.gc_settings import relax_gc
from mynah.core.progress import strip_control_chars, waiting
from mynah.core.threads import DECODING, wait_shortly
from pipelines.cli import bots, forget, keys, runs, schedules, steps
from pipelines.cli.bases import bases
from pipelines.cli.costs import costs
from pipelines.cli.deploy import deploy, preflight
from pipelines.cli.export import export
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Runner, Workdir, print_json, require_promoted, result
from pipelines.cli.publish import publish
from pipelines.cli.serve import serve, stored_bot
from pipelines.cli.sweep import sweep
from pipelines.flat_signature import MadeBy, flatten
from pipelines.run_spec import RunSpec

if TYPE_CHECKING:
    from mynah.models.sampling import Sampling

OWN_PACKAGES = ("mynah", "components", "serving", "pipelines")  # a missing module of these is a bug, not a missing dependency

app = typer.Typer(
    epilog="With --debug, any command shows where in the code an error arose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"mynah {version('mynah')}")
        raise typer.Exit


@app.callback()
def options_of_every_command(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train a small language model that writes like a person, from their posts."""


@app.command()
@flatten
def run(spec: RunSpec, runner: Runner = "subprocess", workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """Run the whole pipeline on this machine: fetch, filter, finetune, evaluate, card, register, promote."""
    from pipelines.cli.render import outcome_record, show_outcome
    from pipelines.local.launcher import launch

    outcome = launch(spec, workdir, runner)
    if as_json:
        print_json(outcome_record(outcome))
    else:
        show_outcome(outcome, workdir)
    require_promoted(outcome)


app.command()(sweep)

for step_name, step_command in steps.COMMANDS.items():
    app.command(name=step_name)(step_command)


def sampling_of(
    n: Annotated[int, typer.Option("-n", help="The number of answers.")] = 1,
    temperature: Annotated[float, typer.Option(help="Below 1 more predictable, above 1 more varied.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens with this total probability.")] = 0.95,
    max_tokens: Annotated[int, typer.Option(help="The maximum number of tokens of an answer.")] = 160,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answers.")] = None,
) -> "Sampling":
    """Return the sampling parameters, with a random seed by default. Raises InputError for a value that is out of range."""
    import secrets

    from mynah.models.sampling import Sampling, default_min_tokens

    seed = secrets.randbits(32) if seed is None else seed
    return Sampling(n, temperature, top_p, min_tokens=default_min_tokens(max_tokens), max_tokens=max_tokens, seed=seed)


@app.command()
@flatten
def generate(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@ALIAS|:VERSION]",
            help="The bot, and which version (the champion unless told); or a checkpoint's folder.",
        ),
    ],
    prompt: Annotated[str, typer.Argument(help="The text that the bot continues.")] = "My dream is",
    *,
    sampling: Annotated["Sampling", MadeBy(sampling_of)],
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Continue a prompt with a bot, in this process."""
    from mynah.decoding.requirements import require_kernels

    wait_shortly(DECODING)
    require_kernels()
    with waiting(f"Generating with {Path(name).name}"):
        folder = Path(name) if "/" in name or path_exists(Path(name) / "config.json") else stored_bot(workdir, name).folder
        from serving.offline import answer_once

        answers = answer_once(folder, prompt, sampling)
    result({"prompt": prompt, "seed": sampling.seed, "texts": answers}, "\n".join(answers), as_json)


app.command()(serve)
app.command()(bases)
app.command()(costs)
app.command()(deploy)
app.command()(preflight)
app.command()(publish)
app.command()(export)

for bots_name, bots_command in {**bots.COMMANDS, **forget.COMMANDS}.items():
    app.command(name=bots_name)(bots_command)

for cluster_name, cluster_command in runs.COMMANDS.items():
    app.command(name=cluster_name)(cluster_command)

app.add_typer(keys.app, name="keys")
app.add_typer(schedules.app, name="schedules")


@app.command()
def demo(workdir: Workdir = DEFAULT_WORKDIR) -> None:
    """Run everything on the bundled sample: make a bot, serve it, and let it continue "My dream is"."""
    from pipelines.cli.demo import demo

    demo(workdir)


def main() -> None:
    """Run the command line. Errors are printed in one or two lines, with a traceback only for --debug."""
    interrupt_on_sigterm()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without UTF-8 shows "?" for unsupported characters
            stream.reconfigure(errors="replace")
    relax_gc()
    wait_shortly()
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="mynah")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer exits so after a KeyboardInterrupt, without a message
            print("interrupted; nothing half-written is left", file=sys.stderr)
        raise
    except MynahError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {strip_control_chars(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OWN_PACKAGES:
            _report_bug(error, debug)
        if debug:
            traceback.print_exc()
        print(
            f"error: this command needs the Python package {error.name}, which is not installed\n"
            "Install Mynah with all its parts, in a checkout: pip install -c constraints.txt '.[laptop]'",
            file=sys.stderr,
        )
        sys.exit(InputError.exit_code)
    except Exception as error:  # noqa: BLE001 - any other exception is a bug and is reported as one
        _report_bug(error, debug)


def _report_bug(error: Exception, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    print(
        f"error: {type(error).__name__}: {error}\nThis is a bug in mynah. Run again with --debug and report it.",
        file=sys.stderr,
    )
    sys.exit(1)
