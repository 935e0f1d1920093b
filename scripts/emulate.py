"""Run Mynah on an emulated processor, with QEMU's user mode: `python -m scripts.emulate neoverse-n1 generate FOLDER "My dream is"`.

Needs neither root nor a container. The first run for ARM64 creates a Debian 12 for it under build/, with the wheels that
`mynah generate` needs; see docs/emulation.md. Emulation is slow: `import torch` alone takes half a minute of CPU time.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mynah.core.errors import MynahError, PlatformError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "emulated"
PACKAGES = (
    "fastapi",
    "filelock",
    "numpy",
    "pyyaml",
    "rich",
    "safetensors",
    "tokenizers",
    "torch",
    "typer",
)  # what `mynah generate` imports
GLIBC = range(17, 37)  # manylinux_2_17 to Debian 12's 2.36; pip takes a platform's name as it is, without the older ones
CORE = """\
processor\t: {number}
Features\t: fp asimd
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
AVX512 = (
    "avx512",
    "avx_vnni",
    "avx_ifma",
    "avx_ne_convert",
    "amx",
)  # prefixes of the flags beyond AVX2; QEMU does not emulate AVX-512
AVX2 = ("avx2", "fma", "bmi1", "bmi2", "f16c")


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor that QEMU emulates.

    Attributes:
        machine: The architecture, as `uname -m` prints it.
        name: QEMU's name of the processor.
        lacks: Prefixes of flags in /proc/cpuinfo that this host may have and the processor lacks.
        described: A description for people.
    """

    machine: str
    name: str
    lacks: tuple[str, ...] = ()
    described: str = ""


PROCESSORS = {
    "neoverse-n1": Processor("aarch64", "neoverse-n1", described="ARM64 without bf16: Graviton2, Ampere Altra, Raspberry Pi 5"),
    "arm-max": Processor("aarch64", "max", described="ARM64 with bf16 and SVE, as Graviton3"),
    "haswell": Processor("x86_64", "Haswell", AVX512, "AVX2 without AVX-512, as most laptops"),
    "sandybridge": Processor("x86_64", "SandyBridge", (*AVX512, *AVX2), "x86-64 without AVX2"),
}


def make_arm_root(folder: Path) -> None:
    """Unpack a Debian 12 for ARM64 with Python, and the wheels, into `folder`. Raises PlatformError."""
    scratch = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.parent.mkdir(parents=True, exist_ok=True)
    print(
        f"Creating {folder}: Debian 12 and wheels for ARM64, 4.6 GB with PyPI's torch; see docs/emulation.md …", file=sys.stderr
    )
    # "extract" unpacks and configures nothing, so no program of the root file system runs.
    _call(
        "mmdebstrap",
        "--quiet",
        "--arch=arm64",
        "--variant=extract",
        "--include=python3,libgomp1,libstdc++6",
        "bookworm",
        str(scratch),
    )
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in GLIBC] + ["--platform=manylinux2014_aarch64"]
    index = ["--extra-index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
    target = ["--target", str(scratch / "opt" / "site"), "--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    _call(
        *pip,
        *target,
        "--abi=cp311",
        "--abi=abi3",
        "--abi=none",
        *platforms,
        *index,
        "-c",
        str(ROOT / "constraints.txt"),
        *PACKAGES,
    )
    _write_arm_files(scratch)
    scratch.rename(folder)


def _write_arm_files(root: Path) -> None:
    """Write the files by which torch identifies an ARM64 processor: the host's own files describe an x86-64."""
    cores = os.cpu_count() or 1
    sysfs = root / "sys" / "devices" / "system" / "cpu"
    sysfs.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present", "online"):
        (sysfs / name).write_text(f"0-{cores - 1}\n" if cores > 1 else "0\n")
    for number in range(cores):
        identification = sysfs / f"cpu{number}" / "regs" / "identification"
        identification.mkdir(parents=True)
        (identification / "midr_el1").write_text("0x00000000413fd0c1\n")  # a Neoverse N1's
    _write_cpuinfo(root, "\n".join(CORE.format(number=number) for number in range(cores)))


def _write_cpuinfo(root: Path, text: str) -> None:
    (root / "proc").mkdir(parents=True, exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(text)


def without_flags(cpuinfo: str, lacks: tuple[str, ...]) -> str:
    """Return the text of an x86-64's /proc/cpuinfo without the flags that begin with one of `lacks`."""
    lines = []
    for line in cpuinfo.splitlines():
        key, colon, flags = line.partition(":")
        if key.strip() == "flags":
            line = f"{key}{colon} {' '.join(flag for flag in flags.split() if not flag.startswith(lacks))}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def command(processor: Processor, folder: Path) -> list[str]:
    """Return the command that runs Python on an emulated processor.

    Args:
        processor: The processor.
        folder: The folder for the files that replace this machine's; they are created if they do not exist.

    Returns:
        QEMU, its options and the interpreter.

    Raises:
        PlatformError: A program is missing, or creating the files fails.
    """
    qemu = f"qemu-{processor.machine}-static"
    for program in (qemu, *(("mmdebstrap",) if processor.machine == "aarch64" else ())):
        if not shutil.which(program):
            raise PlatformError(f"{program} is not installed", "On Debian: apt-get install qemu-user-static mmdebstrap")
    if processor.machine == "aarch64":
        root = folder / "aarch64"
        if not root.exists():
            make_arm_root(root)
        return [qemu, "-cpu", processor.name, "-L", str(root), str(root / "usr/bin/python3.11")]
    root = folder / processor.name
    _write_cpuinfo(root, without_flags(Path("/proc/cpuinfo").read_text(), processor.lacks))
    return [qemu, "-cpu", processor.name, "-L", str(root), sys.executable]


def _call(*arguments: str) -> None:
    try:
        subprocess.run(arguments, check=True)
    except subprocess.CalledProcessError as error:
        raise PlatformError(f"{arguments[0]} failed (exit code {error.returncode})", "Its output above has the cause.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program of `arguments` and return its exit code."""
    known = "\n".join(f"  {name:12} {processor.described}" for name, processor in PROCESSORS.items())
    parser = argparse.ArgumentParser(
        prog="python -m scripts.emulate",
        description="Run mynah on another processor, with QEMU.",
        epilog=f"processors:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("processor", choices=PROCESSORS, metavar="PROCESSOR", help="one of those below")
    parser.add_argument("--python", action="store_true", help="the arguments are for Python instead of for mynah")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="as mynah takes them")
    chosen = parser.parse_args(arguments)
    processor = PROCESSORS[chosen.processor]
    try:
        started = command(processor, FOLDER)
    except MynahError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if not chosen.python:
        started += ["-m", "pipelines"]
    site = [str(FOLDER / "aarch64" / "opt" / "site")] if processor.machine == "aarch64" else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *site]), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*started, *chosen.rest], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
