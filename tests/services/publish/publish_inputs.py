"""What the tests of `mynah publish` share."""

from mynah.registry.registry import Registry
from mynah.tracking.open import open_store

SECRET_FILES = ("verbatim.bloom", "training.json", "seen.txt", "train.jsonl", "optimizer.pt", "notes.safetensors.txt")


def refused(done, code, *words):
    """A command that ended with `code`, on stderr alone, with a problem that says `words` and a line with the fix."""
    lines = [line for line in done.stderr.splitlines() if not line.endswith("…") and ": trying again in " not in line]
    assert (done.returncode, done.stdout, len(lines)) == (code, "", 2), done
    for word in words:
        assert word in done.stderr, done.stderr


def version(workdir, name="wren", number=1):
    return Registry(open_store(workdir)).head(name, number).versions[0]


def tag(workdir, key, value, name="wren", number=1):
    Registry(open_store(workdir)).client.set_model_version_tag(name, str(number), key, value)
