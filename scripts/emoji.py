"""Create the emoji of the pictures: Twemoji's drawings, as the npm package emoji-datasource-twitter packs them into one sheet.

    python -m scripts.emoji --out mynah/drawing/emoji_images            # downloads the package (62 MB) from registry.npmjs.org
    python -m scripts.emoji --out FOLDER --package FILE.tgz        # or uses a package that was downloaded before

Writes sheet.png, byte for byte the package's (cells of 66 x 66 pixels with the 64 x 64 drawing in their middle, 62 to a column, 256
colours), and sequences.txt: one line per cell with its emoji, column by column from the left, "-" for an empty cell.
"""

import argparse
import hashlib
import json
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

VERSION = "16.0.0"
ADDRESS = f"https://registry.npmjs.org/emoji-datasource-twitter/-/emoji-datasource-twitter-{VERSION}.tgz"
SHA256 = "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877"
SHEET, LIST = "package/img/twitter/sheets-256/64.png", "package/emoji.json"
COLUMN = 62  # cells


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--package", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        package = chosen.package or _download(Path(scratch) / "package.tgz")
        with package.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != SHA256:
            raise SystemExit(f"{package} has the SHA-256 {sha256}, and emoji-datasource-twitter {VERSION} has {SHA256}")
        with tarfile.open(package) as packed:
            sheet, listed = _member(packed, SHEET), json.loads(_member(packed, LIST))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "sheet.png").write_bytes(sheet)
    (chosen.out / "sequences.txt").write_text("\n".join(sequences(listed)) + "\n", "utf-8")


def sequences(listed: list[dict[str, Any]]) -> list[str]:
    """Return the emoji of every cell in the order of the cells; "-" for an empty cell."""
    cells = {}
    for emoji in listed:
        for variant in (emoji, *emoji.get("skin_variations", {}).values()):
            sequence = "".join(chr(int(code, 16)) for code in variant["unified"].split("-"))
            cells[variant["sheet_x"] * COLUMN + variant["sheet_y"]] = sequence
    return [cells.get(cell, "-") for cell in range(max(cells) + 1)]


def _download(target: Path) -> Path:
    with urllib.request.urlopen(ADDRESS, timeout=60) as answer:
        target.write_bytes(answer.read())
    return target


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    file = packed.extractfile(name)
    if not file:
        raise SystemExit(f"the package has no {name}")
    return file.read()


if __name__ == "__main__":
    main()
