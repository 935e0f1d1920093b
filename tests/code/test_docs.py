"""The documentation: paths, modules and links that it names exist, and the pictures show what the code is."""

import re
from pathlib import Path

import pytest

from scripts.architecture import DRAWINGS, PICTURES, PURPOSES, layers_of

ROOT = Path(__file__).parents[2]
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "k8s/README.md", "images/README.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and (not path.name.startswith(".") or path.name == ".ci")}
SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w./-]+")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
MODULE = re.compile(r"python -m ((?:scripts|tests|pipelines)[\w.]*)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PLACEHOLDER = re.compile(r"/[A-Z]{3,}(/|$|\.)")  # components/STEP/step.py
MADE = ("build/", "demo/", ".venv")  # by make; images/build.py writes build/images.json


def ids(path):
    return str(path.relative_to(ROOT))


def prose(page):
    """A page without its blocks of code, in which paths are a reader's own."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def is_repository_path(span):
    first = span.partition("/")[0]
    return (
        PATH.fullmatch(span) and "/" in span and first in FOLDERS and not span.startswith(MADE) and not PLACEHOLDER.search(span)
    )


def anchor(heading):
    """What GitHub makes of a heading: https://github.com/gjtorikian/html-pipeline, its filter of tables of contents."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_paths_that_a_page_names_exist(page):
    named = [span for span in SPAN.findall(prose(page)) if is_repository_path(span)]
    assert [span for span in named if not (ROOT / span).exists() and not (page.parent / span).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_modules_that_a_page_runs_exist(page):
    for module in MODULE.findall(page.read_text("utf-8")):
        path = ROOT / module.rstrip(".").replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_of_a_page_resolve(page):
    for words, target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if fragment and file.suffix == ".md":
            assert fragment in [anchor(heading) for heading in HEADING.findall(prose(file))], target
        if re.fullmatch(r"[\w.-]+\.(py|ya?ml|md|txt)", words):
            assert file.name == words, f"the link {words} leads to {file.name}"


def test_the_pictures_are_those_that_the_code_gives():
    """After a change of the layers: python -m scripts.architecture."""
    for name, draw in DRAWINGS.items():
        assert (PICTURES / name).read_text("utf-8") == draw(), name


@pytest.mark.parametrize("package", ["mynah", "components", "serving", "pipelines"])
def test_the_picture_shows_every_package_of_its_layers(package):
    shown = {module for layer in layers_of(package) for module in layer}
    packages = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert packages - shown == set()
    assert {module for module in shown if not (ROOT / package / module).is_dir()} <= {
        path.stem for path in (ROOT / package).glob("*.py")
    }
    if package in ("mynah", "pipelines"):
        assert shown <= set(PURPOSES)
