"""Print what the core and some optional parts of pyproject.toml require, a line each: `python requirements.py card tracking`."""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def required(project: dict[str, Any], parts: Iterable[str]) -> Iterator[str]:
    """The requirements of `parts`, with those of the parts that they name as mynah[…]."""
    for part in parts:
        for line in project["optional-dependencies"][part]:
            inner = re.fullmatch(r"mynah\[(.+)\]", line)
            if inner:
                yield from required(project, inner[1].split(","))
            else:
                yield line


if __name__ == "__main__":
    found = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    print("\n".join(sorted({*found["dependencies"], *required(found, sys.argv[1:])})))
