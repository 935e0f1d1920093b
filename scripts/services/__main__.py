"""Start and stop the development services on loopback: PostgreSQL, S3 and MLflow.

    python -m scripts.services up [FOLDER]      starts them, and prints the variables for a shell; prints them again if they run
    python -m scripts.services down [FOLDER]    stops them and removes FOLDER with all their data

They continue when the terminal closes. FOLDER (default .services) contains their logs, keys and the file `env`. S3 keeps its
objects in memory, so the data lasts until `down` or until the machine stops.
"""

import argparse
import shlex
import shutil
import sys
from pathlib import Path

from filelock import FileLock

from mynah.core.errors import INTERRUPTED, InputError, MynahError, interrupt_on_sigterm
from mynah.core.files import make_folder
from scripts.services import start_services
from scripts.services.program import end, runs

MARKER = ".mynah-services"  # marks a folder that `down` may remove; also the lock file for changes
SERVERS = ("postgres/postgres", "s3/monitor", "s3/store", "s3/gateway", "mlflow/mlflow")


def up(folder: Path) -> str:
    """Start the services in `folder` unless they run there, and return the shell lines that set their variables.

    Raises InputError for a folder with other content, PlatformError when a service does not start.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / MARKER).exists() or not any(folder.iterdir()))):
        raise InputError(f"{folder} contains something other than these services", "Name a new or empty folder.")
    make_folder(folder)
    folder.chmod(0o700)  # it contains keys and passwords
    with FileLock(folder / MARKER):
        environment = folder / "env"
        if not environment.exists() or not all(runs(folder / f"{server}.pid") for server in SERVERS):
            _clear(folder)
            try:
                variables = start_services(folder).mlflow.environment
                environment.touch(mode=0o600)
                environment.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
            except BaseException:
                _stop(folder)  # those that have started; the logs are kept
                raise
        return environment.read_text()


def down(folder: Path) -> bool:
    """Stop the services in `folder` and remove it with all their data; return False when there are none."""
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
    """Stop what runs in `folder`, and remove everything but the lock, such as the rest of an interrupted start or of a reboot."""
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
    arguments = parser.parse_args()
    interrupt_on_sigterm()
    try:
        if arguments.action == "up":
            print(up(arguments.folder.resolve()), end="")
            environment = shlex.quote(str(arguments.folder / "env"))
            print(f"The services run. To use them in a shell: . {environment}    Logs: {arguments.folder}", file=sys.stderr)
        elif down(arguments.folder.resolve()):
            print(f"Stopped the services and removed {arguments.folder} with all their data.", file=sys.stderr)
        else:
            print(f"No services run in {arguments.folder}.", file=sys.stderr)
    except MynahError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; everything was stopped.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
