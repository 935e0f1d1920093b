"""What the tests of the registry share: the folders that the steps before `register` leave, and mynah as a process."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from components.promote.step import promote
from components.register.step import register_folders
from mynah.core.files import digest
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.code.card_inputs import source, training

FOLDERS = ("model", "data", "report", "card")


def make_outputs(folder: Path, checkpoint: Path, author: str = "ann", others: tuple[str, ...] = (), posts: int = 60) -> Path:
    """The folders model, data, report and card of a bot of `author` (and others), around a tiny real checkpoint."""
    authors = [author, *others]
    shutil.copytree(checkpoint, folder / "model")
    for name in ("data", "report", "card"):
        (folder / name).mkdir(parents=True)
    lines = [
        {"id": str(n), "author": authors[n % len(authors)], "text": f"this is what post {n} of them says"} for n in range(posts)
    ]
    for part, chosen in (("train", lines[: -posts // 3]), ("held_out", lines[-posts // 3 :]), ("dropped", [])):
        (folder / "data" / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in chosen))
    sources = [source(each, basis="own-account") for each in authors]
    (folder / "data" / "sources.json").write_text(json.dumps(sources))
    record = training(
        data_digest=digest(folder / "data" / "train.jsonl"), held_out_digest=digest(folder / "data" / "held_out.jsonl"),
        recipe={"seed": 42}, versions={"torch": version("torch"), "transformers": version("transformers")},
    )  # fmt: skip
    check = {"metric": "loss_gain", "value": 0.5, "limit": 0.1, "at_least": True, "passed": True, "reason": "it learnt"}
    generation = json.loads((folder / "model" / "generation_config.json").read_text()) | {"max_new_tokens": 5}
    (folder / "model" / "generation_config.json").write_text(json.dumps(generation))  # MLflow's loader asks for 256 else
    (folder / "model" / "training.json").write_text(json.dumps(record))
    (folder / "report" / "metrics.json").write_text(json.dumps({"held_out_loss": 4.0}))
    (folder / "report" / "verdict.json").write_text(json.dumps({"passed": True, "failures": [], "checks": [check]}))
    (folder / "card" / "README.md").write_text(f"# A bot of {author}\n")
    return folder


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "pipelines", *map(str, arguments)]


def mynah(*arguments, timeout: float = 120, **environment) -> "subprocess.CompletedProcess[str]":
    """The command line in a process of its own, with `environment` besides."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout, env=os.environ | environment)


def register(outputs: Path, workdir: Path, name: str = "wren", **environment) -> "subprocess.CompletedProcess[str]":
    """Register `outputs` by the command line: MLflow warns, and in a test's own process a warning is an error."""
    folders = [outputs / each for each in FOLDERS]
    return mynah("register", "--name", name, *folders, "--workdir", workdir, **environment)


def register_all(outputs: dict[str, Path], workdir: Path, promoted: bool = True) -> None:
    """Register each bot's outputs, and promote it, in this process: importing torch and transformers takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's and transformers' own
        for name, folder in outputs.items():
            register_folders(name, *(folder / each for each in FOLDERS), workdir)
            if promoted:
                promote(name, open_store(workdir))


def add_version(workdir: Path, loss: float, *, verdict: str = "passed", posts: str = "", name: str = "wren") -> int:
    """One more version with the files of version 1, in a moment; its number."""
    registry = Registry(open_store(workdir))
    first = registry.client.get_model_version(name, "1")
    tags = first.tags | {"mynah.held_out_loss": repr(loss), "mynah.verdict": verdict}
    if posts:
        tags["mynah.held_out_digest"] = posts
    files = registry.client.get_model_version_download_uri(name, "1")
    made = registry.client.create_model_version(name, files, run_id=first.run_id, tags=tags)
    registry.client.set_registered_model_alias(name, "challenger", made.version)
    return int(made.version)


def aliases(workdir: Path, name: str = "wren") -> dict[str, int]:
    return Registry(open_store(workdir)).bot(name).aliases


def unique(bot):
    """A bot's name for one test: the servers live as long as all tests."""
    return f"{bot}-{os.urandom(3).hex()}"
