"""`mynah export` of registered bots, by the command line: what is written, what is refused, and that nothing else is touched."""

import json

import pytest
from registry_inputs import add_version, make_outputs, register_all

from components.export.step import export
from mynah.core.errors import InputError
from mynah.models.base_models import resolve
from mynah.tracking.open import open_store

CARD = "---\nlicense: apache-2.0\nlanguage: en\n---\n\n# A bot of ann\n"


@pytest.fixture(scope="module")
def workdir(tiny_checkpoint, tmp_path_factory):
    """The bot wren with two versions, of which the first is the champion."""
    folder = tmp_path_factory.mktemp("export")
    outputs = make_outputs(folder / "wren", tiny_checkpoint)
    (outputs / "card" / "README.md").write_text(CARD)
    register_all({"wren": outputs}, folder / "work")
    add_version(folder / "work", 3.0)
    return folder / "work"


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".mynah")


def test_a_gguf_is_a_base_model_again(workdir, tmp_path, mynah, monkeypatch):
    out = tmp_path / "out"
    done = mynah("export", "wren", "--to", "gguf", "--out", out, "--workdir", workdir, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["name"], found["version"], found["files"]) == ("wren", 1, files(out))
    assert files(out) == ["README.md", "wren.gguf"]
    assert (out / "README.md").read_text() == CARD
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "cache"))
    config = json.loads((resolve(str(out / "wren.gguf")).folder / "config.json").read_text())
    assert (config["model_type"], config["n_positions"]) == ("gpt2", 64)
    assert b"apache-2.0" in (out / "wren.gguf").read_bytes()[:4096]


def test_a_model_for_ollama_samples_as_mynah_does(workdir, tmp_path, mynah):
    done = mynah("export", "wren:2", "--to", "ollama", "--type", "q8_0", "--out", tmp_path / "out", "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    assert "wren version 2" in done.stdout
    assert f"ollama create wren -f {tmp_path}/out/Modelfile" in done.stdout
    assert files(tmp_path / "out") == ["Modelfile", "README.md", "wren.gguf"]
    lines = (tmp_path / "out" / "Modelfile").read_text().splitlines()
    assert lines[:2] == ["FROM ./wren.gguf", 'TEMPLATE """{{ .Prompt }}"""']
    assert {"PARAMETER temperature 1.0", "PARAMETER top_p 0.95", "PARAMETER num_ctx 64", 'LICENSE """apache-2.0"""'} <= set(lines)


def test_a_folder_is_a_checkpoint_without_what_reveals_the_posts(workdir, tmp_path, mynah):
    out = tmp_path / "out"
    for _ in range(2):  # what a step wrote before is replaced
        done = mynah("export", "wren@champion", "--to", "folder", "--out", out, "--workdir", workdir)
        assert done.returncode == 0, done.stderr
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(files(out))
    assert not {"training.json", "verbatim.bloom", "seen.txt"} & set(files(out))
    assert resolve(str(out)).name == "out"


def refused(workdir, bot, out):
    """What the export's function says, which the command prints: a process of its own takes seconds."""
    with pytest.raises(InputError) as error:
        export(bot, "gguf", out, open_store(workdir))
    assert error.value.fix
    return str(error.value)


@pytest.mark.parametrize(
    ("bot", "said"),
    [
        ("wrenn", "Did you mean 'wren'?"),
        ("wren:7", "wren has no version 7"),
        ("wren@challenged", "wren has no challenged"),
        ("wren:x", "names no bot"),
        ("@champion", "names no bot"),
    ],
)
def test_what_is_not_there(workdir, tmp_path, bot, said):
    assert said in refused(workdir, bot, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_others_stays(workdir, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "note").write_text("note")
    for out, said in (("mine", "was not written by mynah"), ("note", "is a file"), ("wren.gguf", "names a file")):
        assert said in refused(workdir, "wren", tmp_path / out)
    assert files(tmp_path) == ["mine", "note"]
    assert files(tmp_path / "mine") == ["letter.txt"]


def test_the_model_itself_is_never_replaced(workdir):
    [weights, *_] = workdir.rglob("model.safetensors")
    (weights.parent / ".mynah").write_text("written whole\n")  # as copies from a server have
    try:
        for out in (weights.parent, weights.parent / "inside"):
            assert "lie in one another" in refused(workdir, "wren:1", out)
    finally:
        (weights.parent / ".mynah").unlink()
    assert weights.is_file()


def test_a_command_that_is_refused_says_why_in_two_lines(workdir, tmp_path, mynah):
    done = mynah("export", "wren@nobody", "--to", "gguf", "--out", tmp_path / "out", "--workdir", workdir)
    assert (done.returncode, len(done.stderr.splitlines()), list(tmp_path.iterdir())) == (2, 2, []), done.stderr


def test_a_full_disk_is_seen_before_the_work(workdir, small_disk, mynah):
    disk = small_disk(64)
    done = mynah("export", "wren", "--to", "gguf", "--out", disk / "out", "--workdir", workdir)
    assert done.returncode not in (0, 1)
    assert "exporting wren needs about" in done.stderr
    assert list(disk.iterdir()) == []
