"""A way to a Service: `kubectl port-forward` at a free port of this machine, for as long as the `with` lasts."""

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator

from tests.cluster.asked import ROOT
from tests.cluster.commands import Commands

SECONDS_TO_OPEN = 60.0
OPEN = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


@contextlib.contextmanager
def forward(commands: Commands, namespace: str, service: str, port: int, local: int = 0) -> Iterator[str]:
    """HOST:PORT at which a Service's port is within reach. local: 0 lets kubectl choose a free one.

    Raises AssertionError with kubectl's words when it ends before it is open. It leads to one pod, and ends with that pod.
    """
    where = ("--namespace", namespace, "--address", "127.0.0.1", f"service/{service}", f"{local or ''}:{port}")
    words = commands.kubectl_words("port-forward", *where)
    print("$", " ".join(words), "&", flush=True)
    if commands.dry_run:
        yield f"127.0.0.1:{local or port}"
        return
    commands.folder.mkdir(parents=True, exist_ok=True)
    path = commands.folder / f"port-forward-{service}.log"  # a line for each connection, which a pipe would not hold
    with path.open("w", encoding="utf-8") as log, _process(words, log, commands) as process:
        deadline = time.monotonic() + SECONDS_TO_OPEN
        while not (found := OPEN.search(path.read_text("utf-8"))):
            said = path.read_text("utf-8").strip()[-500:]
            assert process.poll() is None, f"the way to {namespace}/{service} is closed: {said or 'kubectl says nothing'}"
            assert time.monotonic() < deadline, (
                f"the way to {namespace}/{service} did not open in {SECONDS_TO_OPEN:.0f} s: {said}"
            )
            time.sleep(0.05)
        yield f"127.0.0.1:{found[1]}"


@contextlib.contextmanager
def _process(words: tuple[str, ...], log: object, commands: Commands) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=commands.environment, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
