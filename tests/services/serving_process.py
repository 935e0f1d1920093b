"""The real server in a process of its own, and requests that it holds for as long as a test says."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx

from tests.fork_client import RUN_CODE

HELD_SEED = 424242
# A request with HELD_SEED gets no further than its first token until the test says so: no test has to guess how long one takes.
HOLD = """
import time
from mynah.decoding.running_batch import RunningBatch
def held(run, step=RunningBatch.step):
    if any(each.request.sampling.seed == {seed} for each in run.samples):
        Path({folder!r}, "started").touch()
        if not Path({folder!r}, "release").exists():
            time.sleep(0.005)
            return iter(())
    return step(run)
RunningBatch.step = held
"""


class RunningServer:
    """`serve` in a process of its own; `log` is what it said on stderr so far, `holding` the folder for held requests."""

    def __init__(self, bots, holding: Path, before: str = "", **settings):
        self.holding = holding
        before += HOLD.format(seed=HELD_SEED, folder=str(holding))
        settings = {"port": 0, "memory": 256 * 2**20} | settings
        code = (
            "from pathlib import Path, PosixPath\nfrom serving.models.sources import FolderSource, ServedBot\n"
            f"from serving.config import Settings\nimport serving.server as server\n{before}\n"
            f"bots = [ServedBot(name, version, Path(folder)) for name, version, folder in {bots!r}]\n"
            f"server.serve(FolderSource(bots), Settings(**{settings!r}))\nprint('returned')"
        )
        # An argument that kserve's own parser would choke on: the import must not see it.
        command = [*RUN_CODE, code, "--http_port", "not-a-number"]
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
        grpc = re.search(r"gRPC on port (\d+)", self.log)
        self.grpc = f"127.0.0.1:{grpc[1]}" if grpc else ""

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("Serving "):
                self._ready.set()
        self._ready.set()  # it ended without serving: the assertions above show why

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def metric(self, name: str) -> float:
        """A metric without labels, as it is now."""
        found = re.search(rf"^{name} (\S+)$", httpx.get(f"{self.url}/metrics").text, re.MULTILINE)
        assert found, name
        return float(found[1])

    def wait_until_idle(self, within: float = 20):
        """Return once nothing is generated; fail when something still is after so many seconds."""
        deadline = time.monotonic() + within
        while self.metric("mynah_running") or self.metric("mynah_queue_waiting"):
            assert time.monotonic() < deadline, "something is still being generated"
            time.sleep(0.02)

    @contextlib.contextmanager
    def held_request(self, n=1):
        """Send a v2 request that runs until `release` is called; yield (release, the list its answer or error goes to)."""
        answers = []
        tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["I"]}
        body = {"inputs": [tensor], "parameters": {"n": n, "seed": HELD_SEED, "min_tokens": 20, "max_tokens": 40}}

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
def running(bots, holding: Path, before: str = "", **settings):
    server = RunningServer(bots, holding, before, **settings)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
