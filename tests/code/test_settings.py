"""Environment variables: each is one record of mynah/core/settings.py, is read through it, and stands in docs/configuration.md."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from mynah.core import settings
from mynah.core.errors import InputError
from mynah.core.settings import VARIABLES, Variable
from pipelines.cli.main import app
from pipelines.placement import SECRETS, SECRETS_OF, SETTING_KEYS

ROOT = Path(__file__).parents[2]
PACKAGES = ("mynah", "components", "serving", "pipelines")
MODULE = Path("mynah/core/settings.py")
DOCUMENT = "docs/configuration.md"


def sources():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if path != ROOT / MODULE]


# The record


def test_a_record_is_named_as_its_variable():
    named = {name for name, value in vars(settings).items() if isinstance(value, Variable)}
    assert named == set(VARIABLES) == {each.name for each in VARIABLES.values()}


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        (settings.MYNAH_NODE_KIND, "a100", "a100"),
        (settings.MYNAH_PRICES, "/etc/prices.yaml", Path("/etc/prices.yaml")),
        (settings.MYNAH_CHECKPOINT_SECONDS, "0.5", 0.5),
        (settings.WORLD_SIZE, "4", 4),
        (settings.MYNAH_REQUIRE_SERVICES, "1", True),
        (settings.MYNAH_REQUIRE_SERVICES, "False", False),
    ],
)
def test_a_value_has_its_type_when_it_is_read(monkeypatch, variable, text, value):
    monkeypatch.setenv(variable.name, text)
    assert variable.get() == value
    assert type(variable.get()) is type(value)
    monkeypatch.setenv(variable.name, "")
    assert variable.get() == variable.default
    monkeypatch.delenv(variable.name)
    assert variable.get() == variable.default


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        (settings.MYNAH_CHECKPOINT_SECONDS, "often"),
        (settings.MYNAH_CHECKPOINT_SECONDS, "-1"),
        (settings.MYNAH_CHECKPOINT_SECONDS, "inf"),
        (settings.MYNAH_X_PRICE_PER_POST, "1000"),
        (settings.WORLD_SIZE, "two"),
        (settings.MYNAH_REQUIRE_SERVICES, "yes"),
    ],
)
def test_an_unusable_value_is_refused_with_its_name_and_the_fix(monkeypatch, variable, text):
    monkeypatch.setenv(variable.name, text)
    with pytest.raises(InputError) as refused:
        variable.get()
    assert refused.value.problem == f"{variable.name} is {text!r}"
    assert refused.value.fix


def test_another_process_is_handed_what_is_wanted_alone(monkeypatch):
    monkeypatch.setenv("MYNAH_NODE_KIND", "a100")
    monkeypatch.setenv("MYNAH_LOCK", "")
    found = settings.select_variables(lambda name: name.startswith("MYNAH_"))
    assert (found["MYNAH_NODE_KIND"], found["MYNAH_LOCK"]) == ("a100", "")
    assert settings.select_variables(["MYNAH_NODE_KIND", "NO_SUCH_VARIABLE"].__contains__) == {"MYNAH_NODE_KIND": "a100"}


# The code


def is_environment(node):
    """`os.environ`, however os is called here, or a bare `environ`."""
    return (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb")) or (
        isinstance(node, ast.Name) and node.id in ("environ", "environb")
    )


def reads(tree):
    """The lines that read the environment for themselves.

    Allowed: what writes for child processes. `os.environ | {…}`, `{**os.environ}`, `os.environ |= {…}`, `os.environ[name] = …`, and
    `setdefault` and `pop` whose result is not used.
    """
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {"environ", "getenv"} & {each.name for each in node.names}
        ):
            yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in ("getenv", "getenvb", "expandvars"):
            yield node.lineno
        if not is_environment(node):
            continue
        parent = parents[node]
        writes = (
            (isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.BitOr))
            or (isinstance(parent, ast.Dict) and node in parent.values)
            or (isinstance(parent, ast.AugAssign) and parent.target is node)
            or (isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load))
        )
        if isinstance(parent, ast.Attribute) and parent.attr in ("setdefault", "pop", "update"):
            writes = isinstance(parents[parents[parent]], ast.Expr)
        if not writes:
            yield node.lineno


@pytest.mark.parametrize(
    ("code", "is_read"),
    [
        ('os.environ.get("A")', True),
        ('os.environ["A"]', True),
        ('"A" in os.environ', True),
        ('x = os.environ.pop("A")', True),
        ("for name in os.environ: pass", True),
        ("call(os.environ)", True),
        ('os.getenv("A")', True),
        ("from os import environ", True),
        ('os.environ["A"] = "b"', False),
        ('del os.environ["A"]', False),
        ('os.environ.setdefault("A", "b")', False),
        ('os.environ.pop("A", None)', False),
        ('os.environ |= {"A": "b"}', False),
        ('run(env=os.environ | {"A": "b"})', False),
        ('run(env={"A": "b", **os.environ})', False),
    ],
)
def test_what_counts_as_a_read(code, is_read):
    assert bool(list(reads(ast.parse(code)))) == is_read


@pytest.mark.slow
def test_the_environment_is_read_through_the_settings_alone():
    found = [f"{path.relative_to(ROOT)}:{line}" for path in sources() for line in reads(ast.parse(path.read_text("utf-8")))]
    assert not found, f"read these by a record of {MODULE}: {found}"


def test_a_variable_is_named_by_its_record():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in VARIABLES
    ]
    assert not found, f"write NAME.name, of {MODULE}: {found}"


def parameters(command, path=()):
    """Every parameter of the command line with the words that lead to it."""
    for each in command.params:
        yield " ".join([*path, each.name]), each
    for name, each in getattr(command, "commands", {}).items():
        yield from parameters(each, (*path, name))


def test_the_variables_of_options_are_known():
    found = {where: each.envvar for where, each in parameters(typer.main.get_command(app)) if each.envvar}
    assert found["keys add file"] == "MYNAH_KEYS"
    assert {name for name in found.values() if name not in VARIABLES} == set()
    assert all(set(VARIABLES[name].readers) & {"command line", "server"} for name in found.values())


# Beyond the code


def test_the_variables_of_the_cluster_are_known():
    of_pods = {*SETTING_KEYS, *(name for keys in (SECRETS, *SECRETS_OF.values()) for names in keys.values() for name in names)}
    assert of_pods <= VARIABLES.keys()
    settings_map = yaml.safe_load((ROOT / "k8s/settings/settings.yaml").read_text("utf-8"))["data"]
    patched = re.findall(r"path: /data/(\w+)", "".join(path.read_text("utf-8") for path in (ROOT / "k8s").rglob("*.yaml")))
    assert "AWS_ENDPOINT_URL_S3" in patched
    assert {*settings_map, *patched} <= VARIABLES.keys()


def test_every_variable_of_ours_that_is_written_anywhere_is_known():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    known = {*VARIABLES, "MYNAH_COLOUR"}  # what a mutation of the manifests adds
    found = {}
    for file in files:
        if Path(file).suffix in (".py", ".md", ".yaml", ".yml", ".toml", ".sh", "") and (ROOT / file).is_file():
            text = (ROOT / file).read_text("utf-8", errors="replace")
            found |= {name: file for name in re.findall(r"\bMYNAH_[A-Z0-9]+(?:_[A-Z0-9]+)*\b", text) if name not in known}
    assert found == {}


# The document


def shown(variable):
    if variable.default_is:
        return variable.default_is
    if isinstance(variable.default, bool):
        return "on" if variable.default else "off"
    default = f"{variable.default:g}" if isinstance(variable.default, float) else str(variable.default or "")
    return f"`{default}`" if default else ""


def row(variable):
    cells = [f"`{variable.name}`", variable.meaning, shown(variable), ", ".join(variable.readers) or "passed on"]
    return f"| {' | '.join(cells if variable.owner == 'Mynah' else [cells[0], variable.owner, *cells[1:]])} |"


def test_the_document_has_a_row_for_each_variable_and_no_other():
    there = [line for line in (ROOT / DOCUMENT).read_text("utf-8").splitlines() if line.startswith("| `")]
    wanted = [row(each) for each in VARIABLES.values()]
    assert there == wanted, f"the rows of {DOCUMENT} are to be:\n" + "\n".join(wanted)
