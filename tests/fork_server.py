"""The fork server of tests/fork_client.py: imports what commands and steps need, and makes each process by a fork of itself.

It has one thread, and does nothing between its imports and a fork, so that a new process is as one that has just imported the same.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import os
import pickle
import pkgutil
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

from tests import new_stores
from tests.fork_client import WITHOUT_THREADS, ForkServer, install

LIBRARIES = (
    "boto3", "fastapi", "httpx", "kfp", "kfp.local", "mlflow.pyfunc", "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.transformers", "numpy", "optuna", "PIL.Image", "rich.progress", "safetensors.torch",
    "tokenizers", "torch", "torch.optim", "transformers", "transformers.models.gpt2.modeling_gpt2", "uvicorn",
)  # fmt: skip
PACKAGES = ("mynah", "components", "pipelines", "serving")
NOT_IMPORTED = ("mynah.decoding.compiled", "pipelines.local.runner", "components.finetune.torchrun_main")  # programs; a compiler
CLONE_PARENT, CLONE_CHILD_SETTID = 0x8000, 0x1000000
SYS_CLONE = {"x86_64": 56, "aarch64": 220}
TID = 720  # where glibc keeps the thread's number in struct pthread; compared before it is used
HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # for those who share a process group with the server


def preload():
    """Import what the slowest commands and steps import. What is not installed is missing to them, as it would be otherwise."""
    names = list(LIBRARIES)
    for package in map(importlib.import_module, PACKAGES):
        names += [each.name for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda _: None)]
    for name in names:
        if not name.endswith("__main__") and not name.startswith(NOT_IMPORTED):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
        from mlflow.store.db.utils import create_sqlalchemy_engine

        new_stores.install()(create_sqlalchemy_engine("sqlite://"))  # the first, in memory
    gc.collect()
    gc.freeze()


def clone():
    """Fork, with the new process as a child of this one's parent. Return 0 in it, and its id, or -1, here."""
    libc, python = ctypes.PyDLL(None), ctypes.pythonapi
    libc.pthread_self.restype = libc.syscall.restype = ctypes.c_long
    tid = libc.pthread_self() + TID
    flags = CLONE_PARENT | signal.SIGCHLD
    if ctypes.c_int.from_address(tid).value == os.getpid():
        flags |= CLONE_CHILD_SETTID  # as glibc's fork does
    python.PyOS_BeforeFork()
    number = SYS_CLONE[os.uname().machine]
    made = libc.syscall(*map(ctypes.c_long, (number, flags, 0, 0, tid, tid)))  # the two machines differ in the place of tid alone
    if made:
        python.PyOS_AfterFork_Parent()
    else:
        python.PyOS_AfterFork_Child()
    return made


def next_process(link):
    """Make processes as they are asked for until `link` is closed. Return in the new processes alone: what is to be done, and the streams."""
    while True:
        asked, files, *_ = socket.recv_fds(link, 1, 4)
        if not asked:
            os._exit(0)
        made = clone()
        if not made:
            with os.fdopen(files[0], "rb") as file:
                file.seek(0)
                return pickle.load(file), files[1:]
        if made < 0:
            link.send((0).to_bytes(8, "big"))
        for file in files:
            os.close(file)


def become(link, environment):
    """Return in a new process, with everything as it was asked for but the module that it runs: its request."""
    request, streams = next_process(link)
    if request.new_session:
        os.setsid()
    elif request.group >= 0:
        os.setpgid(0, request.group)
    if request.starts_others:
        ours, theirs = socket.socketpair()
        if not os.fork():
            for descriptor in (ours.detach(), link.detach(), *streams):
                os.close(descriptor)
            return become(theirs, environment)
        theirs.close()
        install(ForkServer(environment, ours))
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    _open_streams(streams)
    _forget_the_server(request.folder)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    link.send(os.getpid().to_bytes(8, "big"))
    link.close()
    return request


def _open_streams(streams):
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)), sys.stdin.encoding, sys.stdin.errors)
    for number, name in ((1, "stdout"), (2, "stderr")):
        raw, old = io.FileIO(number, "w", closefd=False), getattr(sys, name)
        buffer = raw if is_unbuffered else io.BufferedWriter(raw)
        lines = (number == 2 or raw.isatty()) and not is_unbuffered
        stream = io.TextIOWrapper(buffer, old.encoding, old.errors, line_buffering=lines, write_through=is_unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _forget_the_server(folder):
    """Set what Python sets at its start from the environment and the folder."""
    sys.path[0] = folder
    tempfile.tempdir = None
    time.tzset()
    for option in filter(None, os.environ.get("PYTHONWARNINGS", "").split(",")):
        warnings._setoption(option)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def run(request):
    """Run the module as `python -m` does; a step's, as the shell command of Kubeflow's SDK does."""
    arguments = request.arguments
    if request.component:
        folder = Path(tempfile.mkdtemp())
        (folder / "ephemeral_component.py").write_text(request.component)
        os.environ["_KFP_RUNTIME"] = "true"
        arguments = ["--component_module_path", str(folder / "ephemeral_component.py"), *arguments]
    sys.argv = [request.module, *arguments]
    sys.modules.pop(request.module if request.module != "pipelines" else "pipelines.__main__", None)
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


def ending(work):
    """Do the work, and end the process as Python ends, less the deletion of all modules, which takes half a second in a fork."""
    code = 0
    try:
        work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if code != ended.code and ended.code is not None:
            print(ended.code, file=sys.stderr)
    except BaseException as error:  # noqa: BLE001 - as Python does with what nobody caught
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    if code < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    link = socket.socket(fileno=int(sys.argv.pop()))
    at_start = {name: value for name, value in os.environ.items() if name not in WITHOUT_THREADS}
    preload()
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, f"what was imported started {len(threads) - 1} threads, which a fork would not have"
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    request = become(link, at_start)
    ending(lambda: run(request))
