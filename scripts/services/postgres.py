"""PostgreSQL on loopback: a real server with data of its own, whose database `mynah` is there when it is up."""

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

from components.errors import PlatformError
from scripts.services.program import Program, find, free_port, run

USER = "mynah"
SECONDS_TO_START = 60.0


@dataclass(frozen=True)
class Postgres:
    """A running server. The user `mynah` owns everything; only a password (SCRAM) lets one in."""

    port: int
    password: str
    home: Path
    program: Program

    @property
    def url(self) -> str:
        """SQLAlchemy's address of the database `mynah`, password and all."""
        return self.url_of(USER)

    def url_of(self, database: str) -> str:
        """SQLAlchemy's address of a database, password and all."""
        return f"postgresql+psycopg2://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its address."""
        with closing(self.connect("postgres")) as session:
            session.autocommit = True  # PostgreSQL refuses to create one within a transaction
            with session.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def connect(self, database: str = USER) -> connection:
        """A connection of psycopg2, for the caller to close."""
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self.password, dbname=database, connect_timeout=5
        )

    def stop(self) -> None:
        """Stop it, sessions included (PostgreSQL's fast shutdown); the data stays for `restart`."""
        self.program.stop()

    def kill(self) -> None:
        """Kill every process of it at once; `restart` recovers what was committed."""
        self.program.kill()

    def restart(self) -> None:
        """Stop it where it runs, and start it on the same port with the same data."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers. Raises PlatformError with the end of its log when it does not."""
        self.program.start()
        self.program.wait_until(self._answers, SECONDS_TO_START)

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def remove(self) -> None:
        """Stop it, and remove its data."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def programs() -> tuple[Path, Path]:
    """The paths of initdb and postgres, the newest of Debian's versions first. Raises PlatformError when one is missing."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda found: -float(found.parent.name))
    return find("initdb", "postgresql", folders), find("postgres", "postgresql", folders)


def start_postgres(folder: Path, port: int = 0, *, fsync: bool = False) -> Postgres:
    """Start an empty PostgreSQL; `folder` gets its log, and `home`, a link to its data.

    The data lies in a folder of its own below the system's temporary one: the user `postgres`, as whom it runs when we are root,
    must be able to reach it, and the path of its socket must be short. `fsync=False` spares the wait for the disk: the data
    survives the server's crash, not the machine's, and after that the services begin anew anyway (S3 lies in memory).
    Raises PlatformError when the programs are missing or it does not come up.
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
    """Make the data folder, and return what goes before a command for PostgreSQL, which refuses to run as root."""
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
