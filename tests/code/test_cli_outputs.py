"""Every command that writes a file or folder refuses one that it also reads. The tables here have every path of every command."""

import os
import shutil
from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest
import typer

from mynah.core.errors import InputError
from mynah.core.files import MARKER
from pipelines.cli.main import app

WRITTEN = {
    ("fetch", "out"), ("filter", "out"), ("finetune", "out"), ("evaluate", "out"), ("card", "out"), ("export", "out"), ("compile", "out"),
    ("forget", "receipt"),
}  # fmt: skip
READ = {
    ("filter", "raw"), ("finetune", "data"), ("finetune", "recipe"), ("finetune", "from_model"), ("finetune", "trained_on"),
    ("evaluate", "model"), ("evaluate", "data"), ("evaluate", "gate"), ("evaluate", "champion"), ("compile", "images"),
}  # fmt: skip
# Of commands that write no file of the person's choice: into the work folder, a store or a cluster only.
READ_ONLY = {
    ("run", "recipe"), ("sweep", "recipe"), ("submit", "recipe"), ("submit", "images"), ("submit", "token_file"), ("fleet", "recipe"),
    ("fleet", "images"), ("fleet", "file"), ("fleet", "token_file"), ("runs", "token_file"), ("logs", "token_file"), ("cancel", "token_file"),
    ("schedules pause", "token_file"), ("schedules resume", "token_file"), ("schedules remove", "token_file"),
    ("forget", "token_file"), ("prune", "token_file"), ("receipt", "token_file"),
    ("register", "model"), ("register", "data"), ("register", "report"), ("register", "card_folder"), ("publish", "license_text"),
    ("receipt", "file"), ("serve", "model_dir"), ("serve", "keys"),
}  # fmt: skip
# Read and written in one: a line or an entry changes, and the rest stays.
EDITED = {("keys add", "file"), ("keys list", "file"), ("keys revoke", "file"), ("keys limit", "file"), ("deploy", "gitops")}


def commands(app: typer.Typer, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in app.registered_commands:
        assert command.callback
        yield prefix + (command.name or command.callback.__name__), command.callback
    for group in app.registered_groups:
        assert group.typer_instance
        yield from commands(group.typer_instance, f"{prefix}{group.name} ")


def paths() -> set[tuple[str, str]]:
    """Each parameter of each command that takes a path or is called an output, but for the work folder."""
    found = {
        (name, parameter.name)
        for name, call in commands(app)
        for parameter in signature(call).parameters.values()
        if is_path(parameter)
    }
    return {(name, parameter) for name, parameter in found if parameter != "workdir"}


def is_path(parameter: Parameter) -> bool:
    return "Path" in str(parameter.annotation).partition("OptionInfo")[0] or parameter.name.startswith("out")


def test_each_path_of_each_command_is_known_here():
    assert paths() == WRITTEN | READ | READ_ONLY | EDITED, "a new one goes into its table, and a written one into CALLS"


# The arguments of each command that writes, with the inputs in braces; `out` is what it writes.
CALLS = {
    "fetch": "fetch --from {raw} --from {posts.csv} --basis permission --out {out}",
    "filter": "filter {raw} --out {out}",
    "finetune": "finetune {data} --out {out} --base-model {base} --recipe {recipe.yaml}",
    "finetune further": "finetune {data} --out {out} --from-model {model} --trained-on {earlier}",
    "finetune with states": "finetune {data} --out {out} --checkpoints {workdir}",
    "evaluate": "evaluate {model} {data} --out {out} --base-model {base} --champion {champion} --gate {gate.yaml}",
    "card": "card wren {model} {data} {report} --out {out}",
    "card of a bot": "card wren --choose 2 --out {out} --workdir {workdir}",
    "export": "export wren --to gguf --out {out} --workdir {workdir}",
    "compile": "compile --out {out} --images {images.yaml}",
    "forget": "forget wren --receipt {out} --workdir {workdir} --yes",
}
FILES = ("compile", "forget")  # they write a file


def inputs_of(call: str) -> list[str]:
    return [word.strip("{}") for word in call.split() if word.startswith("{") and word != "{out}"]


CASES = [
    (name, read, way)
    for name, call in CALLS.items()
    for read in inputs_of(call)
    for way in ("is", "link", "holds", "lies in", "hard link")
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder that a step wrote, in which all the inputs are."""
    root = tmp_path_factory.mktemp("inputs") / "all"
    for name in {read for call in CALLS.values() for read in inputs_of(call)}:
        if "." in name:
            root.mkdir(exist_ok=True)
            (root / name).write_text('{"data": "data:1", "train": "train:1"}' if name == "images.yaml" else "preset: default\n")
        else:
            (root / name).mkdir(parents=True)
            for file in (MARKER, "posts.jsonl", "sources.json", "mlflow.db"):
                (root / name / file).write_text("[]")
    (root / MARKER).write_text("written whole\n")
    return root


def test_each_command_that_writes_has_a_call():
    assert {name for name, _ in WRITTEN} == {call.split()[0] for call in CALLS.values()}
    named = {
        word.removeprefix("--").replace("-", "_") for call in CALLS.values() for word in call.split() if word.startswith("--")
    }
    assert {parameter for _, parameter in READ} - named <= {"raw", "data", "model"}, "an option that is read stands in a call"


@pytest.mark.parametrize(("name", "read", "way"), CASES)
def test_what_is_read_is_never_written(made, tmp_path, name, read, way):
    root = tmp_path / "all"
    shutil.copytree(made, root)
    out = meeting(root, root / read, way, is_file=name in FILES)
    if out is None or (read == "workdir" and way == "lies in"):
        pytest.skip("not of this kind")
    before = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    words = [word.replace("{out}", str(out)).replace("{", f"{root}/").replace("}", "") for word in CALLS[name].split()]
    command: Any = typer.main.get_command(app)
    with pytest.raises(InputError):
        command(words, standalone_mode=False)
    assert {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()} == before


@pytest.mark.parametrize(("out", "states"), [("new", "new"), ("new", "new/states"), ("out", "data"), ("out", "data/states")])
def test_training_states_are_no_output_and_no_input(made, tmp_path, out, states):
    root = Path(shutil.copytree(made, tmp_path / "all"))
    before = sorted(root.rglob("*"))
    words = ["finetune", root / "data", "--out", root / out, "--base-model", root / "base", "--checkpoints", root / states]
    command: Any = typer.main.get_command(app)
    with pytest.raises(InputError, match="which this command reads"):
        command(list(map(str, words)), standalone_mode=False)
    assert sorted(root.rglob("*")) == before


def meeting(root: Path, read: Path, way: str, *, is_file: bool) -> Path | None:
    """An output that meets the input `read`; None where these two cannot meet this way."""
    link = root.parent / ("out.yaml" if is_file else "out")
    if way == "link":
        link.symlink_to(read)
        return link
    if way == "hard link":
        if is_file and read.is_dir():
            os.link(read / "mlflow.db", link)
            return link
        link = link if is_file else link / "link"
        if not is_file:
            link.parent.mkdir()
            (link.parent / MARKER).write_text("written whole\n")
        os.link(read if read.is_file() else read / "posts.jsonl", link)
        return None if read.name == "workdir" and not is_file else link if is_file else link.parent
    if way == "lies in":
        return read / "out" if read.is_dir() and not is_file else None
    if way == "holds":
        return None if is_file else root
    return read
