"""scripts/emulate.py: what needs no QEMU, and a processor without AVX2 where QEMU is installed."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mynah.core.machine import missing_instructions
from scripts.emulate import PROCESSORS, without_flags

CPUINFO = "processor\t: 0\nflags\t\t: fpu sse4_2 avx avx2 fma avx512f avx512_bf16 amx_tile bmi1\nbogomips\t: 4800.00\n"


@pytest.mark.parametrize("name, left", [("haswell", "fpu sse4_2 avx avx2 fma bmi1"), ("sandybridge", "fpu sse4_2 avx")])
def test_a_lesser_processor_has_no_flags_of_a_larger_one(name, left):
    assert without_flags(CPUINFO, PROCESSORS[name].lacks) == f"processor\t: 0\nflags\t\t: {left}\nbogomips\t: 4800.00\n"


def test_what_is_missing_is_told_with_how_to_install_it(monkeypatch, tmp_path):
    command = [sys.executable, "-m", "scripts.emulate", "neoverse-n1", "generate", "wren"]
    monkeypatch.setenv("PATH", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 3
    assert "qemu-aarch64-static is not installed" in done.stderr
    assert "apt-get install qemu-user-static mmdebstrap" in done.stderr


@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="QEMU is not installed; no part of CI: docs/emulation.md")
@pytest.mark.skipif(
    platform.machine() != "x86_64" or bool(missing_instructions()), reason="this machine is no x86-64 with AVX2 itself"
)
def test_an_emulated_processor_lacks_what_a_real_one_of_its_kind_does():
    code = "from mynah.core.machine import missing_instructions; print(missing_instructions())"
    for name, missing in (("haswell", ""), ("sandybridge", "AVX2")):
        command = [sys.executable, "-m", "scripts.emulate", "--python", name, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert (done.returncode, done.stdout.strip()) == (0, missing), done.stderr
