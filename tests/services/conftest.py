"""A tiny real checkpoint, and the real server in a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

HELD_SEED = 424242
# A request with HELD_SEED goes on generating, for real, until the test says so: no test has to guess how long one takes.
HOLD = """
import serving.engine as engine
def held(checkpoint, prompt, sampling, generate=engine.generate):
    if sampling.seed == {seed}:
        Path({folder!r}, "started").touch()
        while not Path({folder!r}, "release").exists():
            generate(checkpoint, prompt, sampling)
    return generate(checkpoint, prompt, sampling)
engine.generate = held
"""


class RunningServer:
    """`serve` in a process of its own; `log` is what it said on stderr so far, `holding` the folder for held requests."""

    def __init__(self, bots, holding: Path, before: str = ""):
        self.holding = holding
        before += HOLD.format(seed=HELD_SEED, folder=str(holding))
        code = (
            f"from pathlib import Path\nfrom serving.models import ServedBot\nimport serving.server as server\n{before}\n"
            f"bots = [ServedBot(name, version, Path(folder)) for name, version, folder in {bots!r}]\n"
            "server.serve(bots, port=0)\nprint('returned')"
        )
        # An argument that kserve's own parser would choke on: the import must not see it.
        command = [sys.executable, "-c", code, "--http_port", "not-a-number"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # a model this small only loses by more
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(120), self.log
        found = re.search(r"http://127\.0\.0\.1:\d+", self.log)
        assert found, self.log
        self.url = found.group()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("Serving "):
                self._ready.set()
        self._ready.set()  # it ended without serving: the assertions above show why

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @contextlib.contextmanager
    def held_request(self, n=1):
        """Send a v2 request that runs until `release` is called; yield (release, the list its answer or error goes to)."""
        answers = []
        tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["I"]}
        body = {"inputs": [tensor], "parameters": {"n": n, "seed": HELD_SEED}}

        def send():
            try:
                answers.append(httpx.post(f"{self.url}/v2/models/wren/infer", json=body, timeout=120))
            except httpx.HTTPError as error:
                answers.append(error)

        for name in ("started", "release"):
            (self.holding / name).unlink(missing_ok=True)
        thread = threading.Thread(target=send)
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not (self.holding / "started").exists():
                assert time.monotonic() < deadline, "the request never began"
                time.sleep(0.02)
            yield (self.holding / "release").touch, answers
        finally:
            (self.holding / "release").touch()
            thread.join(120)

    def stop(self, number: int = signal.SIGTERM, within: float = 30) -> str:
        """Signal the process, wait for its end, and return what it printed on stdout."""
        self.process.send_signal(number)
        return self.ended(within)

    def ended(self, within: float = 30) -> str:
        self.process.wait(within)
        self._reader.join(10)
        with self.process.stdout as out:
            said = out.read()
        self.process.stderr.close()
        return said


@contextlib.contextmanager
def running(bots, holding: Path, before: str = ""):
    server = RunningServer(bots, holding, before)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


@pytest.fixture
def start(tiny_checkpoint, tmp_path):
    """Start a server of one's own that serves the wren, after running the Python code `before` in its process."""
    return lambda before="": running([("wren", "3", str(tiny_checkpoint))], tmp_path, before)


@pytest.fixture(scope="session")
def server(tiny_checkpoint, tmp_path_factory):
    bots = [("wren", "3", str(tiny_checkpoint)), ("heron", "1", str(tiny_checkpoint))]
    with running(bots, tmp_path_factory.mktemp("holding")) as started:
        yield started
