"""An environment with a real pip, in which scripts/install_torch.py runs."""

import importlib.util
import os
import subprocess
import venv
import zipfile
from pathlib import Path

from scripts.install_torch import DRIVER_FILES

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "install_torch.py"


class Machine:
    """An environment with pip and without torch, a file system that may have a driver, and what pip is configured to."""

    def __init__(self, folder, server):
        self.folder, self.server, self.python = folder, server, folder / "env" / "bin" / "python"
        for name in ("root", "bin", "wheels"):
            (folder / name).mkdir()
        venv.create(folder / "env", with_pip=False)
        (self.site,) = (folder / "env" / "lib").glob("python*/site-packages")
        pip = Path(importlib.util.find_spec("pip").origin).parent
        (self.site / "pip").symlink_to(pip)
        self.environment = {
            "PATH": str(folder / "bin"),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_INDEX_URL": server.index_url("pypi"),
        }

    def call(self, *command, **more):
        environment = self.environment | {name: str(value) for name, value in more.items()}
        return subprocess.run([self.python, *command], env=environment, capture_output=True, text=True, timeout=120)

    def run(self, index=None, **more):
        """Run the script: its line, which must be the only one."""
        done = self.call(SCRIPT, "--root", self.folder / "root", "--index", index or self.server.index_url("cpu"), **more)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) <= 1, done.stdout
        return done.stdout.strip()

    def refuse(self, index=None, **more):
        """Run the script, which must end with an error of one line and install nothing."""
        done = self.call(SCRIPT, "--root", self.folder / "root", "--index", index or self.server.index_url("cpu"), **more)
        assert done.returncode == 1
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert self.torch is None
        return done.stderr.strip()

    def install(self, *requirements, **more):
        """What the Makefile does next."""
        done = self.call("-m", "pip", "--disable-pip-version-check", "install", "--quiet", *requirements, **more)
        assert done.returncode == 0, done.stderr

    def version(self, project):
        """What is installed of it, or None."""
        found = next(self.site.glob(f"{project}-*.dist-info"), None)
        return found and found.name.removesuffix(".dist-info").partition("-")[2]

    @property
    def torch(self):
        return self.version("torch")

    def add_driver(self, name=DRIVER_FILES[0]):
        (self.folder / "root" / name).parent.mkdir(parents=True)
        (self.folder / "root" / name).touch()

    def put_on_disk(self, *wheels):
        for wheel in wheels:
            (self.folder / "wheels" / wheel.name).write_bytes(wheel.content)
        return self.folder / "wheels"

    def unpack(self, wheel):
        """Install it, as an earlier pip did."""
        with zipfile.ZipFile(self.put_on_disk(wheel) / wheel.name) as content:
            content.extractall(self.site)
