"""What the processes of other tests rest on: a fork of the fork server does as Python started anew does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import fork_client
from tests.fork_client import ROOT, RUN_CODE, ForkServer, request_of

pytestmark = pytest.mark.slow

SAYS_ALL = """
import json, os, sys, tempfile, __main__
print(json.dumps({
    "arguments": sys.argv[1:], "path": sys.path[0], "file": os.path.basename(sys.argv[0]), "main": __main__.__name__,
    "folder": os.getcwd(), "environment": dict(os.environ), "parent": os.getppid(), "input": sys.stdin.read(),
    "open": [n for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")],
    "temporary": tempfile.gettempdir(), "lines": sys.stderr.line_buffering,
}, sort_keys=True, indent=1))
print("and this", file=sys.stderr)
"""
PROGRAMS = {
    "all": SAYS_ALL,
    "nothing": "",
    "exits": "import sys; sys.exit(3)",
    "exits with words": "import sys; sys.exit('so it ends')",
    "exits with nothing": "import sys; sys.exit()",
    "beyond a byte": "import sys; sys.exit(259)",
    "atexit": "import atexit; atexit.register(print, 'at the end'); print('first')",
    "a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('the thread'))).start()",
    "interrupted": "raise KeyboardInterrupt",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "raises": "raise ValueError('a cause')",
    "grandchild": "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', 'print(1)'], text=True))",
    "forks": "import os\nif not os.fork(): os._exit(0)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))",
    "group": "import os; print(os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid())",
    "random": "import random, uuid; print(len({random.random(), uuid.uuid4()}))",
    "trains": "import torch; a = torch.ones(300, 300, requires_grad=True); (a @ a).sum().backward(); print(a.grad.sum().item())",
}


@pytest.fixture(scope="module")
def server():
    """The worker's, which takes seconds to start; else one of these tests' own."""
    if ForkServer.installed:
        yield ForkServer.installed
        return
    own = ForkServer(dict(os.environ))
    original = subprocess.Popen._execute_child
    fork_client.install(own)
    yield own
    subprocess.Popen._execute_child, ForkServer.installed = original, None
    own.close()


@pytest.fixture
def both(server, tmp_path, monkeypatch):
    """A function that runs a program as a fork and by Python itself, with the same options, and gives both."""
    monkeypatch.setattr(fork_client, "MODULES", ("program",))
    asked = []
    start = server.start
    monkeypatch.setattr(server, "start", lambda *given: asked.append(given) or start(*given))

    def run(program, *arguments, **options):
        (tmp_path / "program.py").write_text(program)
        found = []
        for executable in (None, sys.executable):  # an executable is told: no fork
            command = [sys.executable, "-m", "program", *arguments]
            found.append(subprocess.run(command, executable=executable, cwd=tmp_path, capture_output=True, text=True, **options))
        assert len(asked) == 1
        return found

    return run


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_it_ends_and_says_the_same(both, program):
    fork, real = both(program, "one", "tw o", "--three=ä", input="what it reads", env=os.environ | {"MYNAH_NODE_KIND": "ä\udce9"})
    assert (fork.returncode, fork.stdout) == (real.returncode, real.stdout)
    assert fork.stderr.splitlines()[-1:] == real.stderr.splitlines()[-1:]  # of a traceback the last line: there are more frames
    assert ("Traceback" in fork.stderr) == ("Traceback" in real.stderr)


@pytest.mark.parametrize("options", [{"start_new_session": True}, {"process_group": 0}, {"env": {"PYTHONWARNINGS": "ignore"}}])
def test_sessions_groups_and_warnings_are_as_asked(both, options):
    if "env" in options:
        options["env"] = os.environ | options["env"]
    fork, real = both(PROGRAMS["group"] + "; import warnings; warnings.warn('attention')", **options)
    assert (fork.returncode, fork.stdout) == (real.returncode, real.stdout)
    assert ("attention" in fork.stderr) == ("attention" in real.stderr) == ("env" not in options)


SLEEPS = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('interrupted')"


def test_a_signal_reaches_it_at_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fork_client, "MODULES", ("program",))
    (tmp_path / "program.py").write_text(SLEEPS)
    for _ in range(10):
        command = [sys.executable, "-m", "program"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        os.killpg(process.pid, signal.SIGINT)  # before a line of it ran, as likely as not
        said, told = process.communicate(timeout=30)
        assert said == b"interrupted\n" if process.returncode == 0 else b"KeyboardInterrupt" in told


def test_nothing_stays_when_its_parent_is_killed(server, tmp_path, monkeypatch):
    """`mynah run` has a fork server of its own, which ends with it."""
    words = ["run", "--name", "wren", "--from", "sample", "--workdir", str(tmp_path / "work")]
    process = subprocess.Popen([*MYNAH[:3], *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    [child] = children(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


CHILD = "import os; print(os.getppid(), 'tests.fork_server' in open('/proc/self/cmdline').read())"
PARENT = f"""
import os, subprocess
from tests.fork_client import RUN_CODE
print(os.getpid(), flush=True)
subprocess.run([*RUN_CODE, {CHILD!r}], start_new_session=True)
"""


def test_what_a_fork_starts_is_its_own_child_and_a_fork_too(server):
    said = subprocess.run([*RUN_CODE, PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.split()
    assert said == [said[0], said[0], "True"]


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def popen(*command, **options):
    usual = {**fork_client.USUAL, "pass_fds": (), "cwd": None, "env": None, "start_new_session": False, "process_group": -1}
    return {**usual, "args": list(command), **options}


MYNAH = [sys.executable, "-m", "pipelines", "bots"]


def test_what_a_fork_could_not_do_as_well_starts_python():
    known = dict(os.environ)
    assert request_of(popen(*MYNAH), known).arguments == ["bots"]
    assert request_of(popen(*MYNAH, env=known | {"MYNAH_LOCK": "x", "TMPDIR": "/tmp", "PYTHONWARNINGS": "ignore"}), known)
    for name in ("OMP_NUM_THREADS", "LD_PRELOAD", "PYTHONPATH", "HOME", "HF_HUB_OFFLINE", "LC_ALL", "MLFLOW_LOGGING_LEVEL"):
        assert request_of(popen(*MYNAH, env=known | {name: "another"}), known) is None
    for option in ({"umask": 0o77}, {"preexec_fn": print}, {"pass_fds": (5,)}, {"shell": True}, {"cwd": "/nowhere"}):
        assert request_of(popen(*MYNAH, **option), known) is None
    for command in (
        ["mynah", "bots"],
        [*MYNAH[:2], "mlflow"],
        [sys.executable, "-c", "1"],
        [sys.executable, "-X", "dev", *MYNAH[1:]],
    ):
        assert request_of(popen(*command), known) is None


def test_a_pipelines_step_is_known_by_the_script_of_kubeflows_sdk():
    from components.fetch.component import fetch

    container = fetch.component_spec.implementation.container
    request = request_of(popen(*container.command, "--executor_input", "{}", "--function_to_execute", "fetch"), dict(os.environ))
    assert request.arguments == ["--executor_input", "{}", "--function_to_execute", "fetch"]
    assert "def fetch(" in request.component
    assert request_of(popen("sh", "-ec", container.command[2] + "\ntrue", "…"), dict(os.environ)) is None
