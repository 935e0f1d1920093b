"""scripts/install_torch.py, as a process with a real pip in a real environment: which torch it takes, and what it says."""

import importlib.util
import re
import shutil
import subprocess

import pytest
from fake_package_index import FakePackageIndex, Wheel

from scripts.install_torch import CHOICES, DRIVER_FILES, cpu_index
from tests.code.pip_machine import ROOT, SCRIPT, Machine
from tests.conftest import needs

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit

PIN = re.search(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
AWAY = "http://127.0.0.1:9"  # nothing listens on that port
CPU = f"{PIN}+cpu"
CUDA_WHEEL = Wheel("torch", PIN, ("helper", "nvidia-cublas==13.1; platform_system == 'Linux'", "triton==3.7"), huge=True)
CPU_WHEEL = Wheel("torch", CPU, ("helper", "opt-einsum; extra == 'opt-einsum'"))
MARGIN = 300_000_000  # bytes of the 900 MB wheel that a stopped pip may have got on a busy machine


@pytest.fixture
def server():
    """PyPI with CUDA's torch and a bot that needs torch; PyTorch's index with newer ones besides, and a helper that is not for us."""
    bot, helper, strange = Wheel("bot", "1", ("torch",)), Wheel("helper", "1"), Wheel("helper", "99")
    newer = Wheel("torch", "99.0+cpu")
    with FakePackageIndex(pypi=[CUDA_WHEEL, bot, helper], cpu=[CPU_WHEEL, newer, strange]) as running:
        yield running


@pytest.fixture
def machine(tmp_path, server):
    needs(importlib.util.find_spec("pip") is not None, "this environment has no pip")
    return Machine(tmp_path, server)


@pytest.mark.parametrize("separate_metadata", [True, False], ids=["metadata by itself", "metadata in the wheel"])
def test_without_a_gpu_the_cpu_build_is_installed_and_nothing_large_is_downloaded_first(machine, server, separate_metadata):
    server.separate_metadata = separate_metadata
    line = machine.run()
    assert line.startswith(f"torch {PIN}: the CPU build from {server.index_url('cpu')}, ")
    assert re.search(r", [\d.]+ (bytes|[kMG]B): no GPU driver was found; MYNAH_TORCH=cuda chooses otherwise\.$", line)
    assert machine.torch == CPU
    assert server.sent[CUDA_WHEEL.name] < MARGIN
    assert machine.version("helper") is None


def test_the_installation_that_follows_and_a_second_run_keep_it(machine, server):
    machine.run()
    machine.install("bot", "-c", ROOT / "constraints.txt")
    dependencies = machine.version("helper"), machine.version("bot")
    assert dependencies == ("1", "1")  # from the own index, although the other one has a newer helper
    server.requests.clear()
    assert machine.run() == ""
    assert server.requests == []
    assert machine.torch == CPU


def test_where_the_cpu_index_is_away_pip_decides(machine, server):
    line = machine.run(AWAY, PIP_QUIET=2)  # however little pip is configured to say
    assert line == (
        f"torch {PIN}: the CUDA build that pip finds, about 2.7 GB with NVIDIA's libraries: no GPU driver was found, "
        f"but pip reaches no CPU build at {AWAY}."
    )
    assert machine.torch is None
    assert server.sent[CUDA_WHEEL.name] < MARGIN


def test_where_the_cpu_index_lacks_the_version_pip_decides(machine, server):
    server.indexes["cpu"] = [Wheel("torch", "99.0+cpu")]
    assert "the CUDA build that pip finds" in machine.run()
    assert machine.torch is None


@pytest.mark.parametrize("sign", [*DRIVER_FILES, "nvidia-smi"])
def test_with_a_gpu_driver_pip_decides(machine, server, sign):
    if sign == "nvidia-smi":
        (machine.folder / "bin" / sign).write_text("#!/bin/sh\n")
        (machine.folder / "bin" / sign).chmod(0o755)
    else:
        machine.add_driver(sign)
    line = machine.run()
    assert line.startswith(
        f"torch {PIN}: the CUDA build that pip finds, about 2.7 GB with NVIDIA's libraries: a GPU driver was found (/"
    )
    assert line.endswith(f"{sign}); MYNAH_TORCH=cpu chooses otherwise.")
    assert machine.torch is None
    assert not any(request.startswith("/cpu/") for request in server.targets)


def test_a_mirror_with_the_cpu_build_is_left_alone(machine, server):
    server.indexes["pypi"] = [CPU_WHEEL]
    line = machine.run()
    assert line.startswith(f"torch {CPU}: the CPU build that pip finds, ")
    assert not any(request.startswith("/cpu/") for request in server.targets)
    assert machine.torch is None


def test_a_cpu_build_that_a_gpu_will_not_use_is_named(machine, server):
    server.indexes["pypi"] = [CPU_WHEEL]
    machine.add_driver()
    assert machine.run().endswith(f"a GPU driver was found (/{DRIVER_FILES[0]}), which this build cannot use.")


def test_an_own_wheel_on_disk_is_judged_by_its_metadata(machine, server):
    own = Wheel("torch", PIN, ("helper", "triton; extra == 'compile'"))
    server.indexes["pypi"] = []
    line = machine.run(PIP_FIND_LINKS=machine.put_on_disk(own))
    assert line == f"torch {PIN}: the CPU build that pip finds, on this machine's disk: no GPU driver was found."
    assert machine.torch is None


@pytest.mark.parametrize("wheel", [CPU_WHEEL, Wheel("torch", PIN, CUDA_WHEEL.requires), Wheel("torch", f"{PIN}+cu130")])
def test_offline_pip_decides_and_nobody_is_asked(machine, server, wheel):
    kind = "CPU" if wheel is CPU_WHEEL else "CUDA"
    line = machine.run(PIP_NO_INDEX=1, PIP_FIND_LINKS=machine.put_on_disk(wheel))
    assert f"the {kind} build that pip finds, on this machine's disk: no GPU driver was found" in line
    assert machine.torch is None
    assert server.requests == []


def test_offline_without_any_torch_pip_has_the_last_word(machine):
    line = machine.run(PIP_NO_INDEX=1, PIP_FIND_LINKS=machine.folder / "wheels")
    assert line.startswith(f"torch {PIN}: the build that pip finds: no GPU driver was found, but pip reaches no CPU build")


def test_places_that_pip_is_configured_for_do_not_mix_with_the_cpu_index(machine, server):
    """Another torch of the same version, whose label sorts after +cpu, in all places that pip.conf can name."""
    other = Wheel("torch", f"{PIN}+cu130")
    server.indexes["extra"] = [other]
    config = machine.folder / "pip.conf"
    config.write_text(
        f"[global]\nextra-index-url = {server.index_url('extra')}\nfind-links = {machine.put_on_disk(other)}\nquiet = 2\n"
    )
    assert machine.run(AWAY, PIP_CONFIG_FILE=config).endswith(f"but pip reaches no CPU build at {AWAY}.")
    machine.run(PIP_CONFIG_FILE=config)
    assert machine.torch == CPU


def test_a_proxy_that_pip_is_configured_for_is_used(machine, server):
    line = machine.run("http://pytorch.invalid/cpu", PIP_PROXY=server.url, PIP_TRUSTED_HOST="pytorch.invalid")
    assert line.startswith(f"torch {PIN}: the CPU build from http://pytorch.invalid/cpu, ")
    assert machine.torch == CPU
    assert "http://pytorch.invalid/cpu/torch/" in server.targets


def test_a_constraint_that_pip_is_configured_for_is_kept(machine, server):
    server.indexes["pypi"].append(Wheel("torch", f"{PIN}+cu130"))
    constraint = machine.folder / "constraint.txt"
    constraint.write_text(f"torch=={PIN}+cu130\n")
    assert "the CUDA build that pip finds" in machine.run(PIP_CONSTRAINT=constraint)
    assert machine.torch is None


def test_the_cpu_build_can_be_asked_for_beside_a_gpu(machine, server):
    machine.add_driver()
    line = machine.run(MYNAH_TORCH="cpu")
    assert line.startswith(f"torch {PIN}: the CPU build from {server.index_url('cpu')}, ")
    assert line.endswith(": MYNAH_TORCH=cpu; MYNAH_TORCH=auto chooses otherwise.")
    assert machine.torch == CPU


def test_the_cpu_build_that_was_asked_for_and_is_away_is_an_error(machine):
    error = machine.refuse(AWAY, MYNAH_TORCH="cpu")
    assert error.startswith(f"error: MYNAH_TORCH=cpu, but pip reaches no torch {PIN} at {AWAY} (")
    assert error.endswith("or set MYNAH_TORCH=pip to take the CUDA build that pip finds, about 2.7 GB with NVIDIA's libraries.")


def test_cuda_can_be_asked_for_without_a_gpu(machine, server):
    line = machine.run(MYNAH_TORCH="cuda")
    assert line.startswith(f"torch {PIN}: the CUDA build that pip finds, about 2.7 GB with NVIDIA's libraries: MYNAH_TORCH=cuda;")
    assert machine.torch is None
    assert not any(request.startswith("/cpu/") for request in server.targets)


def test_cuda_that_was_asked_for_and_is_not_to_be_had_is_an_error(machine, server):
    server.indexes["pypi"] = [CPU_WHEEL]
    error = machine.refuse(MYNAH_TORCH="cuda")
    assert error.startswith(f"error: MYNAH_TORCH=cuda, but pip finds torch {CPU}, a CPU build. ")
    assert "MYNAH_TORCH=pip" in error


def test_pip_can_be_left_alone(machine, server):
    line = machine.run(MYNAH_TORCH="pip")
    assert line == f"torch {PIN}: the build that pip finds: MYNAH_TORCH=pip; MYNAH_TORCH=auto chooses otherwise."
    assert machine.torch is None
    assert server.requests == []


def test_any_other_choice_is_refused(machine, server):
    assert machine.refuse(MYNAH_TORCH="gpu") == f"error: MYNAH_TORCH=gpu is none of {', '.join(CHOICES)}."
    assert server.requests == []


def test_a_build_that_is_installed_stays_and_is_named_where_it_is_the_wrong_one(machine):
    machine.unpack(Wheel("torch", PIN, CUDA_WHEEL.requires))
    line = f"torch {PIN}: the CUDA build, which is installed already. To choose again: make clean"
    assert machine.run() == machine.run(MYNAH_TORCH="cpu") == line
    machine.add_driver()
    assert machine.run() == ""
    assert machine.torch == PIN


def test_another_version_is_replaced(machine):
    machine.unpack(Wheel("torch", "1.0+cpu"))
    machine.run()
    assert machine.torch == CPU


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda"])
def test_on_macos_pips_own_is_right(machine, server, wanted):
    mac = f"import platform, runpy; platform.system = lambda: 'Darwin'; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = machine.call("-c", mac, MYNAH_TORCH=wanted)
    if wanted == "cuda":
        assert done.returncode == 1
        assert done.stderr == "error: MYNAH_TORCH=cuda, but there is no CUDA for macOS. Set it to auto, or unset it.\n"
    else:
        assert done.returncode == 0
        assert done.stdout.startswith(f"torch {PIN}: the build that pip finds")
    assert server.requests == []


@pytest.mark.parametrize("part", ["laptop", "dev"])
def test_make_chooses_torch_before_pip_installs_the_rest(part, tmp_path):
    needs(shutil.which("make") is not None, "make is not installed")
    done = subprocess.run(["make", "-n", f"VENV={tmp_path}", f"{tmp_path}/{part}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    script, rest = done.stdout.index("scripts/install_torch.py"), done.stdout.index(f"'.[{part}]'")
    assert script < rest


def test_the_images_and_this_script_have_one_index():
    places = [
        ROOT / "Makefile",
        *(ROOT / "scripts").rglob("*.py"),
        *(path for path in (ROOT / "images").iterdir() if path.suffix != ".md"),
    ]
    assert cpu_index().startswith("https://download.pytorch.org/")
    assert [path.name for path in places if path.is_file() and cpu_index() in path.read_text("utf-8")] == ["Containerfile"]
