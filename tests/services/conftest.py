"""The real server in a process of its own, and the real services behind it: PostgreSQL, S3 and MLflow."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from components.errors import PlatformError
from scripts.services import postgres as postgres_server
from scripts.services import s3 as s3_server
from scripts.services import start_mlflow, start_postgres, start_s3
from tests.conftest import needs

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


class Done(NamedTuple):
    """What a command of `mynah` came to; unpacks into its exit code, stdout and stderr."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def mynah(monkeypatch, capsys):
    """The command line in this process, which has loaded MLflow already."""
    from pipelines.cli import main

    def call(*arguments, **environment):
        monkeypatch.setattr(sys, "argv", ["mynah", *map(str, arguments)])
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(ended.value.code or 0, *capsys.readouterr())

    return call


def needs_programs(programs):
    """Skip (or fail: see `needs`) when `programs`, which looks for what a service needs, misses one."""
    try:
        programs()
    except PlatformError as error:
        needs(False, f"{error.problem}: {error.fix}")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server, with the empty database `mynah`."""
    needs_programs(postgres_server.programs)
    with start_postgres(tmp_path_factory.mktemp("services") / "postgres") as started:
        yield started


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server."""
    needs_programs(s3_server.programs)
    with start_s3(tmp_path_factory.mktemp("services") / "s3") as started:
        yield started


@pytest.fixture
def bucket(s3):
    """A fresh bucket: a client of boto3, and the bucket's name."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    with contextlib.closing(s3.client()) as client:
        client.create_bucket(Bucket=name)
        yield client, name


@pytest.fixture(scope="session")
def mlflow_server(postgres, s3, tmp_path_factory):
    """MLflow over PostgreSQL, whose clients read and write artifacts in S3 themselves."""
    s3.create_bucket("direct")
    reached = {"backend": postgres.create_database("direct"), "artifacts": "s3://direct/mlflow", "environment": s3.environment}
    with start_mlflow(tmp_path_factory.mktemp("services") / "mlflow", proxied=False, **reached) as started:
        yield started


@pytest.fixture(scope="session")
def mlflow_proxied(postgres, s3, tmp_path_factory):
    """MLflow over a database and a bucket of its own, which hands artifacts through (mlflow-artifacts:/)."""
    s3.create_bucket("proxied")
    reached = {"backend": postgres.create_database("proxied"), "artifacts": "s3://proxied/mlflow", "environment": s3.environment}
    with start_mlflow(tmp_path_factory.mktemp("services") / "mlflow", proxied=True, **reached) as started:
        yield started


@pytest.fixture
def on_server(monkeypatch, mlflow_server, postgres, s3):
    """This process and its children use the MLflow server, and S3 directly; the environment that says so."""
    return _use(monkeypatch, mlflow_server.url, postgres.url_of("direct"), "s3://direct/mlflow", s3.environment)


@pytest.fixture
def on_proxied(monkeypatch, mlflow_proxied, postgres, s3):
    """This process and its children use the MLflow server that hands artifacts through, and have no key of their own to S3."""
    return _use(monkeypatch, mlflow_proxied.url, postgres.url_of("proxied"), "s3://proxied/mlflow", {})


def _use(monkeypatch, url, database, artifacts, keys):
    environment = {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        **keys,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment
