"""A container engine for the tests: podman and buildah with storage of their own in memory, and a Debian made here for a base."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import needs

ROOT = Path(__file__).parents[2]
PROGRAMS = ("podman", "buildah", "runc", "mmdebstrap", "mount")
BASE = "docker.io/library/debian:bookworm-slim"
MEMORY = 8 << 30  # bytes at most; the three images and what they are made of take 4
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""
# What Debian's own slim image leaves out.
SLIM = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc", "info", "lintian")]
SLIM += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]


@dataclass(frozen=True)
class Engine:
    """Podman and buildah over the storage in `folder`."""

    folder: Path

    @property
    def environment(self):
        """What leads them, and all that starts them, to that storage."""
        return {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "TMPDIR": str(self.folder / "tmp"),
            "BUILDAH_ISOLATION": "chroot",
            "SOURCE_DATE_EPOCH": "1700000000",
        }

    def start(self, *command, **options):
        """Start a program that uses the engine."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*map(str, command)], cwd=ROOT, env=os.environ | self.environment, **streams | options)

    def call(self, *command):
        """Run a program that uses the engine to its end, and return what it came to."""
        started = self.start(*command)
        stdout, stderr = started.communicate()
        return subprocess.CompletedProcess(command, started.returncode, stdout, stderr)

    def get(self, *command):
        """Run a program that uses the engine, and return what it prints."""
        done = self.call(*command)
        assert done.returncode == 0, f"{done.args}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def run(self, image, *command, options=()):
        """Run a command in a container, as a cluster would: without a writable root, without privileges."""
        hard = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=none"]
        return self.call("podman", "run", "--rm", *hard, *options, image, *command)

    def build(self, *arguments):
        """The command that builds images, as `make images` does."""
        found = [sys.executable, "images/build.py", "--engine=buildah", "--network=host", "--build-arg=TORCH_INDEX="]
        return [*found, *map(str, arguments)]

    def derive(self, image, name, **files):
        """Build the image `name`: `image` with programs that come first in its PATH."""
        context = self.folder / "tmp" / name
        context.mkdir()
        for program, text in files.items():
            (context / program).write_text(f"#!/bin/sh\n{text}\n")
            (context / program).chmod(0o755)
        (context / "Containerfile").write_text(f"FROM {image}\nCOPY {' '.join(files)} /opt/code/bin/\n")
        self.get("buildah", "build", "--tag", name, context)
        return f"localhost/{name}:latest"

    @contextlib.contextmanager
    def socket(self):
        """Docker's API by podman: the address for DOCKER_HOST."""
        path = self.folder / "podman.sock"
        with (self.folder / "service.log").open("wb") as log:
            service = self.start("podman", "system", "service", "--time=0", f"unix://{path}", stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not path.is_socket():
                assert service.poll() is None, (self.folder / "service.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"unix://{path}"
        finally:
            service.terminate()
            service.wait()


@contextlib.contextmanager
def engine_in(folder):
    """Podman and buildah in `folder`, on a disk in memory: to remove a gigabyte from a real one may take minutes."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    needs(not missing, f"not installed: {', '.join(missing)}; apt-get install podman buildah runc mmdebstrap mount")
    needs(os.geteuid() == 0, "mounting a disk in memory (tmpfs) needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEMORY}", "tmpfs", folder], check=True)
    engine = Engine(folder)
    try:
        (folder / "tmp").mkdir()
        (folder / "containers.conf").write_text(CONFIGURATION)
        (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
        make_base(engine)
        yield engine
    finally:
        engine.call("podman", "rm", "--all", "--force", "--time=0")
        subprocess.run(["umount", "--lazy", folder / "graph" / "overlay"], capture_output=True)
        subprocess.run(["umount", "--lazy", folder], check=True)


def make_base(engine):
    """A Debian of the packages that are current, under the official image's name: no registry is reached from here."""
    packages = ["--variant=essential", "--include=apt,ca-certificates,python3", '--aptopt=Acquire::Languages "none"']
    archive = engine.folder / "base.tar"
    engine.get("mmdebstrap", "--quiet", *packages, *SLIM, "bookworm", archive)
    engine.get("podman", "import", "--quiet", archive, BASE)
    archive.unlink()


def layers(engine, image):
    """The digests of an image's layers."""
    return json.loads(engine.get("podman", "image", "inspect", image))[0]["RootFS"]["Layers"]


def facts(engine, image):
    """What a program in a container of `image` finds there."""
    done = engine.run(image, "python3", "-c", LOOK)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


LOOK = """
import importlib.metadata, importlib.util, json, os, pathlib, py_compile, shutil, subprocess, tempfile

def writable(folder):
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False

def unchecked(module):
    head = pathlib.Path(importlib.util.cache_from_source(importlib.util.find_spec(module).origin)).read_bytes()[4:8]
    return int.from_bytes(head, "little") == 1

find = shutil.which
print(json.dumps({
    "uid": os.getuid(),
    "gid": os.getgid(),
    "writable": [folder for folder in ("/", "/opt/code", "/etc", "/tmp", os.path.expanduser("~")) if writable(folder)],
    "programs": [name for name in ("pip", "pip3", "gcc", "cc", "c++", "make", "ld", "git", "curl") if find(name)],
    "modules": [name for name in ("pip", "torch", "transformers", "kserve", "kfp", "mlflow", "boto3") if importlib.util.find_spec(name)],
    "bytecode": all(map(unchecked, ("json", "mlflow", "components.step_runtime"))),
    "left": [path for path in ("/pip-settings", "/pip", "/images", "/parts", "/src", os.path.expanduser("~root/.cache")) if os.path.exists(path)],
    "python": sorted(f"{found.metadata['Name']}=={found.version}" for found in importlib.metadata.distributions()),
    "debian": sorted(subprocess.check_output(["dpkg-query", "-W", "-f", "${Package}=${Version}\\n"], text=True).split()),
    "bill": json.load(open("/usr/share/mynah/sbom.json")),
}))
"""
