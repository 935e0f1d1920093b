"""What several kinds of test share: the data outside the repository, real tiny disks, a tiny real checkpoint."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock
from hypothesis import settings

from mynah.core.settings import MYNAH_REQUIRE_SERVICES, MYNAH_TESTS_FORK
from mynah.core.threads import wait_shortly
from tests import new_stores
from tests.fork_client import ForkServer, install

SHARED = Path(__file__).parents[1].parent / "shared"
LONGEST = (  # the files that take longest by themselves, and the longest first: .ci/run names the slowest tests
    "tests/services/built_images/test_images.py",
    "tests/services/test_pipeline.py",
    "tests/services/test_sweep_command.py",
    "tests/services/test_pipeline_interrupted.py",
    "tests/services/care/test_care_registry.py",
    "tests/model/test_training.py",
    "tests/model/test_resume.py",
    "tests/model/test_training_processes.py",
    "tests/services/test_continual_command.py",
    "tests/services/test_tracking.py",
    "tests/services/test_services.py",
    "tests/services/test_registry.py",
    "tests/services/trials/test_trials_resumed.py",
)
STORES_IN = ("tests/model/", "tests/services/")


settings.register_profile("mynah", deadline=None)  # no test asserts a time
settings.load_profile("mynah")


def pytest_configure(config):
    # Started in the background by a script, pytest ignores SIGINT, and so does all that it starts: tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Else each of the hundreds of processes that tests start would compile again all that it imports of ours.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("MYNAH_BASE_MODEL", "fledgling")  # small: a run takes seconds
    wait_shortly()
    if "PYTEST_XDIST_WORKER" in os.environ:  # two processes with a team of OpenMP's threads each wait for one another's cores
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(config, "workerinput") and MYNAH_TESTS_FORK.get():  # a worker of pytest-xdist
        install(ForkServer(dict(os.environ)))


def pytest_unconfigure():
    if ForkServer.installed:
        ForkServer.installed.close()


def pytest_collection_finish(session):
    """Let a worker copy new stores, unless it has none of the tests that make some: they import MLflow anyway."""
    if ForkServer.installed and any(item.location[0].startswith(STORES_IN) for item in session.items):
        new_stores.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Fork the processes of this test, unless it is marked `own_python`, or one of the quick ones, whose commands import little."""
    if ForkServer.installed:
        is_quick = item.location[0].startswith("tests/code/") and not item.get_closest_marker("slow")
        ForkServer.installed.enabled = not (is_quick or item.get_closest_marker("own_python"))
    return (yield)


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest: a worker that got one of them last would work alone while the others wait."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.location[0], len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What a test logged may be no Unicode, on purpose; a worker could not send that to the process that gathers reports."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def shared():
    """The data for development, which lies beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the development data (../shared) is not here")
    return SHARED


def needs(available: bool, what: str) -> None:
    """Skip a test of a real service in one line where it is not to be had; fail instead when MYNAH_REQUIRE_SERVICES=1."""
    if available:
        return
    if MYNAH_REQUIRE_SERVICES.get():
        pytest.fail(f"MYNAH_REQUIRE_SERVICES=1, and {what}")
    pytest.skip(what)


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a real disk of so many kilobytes and gives its folder."""
    needs(os.geteuid() == 0 and shutil.which("mount") is not None, "mounting a small disk (tmpfs) needs root")
    mounted = []

    def mount(kilobytes: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, text=True
        )
        needs(done.returncode == 0, f"mounting a small disk failed: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Done(NamedTuple):
    """What a command of `mynah` came to; unpacks into its exit code, stdout and stderr."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def mynah(monkeypatch, capsys):
    """The command line in this process, which has loaded what it imports already."""
    from pipelines.cli.main import main

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


TEXTS = [
    "My dream is to see the sea one day.",
    "The birds sing in the morning and I listen.",
    "I like tea, and I like the rain on the roof.",
]


def make_checkpoint(folder: Path, context: int) -> Path:
    """Save a one-layer GPT-2 with random weights and a byte-level BPE, as `save_pretrained` does."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    end = "<|endoftext|>"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=[end], initial_alphabet=alphabet))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=end, eos_token=end, unk_token=end)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    ids = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=context, n_embd=32, n_layer=1, n_head=2, **ids)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def made_once(tmp_path_factory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker makes and the others read."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "made" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            making = folder.with_name(f".{name}")
            make(making)
            making.rename(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    return made_once(tmp_path_factory, "wren", partial(make_checkpoint, context=64))


@pytest.fixture(scope="session")
def long_checkpoint(tmp_path_factory):
    """One whose context has room for the longest answer."""
    return made_once(tmp_path_factory, "crane", partial(make_checkpoint, context=256))
