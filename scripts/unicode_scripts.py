"""Write mynah/data/unicode_scripts.txt, the script of every code point, from the copy of Unicode's Scripts.txt in fontTools.

Call: python -m scripts.unicode_scripts
"""

from pathlib import Path

from fontTools.unicodedata import Scripts

from mynah.data.scripts import TABLE, UNREADABLE

REPLACEMENT = 0xFFFD  # Common by Unicode; to a reader it is a character that was lost
HEADER = """\
# The first code point of each run of characters of one script (UAX #24), and the script's code of ISO 15924. Zzzz: unassigned,
# private use, surrogate or noncharacter, and here U+FFFD as well. Written by scripts/unicode_scripts.py from {source} of the
# Unicode Character Database. © 2026 Unicode, Inc.; Unicode License v3 (LICENSE_UNICODE).
"""


def table() -> list[tuple[int, str]]:
    """The runs in order, neighbours of different scripts."""
    starts = dict(zip(Scripts.RANGES, Scripts.VALUES, strict=True))
    after = max(start for start in starts if start <= REPLACEMENT + 1)
    starts |= {REPLACEMENT: UNREADABLE, REPLACEMENT + 1: starts[after]}
    runs: list[tuple[int, str]] = []
    for start, script in sorted(starts.items()):
        if not runs or runs[-1][1] != script:
            runs.append((start, script))
    return runs


def source() -> str:
    """The name of Unicode's file with its version."""
    lines = Path(Scripts.__file__).read_text("utf-8").splitlines()
    return next(line.strip("# ") for line in lines if line.startswith("# Scripts-"))


if __name__ == "__main__":
    rows = "".join(f"{start:x} {script}\n" for start, script in table())
    TABLE.write_text(HEADER.format(source=source()) + rows, "utf-8")
