"""Start and stop the development services: PostgreSQL, S3 and MLflow, real ones on loopback.

    python -m scripts.services up [FOLDER]      prints what a shell needs, on stdout; again: prints it again
    python -m scripts.services down [FOLDER]    stops them and removes FOLDER, with all that they kept

They go on when the terminal closes. FOLDER (default .services) holds their logs, keys and the file `env`. S3 keeps its objects in
memory, so what they hold lasts until `down` or until the machine stops.
"""

import argparse
import shlex
import shutil
import sys
from pathlib import Path

from filelock import FileLock

from components.errors import INTERRUPTED, InputError, MynahError, interrupt_on_sigterm
from components.files import make_folder
from scripts.services import start_services
from scripts.services.program import end, runs

MARKER = ".mynah-services"  # marks a folder as ours, to remove, and is the lock for whoever changes it
SERVERS = ("postgres/postgres", "s3/monitor", "s3/store", "s3/gateway", "mlflow/mlflow")


def up(folder: Path) -> str:
    """Start the services in `folder` unless they run there, and return the shell lines that lead to them.

    Raises InputError for a folder that holds something else, PlatformError when a service does not come up.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / MARKER).exists() or not any(folder.iterdir()))):
        raise InputError(f"{folder} holds something else than these services", "Name a new or empty folder.")
    make_folder(folder)
    folder.chmod(0o700)  # it holds keys and passwords
    with FileLock(folder / MARKER):
        environment = folder / "env"
        if not environment.exists() or not all(runs(folder / f"{server}.pid") for server in SERVERS):
            _clear(folder)
            try:
                said = start_services(folder).mlflow.environment
                environment.touch(mode=0o600)
                environment.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in said.items()))
            except BaseException:
                _stop(folder)  # whichever had started; the logs stay to be read
                raise
        return environment.read_text()


def down(folder: Path) -> bool:
    """Stop the services in `folder` and remove it, with all that they kept; False when there are none."""
    if not (folder / MARKER).exists():
        return False
    try:
        with FileLock(folder / MARKER):
            _clear(folder)
            shutil.rmtree(folder)
    except FileNotFoundError:  # another `down` had the lock, and removed it with the folder
        return False
    return True


def _clear(folder: Path) -> None:
    """Stop what runs in `folder`, and remove all but the lock: half of the services, or what a reboot left, is of no use."""
    _stop(folder)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()


def _stop(folder: Path) -> None:
    for server in reversed(SERVERS):
        end(folder / f"{server}.pid")
    shutil.rmtree((folder / "postgres" / "home").resolve(), ignore_errors=True)


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.services", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".services"), metavar="FOLDER")
    given = parser.parse_args()
    interrupt_on_sigterm()
    try:
        if given.action == "up":
            print(up(given.folder.resolve()), end="")
            environment = shlex.quote(str(given.folder / "env"))
            print(f"The services run. Lead a shell to them: . {environment}    Logs: {given.folder}", file=sys.stderr)
        elif down(given.folder.resolve()):
            print(f"Stopped the services and removed {given.folder}, with all that they kept.", file=sys.stderr)
        else:
            print(f"No services run in {given.folder}.", file=sys.stderr)
    except MynahError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; nothing was left running.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
