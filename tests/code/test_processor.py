"""A processor without AVX2: what needs a model says so in one line before it begins, and the rest works."""

import os
import shutil
import subprocess
import sys

import pytest

from mynah.core.machine import missing_instructions, processor_name
from mynah.models.base_models import FLEDGLING, resolve
from tests.conftest import needs

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit

FLAGS = "flags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 {more}\n"


@pytest.fixture
def old_processor(tmp_path):
    """A function that runs `mynah` where /proc/cpuinfo tells of a processor without AVX2."""
    needs(os.geteuid() == 0 and shutil.which("unshare") is not None, "another /proc/cpuinfo needs root")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Pentium of Before\n" + FLAGS.format(more="avx"))
    mount = f'mount --bind {cpuinfo} /proc/cpuinfo && exec "$@"'

    def mynah(*words):
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-m", "pipelines", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True)

    return mynah


def test_what_needs_a_model_names_what_is_missing(old_processor, tmp_path):
    (tmp_path / "data").mkdir()
    needs_one = (
        ("run", "--name", "wren", "--from", "sample", "--workdir", tmp_path / "work"),
        ("demo", "--workdir", tmp_path / "work"),
        ("finetune", tmp_path / "data", "--out", tmp_path / "model"),
        ("evaluate", tmp_path / "data", tmp_path / "data", "--out", tmp_path / "report"),
        ("generate", resolve(FLEDGLING).folder, "I like"),
        ("serve", "--model-dir", resolve(FLEDGLING).folder, "--port", "0"),
    )
    for words in needs_one:
        done = old_processor(*words)
        assert done.stderr.count("\n") == 2, (words, done.stderr)
        first, second = done.stderr.splitlines()
        assert first.startswith("error: this processor (Pentium of Before) lacks AVX2, without which"), words
        assert "fetch, filter, card, submit and deploy work" in second
        assert (done.returncode, done.stdout) == (3, "")
    assert not (tmp_path / "work").exists()


def test_the_steps_without_a_model_work(old_processor, tmp_path):
    assert old_processor("fetch", "--from", "sample", "--out", tmp_path / "raw").returncode == 0
    assert old_processor("filter", tmp_path / "raw", "--out", tmp_path / "data").returncode == 0


@pytest.mark.parametrize(
    ("text", "missing"),
    [(FLAGS.format(more="avx avx2"), ""), (FLAGS.format(more="avx"), "AVX2"), ("", ""), (FLAGS.format(more="avx2x"), "AVX2")],
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="of x86-64")
def test_avx2_is_a_flag_of_its_own(tmp_path, text, missing):
    (tmp_path / "cpuinfo").write_text(text)
    assert missing_instructions(tmp_path / "cpuinfo") == missing
    assert missing_instructions(tmp_path / "nowhere") == ""


def test_the_processors_name(tmp_path):
    (tmp_path / "cpuinfo").write_text("model\t\t: 1\nmodel name\t: AMD EPYC\n")
    assert processor_name(tmp_path / "cpuinfo") == "AMD EPYC"
    (tmp_path / "pi").write_text("BogoMIPS\t: 108.00\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n")
    assert processor_name(tmp_path / "pi") == "Raspberry Pi 5 Model B Rev 1.0"
    (tmp_path / "bare").write_text("BogoMIPS\t: 108.00\n")
    assert processor_name(tmp_path / "bare") == os.uname().machine
