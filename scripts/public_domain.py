"""Read the public-domain texts of `fledgling` and of the sample export, which use different parts of them."""

import re
from pathlib import Path

END_OF_TEXT = "<|endoftext|>"
SAMPLE_STARTS_AT = "In sooth, I know not why I am so sad:"  # The Merchant of Venice; Othello and Romeo and Juliet follow
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def speeches(folder: Path) -> list[str]:
    """Return the paragraphs of the presidents' addresses."""
    lines = [line for name in ("inaugural.txt", "state_union.txt") for line in (folder / name).read_text("utf-8").splitlines()]
    tidy = (re.sub(r"\s+", " ", line).strip() for line in lines)
    return [line for line in tidy if len(line) >= 40 and "\ufffd" not in line and not line.isupper()]


def plays(folder: Path) -> tuple[list[str], list[str]]:
    """Return the sentences of Shakespeare's plays in order: those to pre-train on, and those of the sample export."""
    text = (folder / "shakespeare.txt").read_text("utf-8")
    if SAMPLE_STARTS_AT not in text:
        raise ValueError(
            f"{folder / 'shakespeare.txt'} does not contain {SAMPLE_STARTS_AT!r}: is it the text of the eight plays?"
        )
    before, after = text.split(SAMPLE_STARTS_AT, 1)
    return _sentences(before), _sentences(SAMPLE_STARTS_AT + after)


def documents(folder: Path) -> list[str]:
    """Return the documents that `fledgling` is pre-trained on: paragraphs of speeches, and runs of four sentences from the plays."""
    sentences, _ = plays(folder)
    return speeches(folder) + [" ".join(sentences[i : i + 4]) for i in range(0, len(sentences), 4)]


def _sentences(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", sentence).strip() for sentence in SENTENCE_END.split(text) if sentence.strip()]
