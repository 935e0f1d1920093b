"""Run PostgreSQL on loopback: a server with its own data and a database `mynah`."""

import os
import pwd
import secrets
import shutil
import signal
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection

from mynah.core.errors import PlatformError
from scripts.services.program import Program, find, free_port, run

USER = "mynah"
SECONDS_TO_START = 60.0


@dataclass(frozen=True)
class Postgres:
    """A running server. The user `mynah` owns everything, and logs in with a password (SCRAM)."""

    port: int
    password: str
    home: Path
    program: Program

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database `mynah`, with the password."""
        return self.url_of(USER)

    def url_of(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database, with the password."""
        return f"postgresql+psycopg2://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        with closing(self.connect("postgres")) as session:
            session.autocommit = True  # PostgreSQL refuses to create one within a transaction
            with session.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def connect(self, database: str = USER) -> connection:
        """Open a connection with psycopg2, which the caller closes."""
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self.password, dbname=database, connect_timeout=5
        )

    def stop(self) -> None:
        """Stop the server with its sessions (PostgreSQL's fast shutdown); the data stays for `restart`."""
        self.program.stop()

    def kill(self) -> None:
        """Kill all processes of the server; `restart` recovers what was committed."""
        self.program.kill()

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port with the same data."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it responds. Raises PlatformError with the end of its log when it does not."""
        self.program.start()
        self.program.wait_until(self._answers, SECONDS_TO_START)

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def remove(self) -> None:
        """Stop the server, and remove its data."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def programs() -> tuple[Path, Path]:
    """Return the paths of initdb and postgres of Debian's newest version. Raises PlatformError when one is missing."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: -float(folder.parent.name))
    return find("initdb", "postgresql", folders), find("postgres", "postgresql", folders)


def start_postgres(folder: Path, port: int = 0, *, fsync: bool = False) -> Postgres:
    """Start an empty PostgreSQL server.

    The data is in a folder below the system's temporary one: the user `postgres`, as whom the server runs when we are root, must have
    access to it, and the path of its socket must be short.

    Args:
        folder: The folder for its log, and `home`, a link to its data.
        port: The port; 0 for any free one.
        fsync: Whether to wait for the disk. Without, the data survives a crash of the server but not of the machine, after which the
            services start empty anyway, as S3 is in memory.

    Returns:
        The running server.

    Raises:
        PlatformError: A program is missing, or the server does not start.
    """
    initdb, server = programs()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = free_port(port)
    with ExitStack() as undo:
        home = Path(tempfile.mkdtemp(prefix="mynah-postgres-"))
        undo.callback(shutil.rmtree, home, ignore_errors=True)
        (folder / "home").symlink_to(home)
        password = secrets.token_urlsafe(16)
        prefix = _initialise(home, initdb, password, folder / "initdb.log")
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": home,
            "fsync": "on" if fsync else "off",
            "dynamic_shared_memory_type": "mmap",  # in the data folder: /dev/shm would keep what a killed server had there
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*prefix, server, "-D", home / "data", "-p", str(port), *options]
        program = Program("postgres", command, folder, ends_on=signal.SIGINT)
        postgres = Postgres(port, password, home, program)
        undo.callback(program.stop)  # not kill: that would leave its shared memory behind
        postgres.start()
        postgres.create_database(USER)
        undo.pop_all()
    return postgres


def _initialise(home: Path, initdb: Path, password: str, log: Path) -> list[str | Path]:
    """Create the data folder.

    Args:
        home: The folder for `data`.
        initdb: The program.
        password: The password of the user USER.
        log: The file for the program's output.

    Returns:
        The prefix of PostgreSQL's commands, which must not run as root; empty for another user.
    """
    prefix: list[str | Path] = []
    secret = home / "password"  # in a file: `ps` shows arguments to everyone
    secret.touch(mode=0o600)
    secret.write_text(password)
    if os.geteuid() == 0:
        prefix = [find("setpriv", "util-linux"), "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
        try:
            user = pwd.getpwnam("postgres")
        except KeyError as error:
            raise PlatformError("there is no user postgres", "apt-get install -y --no-install-recommends postgresql") from error
        for path in (home, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
    run([*prefix, initdb, "-D", home / "data", "-U", USER, f"--pwfile={secret}", *options], log)
    secret.unlink()
    return prefix
