"""The texts of a filtered dataset: train.jsonl and held_out.jsonl."""

from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import read_lines
from mynah.core.names import is_unicode

# in a folder that `mynah filter` wrote
TRAIN_FILE, HELD_OUT_FILE, DROPPED_FILE = "train.jsonl", "held_out.jsonl", "dropped.jsonl"
PARTS = {"train": TRAIN_FILE, "held_out": HELD_OUT_FILE}


def read_texts(data: Path, part: str) -> list[str]:
    """Read the texts of one part of a filtered dataset.

    Args:
        data: A folder that `mynah filter` wrote.
        part: "train" or "held_out".

    Returns:
        The texts.

    Raises:
        InputError: It is another folder, or the part has no texts.
    """
    return [text for _, text in _read_kept(data, part)]


def read_by_author(data: Path, part: str) -> dict[str, list[str]]:
    """Read the same texts by author; texts without one are under ""."""
    texts: dict[str, list[str]] = {}
    for author, text in _read_kept(data, part):
        texts.setdefault(author, []).append(text)
    return texts


def _read_kept(data: Path, part: str) -> list[tuple[str, str]]:
    path = data / PARTS[part]
    records = [record if isinstance(record, dict) else {} for record in read_lines(path, "filter")]
    texts = [record.get("text") for record in records]
    if not texts or not all(isinstance(text, str) and text and is_unicode(text) for text in texts):
        raise InputError(f"{path} has no texts, or a line without one", "Run `mynah filter` again.")
    return [(str(record.get("author") or ""), record["text"]) for record in records]
