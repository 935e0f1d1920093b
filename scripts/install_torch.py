"""Choose the build of torch for this machine before pip does: `python scripts/install_torch.py`, by the environment's own Python.

On Linux, PyPI's torch is built for CUDA: 2.7 GB to download and 4.5 GB on disk, of no use without an NVIDIA GPU. This script installs
PyTorch's CPU build where there is no GPU and pip would take CUDA's; otherwise it installs nothing and leaves the choice to pip. Either
way the version is that of constraints.txt, and the `pip install` that follows keeps an installed torch. `make demo` and `make test`
run it; docs/installation.md describes it. It needs only pip and Python's standard library.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
CHOICES = ("auto", "cpu", "cuda", "pip")
# The last one is Windows' driver in WSL.
DRIVER_FILES = ("dev/nvidiactl", "proc/driver/nvidia/version", "usr/lib/wsl/lib/nvidia-smi")
GPU_PACKAGES = re.compile(r"(nvidia|cuda|triton|pytorch-triton)\b", re.IGNORECASE)
# Downloads of torch 2.13.0 on x86-64: the CPU wheel has 192 MB; CUDA's 527 MB, and NVIDIA's libraries with triton 2.2 GB.
CPU_SIZE, CUDA_SIZE = "about 190 MB", "about 2.7 GB with NVIDIA's libraries"
SEARCH_SECONDS = 30  # in total; pip waits 5 s, twice, for a server that does not respond
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
# The line before pip downloads a wheel: its name or address, and its size where the server states it.
DOWNLOADING = re.compile(r"Downloading (\S+\.whl)(?: \((.+)\))?\s*$")


class BuildNotFoundError(Exception):
    """pip found no torch; the message is pip's."""


@dataclass(frozen=True, slots=True)
class Build:
    """A build of torch that pip can install.

    Attributes:
        version: Its version with the local label.
        for_gpu: Whether it is for a GPU.
        size: The size of its download as pip prints it; "" where unknown.
        on_disk: Whether it is on this machine already.
    """

    version: str
    for_gpu: bool
    size: str = ""
    on_disk: bool = False

    @property
    def download(self) -> str:
        """A description of the download."""
        if self.on_disk:
            return "on this machine's disk"
        return CUDA_SIZE if self.for_gpu else self.size or CPU_SIZE


def pinned_version() -> str:
    """Return torch's version in constraints.txt."""
    match = re.search(r"^torch==(\S+)$", CONSTRAINTS.read_text("utf-8"), re.MULTILINE)
    assert match, "constraints.txt pins torch"
    return match[1]


def cpu_index() -> str:
    """Return the index of PyTorch's CPU builds, as images/Containerfile states it."""
    match = re.search(r"^ARG TORCH_INDEX=(\S+)$", (ROOT / "images" / "Containerfile").read_text("utf-8"), re.MULTILINE)
    assert match, "images/Containerfile has TORCH_INDEX"
    return match[1]


def is_for_gpu(version: str, requirements: Iterable[str] | None) -> bool:
    """Return whether a build of torch is for a GPU.

    Args:
        version: With its local label, such as 2.13.0+cpu. A label decides.
        requirements: `Requires-Dist` of its metadata, or None where they are unknown; then a build without a label is taken for PyPI's.

    Returns:
        Whether it is.
    """
    label = version.partition("+")[2]
    if label.startswith(("cpu", "cu", "rocm", "xpu")):
        return not label.startswith("cpu")
    return requirements is None or any(
        GPU_PACKAGES.match(requirement) and "extra ==" not in requirement for requirement in requirements
    )


def installed_build() -> Build | None:
    """Return the torch of this environment."""
    try:
        distribution = importlib.metadata.distribution("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Build(distribution.version, is_for_gpu(distribution.version, distribution.requires or ()))


def gpu_driver(root: Path) -> str:
    """Return where an NVIDIA driver shows, "" where none does. `root` holds dev, proc and usr."""
    return next((f"/{name}" for name in DRIVER_FILES if (root / name).exists()), shutil.which("nvidia-smi") or "")


def only_index(index: str, empty_folder: str) -> dict[str, str]:
    """Return pip's settings for one index and no other location. pip keeps its proxy, certificates and PIP_NO_INDEX.

    Environment variables replace the settings of pip.conf, unless they are empty; options of the command line would be added to them, and
    a mirror in pip.conf may have another torch of the same version.

    Args:
        index: The index.
        empty_folder: An empty folder, for PIP_FIND_LINKS.

    Returns:
        Environment variables.
    """
    return {"PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": index, "PIP_FIND_LINKS": empty_folder}


def watch_pip(arguments: Iterable[str], environment: dict[str, str]) -> tuple[str, re.Match[str] | None]:
    """Run pip until it ends, SEARCH_SECONDS have passed, or it begins to download a wheel.

    Args:
        arguments: The arguments after `pip install --no-deps`.
        environment: pip's environment.

    Returns:
        pip's last error, "" for none, and the match of the line that announces the download, None for none.
    """
    error = ""
    with subprocess.Popen(
        [*PIP, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        timer = threading.Timer(SEARCH_SECONDS, pip.kill)
        timer.daemon = True
        timer.start()
        assert pip.stdout
        for line in pip.stdout:
            if line.startswith("ERROR:"):
                error = line.removeprefix("ERROR:").strip()
            if download := DOWNLOADING.search(line):
                pip.kill()
                return "", download
        timer.cancel()
    return (error or f"pip found nothing within {SEARCH_SECONDS} s") if pip.returncode else "", None


def find_build(pin: str, index: str | None = None) -> Build:
    """Return the build of torch that pip would install, without downloading it.

    `pip install --dry-run --report` writes the metadata immediately where the wheel is on disk or in pip's cache, or where the server has
    the metadata in a file of its own (PEP 658) and pip is 25.3 or newer. Otherwise pip downloads the wheel first. It is stopped there,
    and the wheel's name decides.

    Args:
        pin: Torch's version.
        index: The only index to search; None searches where pip is configured to.

    Returns:
        The build.

    Raises:
        BuildNotFoundError: pip found none, or not in time.
    """
    with tempfile.TemporaryDirectory(prefix="mynah-torch-") as scratch:  # what pip leaves when it is stopped goes with it
        report, empty = Path(scratch, "report.json"), Path(scratch, "empty")
        empty.mkdir()
        environment = os.environ | {"PIP_QUIET": "0", "PIP_VERBOSE": "0", "TMPDIR": scratch}
        if index:
            environment |= only_index(index, str(empty))
        search = ["--dry-run", "--ignore-installed", "--no-input", "--timeout=5", "--retries=1", "--progress-bar=off"]
        error, download = watch_pip([*search, f"--report={report}", f"torch=={pin}"], environment)
        if error:
            raise BuildNotFoundError(error)
        if download:
            version = urllib.parse.unquote(download[1].rpartition("/")[2]).split("-")[1]
            return Build(version, is_for_gpu(version, None), download[2] or "")
        report_entry = json.loads(report.read_text("utf-8"))["install"][0]
        version, requirements = report_entry["metadata"]["version"], report_entry["metadata"].get("requires_dist", ())
        return Build(version, is_for_gpu(version, requirements), on_disk=report_entry["download_info"]["url"].startswith("file:"))


def install_from(index: str, pin: str) -> None:
    """Install torch `pin` from `index` without its dependencies, which pip installs later from its configured index."""
    compiling = [] if os.environ.get("PYTHONDONTWRITEBYTECODE") else ["--no-compile"]  # as the Makefile does
    with tempfile.TemporaryDirectory(prefix="mynah-torch-") as empty:
        environment = os.environ | only_index(index, empty)
        done = subprocess.run([*PIP, "--quiet", *compiling, f"torch=={pin}"], env=environment, check=False)
    if done.returncode:
        sys.exit(f"error: installing torch {pin} from {index} failed, as pip says above. MYNAH_TORCH=pip takes what pip finds.")


def choose(wanted: str, pin: str, index: str, driver: str) -> tuple[str, bool]:
    """Choose where torch comes from.

    Args:
        wanted: One of CHOICES.
        pin: Torch's version.
        index: The index of CPU builds.
        driver: The path of a GPU driver, or "".

    Returns:
        The line to print, with the choice, the download and the reason; and whether to install from `index`, else pip's own choice is kept.
    """
    why, other = (f"a GPU driver was found ({driver})", "cpu") if driver else ("no GPU driver was found", "cuda")
    if wanted != "auto":
        why, other = f"MYNAH_TORCH={wanted}", "auto"
    why_and_other = f"{why}; MYNAH_TORCH={other} chooses otherwise."
    if wanted == "pip":
        return f"torch {pin}: the build that pip finds: {why_and_other}", False
    try:
        build = find_build(pin)
    except BuildNotFoundError:
        build = None  # pip prints why when it installs, unless the index of CPU builds has one
    if build and not build.for_gpu:
        if wanted == "cuda":
            sys.exit(
                f"error: MYNAH_TORCH=cuda, but pip finds torch {build.version}, a CPU build. Configure pip for an index with the CUDA "
                "build (pip config list shows what it uses), or set MYNAH_TORCH=pip to take the CPU build."
            )
        unused = ", which this build cannot use" if driver and wanted == "auto" else ""
        return f"torch {build.version}: the CPU build that pip finds, {build.download}: {why}{unused}.", False
    from_pip = f"the CUDA build that pip finds, {build.download}" if build else "the build that pip finds"
    if wanted == "cuda" or (wanted == "auto" and driver):
        return f"torch {pin}: {from_pip}: {why_and_other}", False
    try:
        cpu_build = find_build(pin, index)
    except BuildNotFoundError as error:
        if wanted == "cpu":
            sys.exit(
                f"error: MYNAH_TORCH=cpu, but pip reaches no torch {pin} at {index} ({error}). Check the network and pip's proxy "
                f"(pip config list shows it), or set MYNAH_TORCH=pip to take {from_pip}."
            )
        return f"torch {pin}: {from_pip}: {why}, but pip reaches no CPU build at {index}.", False
    return f"torch {pin}: the CPU build from {index}, {cpu_build.download}: {why_and_other}", True


def main() -> None:
    """Choose a build, print the choice, and install the CPU build if it was chosen."""
    parser = argparse.ArgumentParser(
        description="Install PyTorch's CPU build where there is no GPU and pip would take CUDA's; otherwise leave torch to pip.",
        epilog=f"MYNAH_TORCH={'|'.join(CHOICES)} chooses; auto unless set.",
    )
    parser.add_argument("--index", default=cpu_index(), help="the index of CPU builds; %(default)s unless given")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where dev, proc and usr are, to find a GPU's driver")
    arguments = parser.parse_args()
    wanted, pin = os.environ.get("MYNAH_TORCH") or "auto", pinned_version()
    if wanted not in CHOICES:
        sys.exit(f"error: MYNAH_TORCH={wanted} is none of {', '.join(CHOICES)}.")
    driver, installed = gpu_driver(arguments.root), installed_build()
    if installed and installed.version.partition("+")[0] == pin:
        if installed.for_gpu and (wanted == "cpu" or (wanted == "auto" and not driver)):
            print(f"torch {installed.version}: the CUDA build, which is installed already. To choose again: make clean")
        elif not installed.for_gpu and wanted == "cuda":
            sys.exit(f"error: MYNAH_TORCH=cuda, but torch {installed.version} is installed already. To choose again: make clean")
        return
    if platform.system() == "Darwin":  # pip's own wheel is the right one: for the CPU, and Apple's GPU
        if wanted == "cuda":
            sys.exit("error: MYNAH_TORCH=cuda, but there is no CUDA for macOS. Set it to auto, or unset it.")
        wanted = "pip"
    line, from_index = choose(wanted, pin, arguments.index, driver)
    print(line, flush=True)
    if from_index:
        install_from(arguments.index, pin)


if __name__ == "__main__":
    main()
