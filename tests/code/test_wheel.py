"""The wheel: what it holds, and that it works outside the checkout."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import needs

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit

ROOT = Path(__file__).parents[2]
PACKAGES = ("mynah", "components", "serving", "pipelines")
PIP = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input"]

# Without site (-S) no .pth file is read, so that an editable install of the checkout is not on the path; without the environment (-I)
# PYTHONPATH is not, either. Arguments: the folder of the wheel, those of all other packages, modules that are to be missing, `mynah`'s own.
PROGRAM = """
import json, runpy, sys
wheel, others, missing, *arguments = sys.argv[1:]
sys.path += [wheel, *json.loads(others)]
sys.modules |= dict.fromkeys(json.loads(missing))
sys.argv = ["mynah", *arguments]
try:
    runpy.run_path(f"{wheel}/bin/mynah", run_name="__main__")
finally:
    own = ("mynah", "components", "serving", "pipelines", "scripts", "tests")
    files = (getattr(module, "__file__", None) for name, module in sys.modules.items() if name.partition(".")[0] in own)
    stray = [file for file in files if file and not file.startswith(wheel)]
    assert not stray, stray
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy of what is in it, so that nothing is written here and nothing old is packed."""
    needs(_setuptools() >= (77,), "setuptools 77 or newer, which builds the wheel, is not installed")
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, source]
    done = subprocess.run(build, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    install = [*PIP, "install", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel]
    done = subprocess.run(install, capture_output=True, text=True, cwd=target)
    assert done.returncode == 0, done.stderr
    return target


def _setuptools():
    try:
        return tuple(int(part) for part in importlib.metadata.version("setuptools").split(".")[:1])
    except importlib.metadata.PackageNotFoundError:
        return (0,)


def mynah(installed, cwd, *arguments, missing=()):
    others = json.dumps(list({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(installed), others, json.dumps(missing), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=cwd, env=environment)


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    there = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    expected = {path for path in there if "__pycache__" not in path}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert expected - packed == set()
    assert {name for name in packed - expected if ".dist-info/" not in name} == set()
    assert {f"{package}/py.typed" for package in PACKAGES} <= packed


def test_the_wheel_has_the_licences_and_the_version_of_pyproject(wheel):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert wheel.name == f"mynah-{version}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    for licence in ("LICENSE", "LICENSE_DEJAVU", "LICENSE_TWEMOJI", "LICENSE_UNICODE"):
        assert [name for name in names if ".dist-info/licenses/" in name and name.endswith(f"/{licence}")], licence


def test_the_manifests_name_the_images_of_this_version():
    """A release that changes pyproject.toml alone would serve the image of the release before."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    images = yaml.safe_load((ROOT / "k8s" / "base" / "kustomization.yaml").read_text("utf-8"))["images"]
    assert [image["newTag"] for image in images if image["name"].startswith("mynah")] == [version]


def test_the_installed_command_prints_its_version(installed, tmp_path):
    done = mynah(installed, tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"mynah \d+\.\d+\.\d+\n", done.stdout)
    assert done.stdout.split()[1] in next(installed.glob("mynah-*.dist-info")).name


def test_the_installed_command_fetches_and_filters_the_bundled_sample(installed, tmp_path):
    done = mynah(installed, tmp_path, "fetch", "--from", "sample", "--out", "raw")
    assert done.returncode == 0, done.stderr
    done = mynah(installed, tmp_path, "filter", "raw", "--out", "data", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "data" / "funnel.json").read_text("utf-8"))
    assert rows
    assert len((tmp_path / "data" / "train.jsonl").read_text("utf-8").splitlines()) > 1_000
    assert (tmp_path / "data" / "funnel.png").stat().st_size > 1_000  # the fonts are there


def test_a_part_that_is_not_installed_is_no_bug(installed, tmp_path):
    assert mynah(installed, tmp_path, "fetch", "--from", "sample", "--out", "raw").returncode == 0
    done = mynah(installed, tmp_path, "filter", "raw", "--out", "data", missing=["rensa"])
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: this command needs the Python package rensa, which is not installed",
        "Install Mynah with all its parts, in a checkout: pip install -c constraints.txt '.[laptop]'",
    ]
