"""The pipeline as the YAML that Kubeflow Pipelines takes."""

import tempfile
from pathlib import Path

from components.errors import InputError
from components.files import make_folder, write_text


def write(out: Path) -> None:
    """Compile the bot pipeline to `out`. Raises InputError unless it names a file that ends with .yaml or .yml."""
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"{out} does not end with .yaml", "Kubeflow's compiler writes YAML: name the file so.")
    if out.is_dir():
        raise InputError(f"{out} is a folder", "Name a file for the pipeline.")
    from kfp import compiler

    from pipelines.bot import bot

    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(bot, str(whole))
        make_folder(out.parent)
        write_text(out, whole.read_text("utf-8"))
