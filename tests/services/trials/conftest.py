"""The store of all these sweeps, and the posts that they learn."""

import pytest

from mynah.core.files import write_lines
from mynah.tracking.open import open_store

WHAT = (
    "the rain",
    "an old garden",
    "the moon",
    "a letter",
    "nothing",
    "the sea",
    "her song",
    "a cat",
    "the night",
    "my neighbour",
    "it",
)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One for all sweeps here: to make one takes seconds."""
    return open_store(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """What the filter step leaves, as far as training looks at it."""
    folder = tmp_path_factory.mktemp("data")
    texts = [f"{who} {does} {what}." for who in ("The bird", "A queen") for does in ("sings to", "forgets") for what in WHAT]
    for part, some in (("train", texts[:40]), ("held_out", texts[40:])):
        write_lines(folder / f"{part}.jsonl", [{"text": text, "author": "ann"} for text in some])
    return folder
