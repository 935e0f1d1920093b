"""Commands of `mynah` as forks of a process that has imported their libraries: importing MLflow, Kubeflow's SDK and torch takes seconds each time.

Once `install` was called, `subprocess.Popen([sys.executable, "-m", MODULE, …])` and the shell command of a pipeline's step start no
interpreter: a fork server (tests/fork_server.py) makes the process by clone(CLONE_PARENT). It is a child of whoever asked, with arguments,
environment, folder, streams, session, signals and exit code of its own, and runs the same module as `__main__`. A process that starts
others (`mynah run`) has a fork server of its own, for its children.

Python starts as ever where a fork could behave otherwise: with another environment of what libraries read when they are loaded
(READ_ON_IMPORT), with options of Popen that the fork server does not know, and in tests marked `own_python`. Outside pytest-xdist nothing
is installed, so that a test that fails can be run by itself without any of this.
"""

import inspect
import os
import pickle
import re
import shlex
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVER = "tests.fork_server"
MODULES = ("pipelines", "pipelines.local.runner", "tests.run_code")
RUN_CODE = [sys.executable, "-m", "tests.run_code"]  # `python -c` that may be a fork
STEP = "kfp.dsl.executor_main"
# What Kubeflow's SDK makes of a component (kfp.dsl.component_factory), word by word. Any other script is the shell's.
STEP_SCRIPT = shlex.split(
    'program_path=$(mktemp -d) printf "%s" "$0" > "$program_path/ephemeral_component.py" '
    f'_KFP_RUNTIME=true python3 -m {STEP} --component_module_path "$program_path/ephemeral_component.py" "$@"'
)
START_OTHERS = ("run", "sweep", "demo", "forget")
READ_ON_IMPORT = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|ATEN|TORCH\w*|PYTORCH|DNNL|ONEDNN|LD|MALLOC|GLIBC|NUMBA|CUDA|HF|TRANSFORMERS|XDG|LC|MPL\w*)_.*|MLFLOW_.*LOG.*"
    r"|PYTHON(?!WARNINGS|UNBUFFERED).*|LANG|LANGUAGE|HOME|TERM|TERMINAL_WIDTH|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|PY_COLORS|GITHUB_ACTIONS"
)
SET_ON_IMPORT = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"}  # by scikit-learn and torch
# A fork has none of the threads that libraries start in the server.
WITHOUT_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


@dataclass(frozen=True)
class Request:
    """A process to make."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    new_session: bool
    group: int  # its process group; -1: the parent's
    component: str = ""  # the Python source of a pipeline's step

    @property
    def starts_others(self):
        return self.module in MODULES[1:] or self.arguments[:1] in [[command] for command in START_OTHERS]


class ForkServer:
    """A fork server as the process sees it whose children it makes; started when it is first needed."""

    installed = None  # this process's, once there is one

    def __init__(self, environment, link=None):
        self.environment, self.enabled = environment, True
        self._link, self._owner, self._process, self._lock = link, os.getpid(), None, threading.Lock()

    def start(self, request, streams):
        """Make a child of this process with these three file descriptors as its streams. Return its id, or 0 where none can be made."""
        if os.getpid() != self._owner:
            return 0  # in a fork of a test, whose child it would not be
        with self._lock, os.fdopen(os.memfd_create("request"), "w+b") as file:
            if not self._link:
                self._start()
            pickle.dump(request, file)
            file.flush()
            socket.send_fds(self._link, [b"."], [file.fileno(), *streams])
            answer = self._link.recv(8)
        if not answer:
            raise RuntimeError("the fork server of the tests (tests/fork_server.py) ended; its stderr says why")
        return int.from_bytes(answer, "big")

    def _start(self):
        self._link, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", SERVER, str(theirs.fileno())]
            environment = self.environment | WITHOUT_THREADS
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )

    def close(self):
        """End the server; processes that it made go on."""
        if self._process:
            self._link.close()
            self._process.wait()


def install(server):
    """Make `subprocess.Popen` in this process ask `server` for the processes that it can make."""
    ForkServer.installed = server
    original = subprocess.Popen._execute_child
    signature = inspect.signature(original)

    def execute(*given):
        at = signature.bind(*given).arguments
        request = request_of(at, server.environment) if server.enabled else None
        streams = [fd if fd != -1 else own for own, fd in enumerate((at["p2cread"], at["c2pwrite"], at["errwrite"]))]
        pid = server.start(request, streams) if request else 0
        if pid:
            process = at["self"]
            process.pid, process._child_created = pid, True
            process._close_pipe_fds(*(at[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")))
        else:
            original(*given)

    subprocess.Popen._execute_child = execute


USUAL = {"close_fds": True, "shell": False, "umask": -1} | dict.fromkeys(("executable", "preexec_fn", "gid", "gids", "uid"))


def request_of(popen, known):
    """Return the process that Popen is to start as a request; None where a fork of a server with the environment `known` is not the same."""
    if any(popen[name] != value for name, value in USUAL.items()) or popen["pass_fds"] or not isinstance(popen["args"], list):
        return None
    environment = dict(os.environ if popen["env"] is None else popen["env"])
    folder = Path(os.fsdecode(popen["cwd"] or ".")).absolute()
    if not folder.is_dir() or any(
        environment.get(name) != known.get(name)
        for name in {*environment, *known} - SET_ON_IMPORT
        if READ_ON_IMPORT.fullmatch(name)
    ):
        return None
    rest = (environment, str(folder), popen["start_new_session"], popen["process_group"])
    command, words = [os.fsdecode(each) for each in popen["args"][:3]], [os.fsdecode(each) for each in popen["args"][3:]]
    if command[:2] == [sys.executable, "-m"] and command[2] in MODULES:
        return Request(command[2], words, *rest)
    if command[:2] == ["sh", "-ec"] and shlex.split(command[2]) == STEP_SCRIPT:
        return Request(STEP, words[1:], *rest, component=words[0])
    return None
