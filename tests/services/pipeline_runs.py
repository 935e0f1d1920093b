"""`mynah run` in a process of its own."""

import os
import pty
import sqlite3
import subprocess
import time
from contextlib import closing

from registry_inputs import command

QUICK = ["--limit", "500", "--set", "epochs=1"]


def mynah(*arguments, **environment):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=200, env=os.environ | environment)


def start(*arguments):
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_in(workdir, *more):
    return mynah("run", "--name", "wren", "--from", "sample", "--workdir", workdir, "--json", *QUICK, *more)


def on_a_terminal(*arguments):
    """Run mynah on a pseudo-terminal; its exit code and what the terminal was sent."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 65536):
                said += data
        except OSError:  # EIO: the last process that had it open is gone
            pass
        finally:
            os.close(ours)
    return process.returncode, said.decode()


def statuses(workdir):
    """Status by step name of all runs in the store; the bot's name for a pipeline run."""
    with closing(sqlite3.connect(workdir / "mlflow.db")) as store:
        if not store.execute("SELECT * FROM sqlite_master WHERE name = 'runs'").fetchall():
            return {}
        return dict(store.execute("SELECT name, status FROM runs"))


def wait_until(holds, within=30):
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
