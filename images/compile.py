"""Compile what has no bytecode yet, on every core: `python compile.py FOLDER`.

Bytecode holds its source's hash, unchecked (PEP 552), instead of its source's time: an image's files all get the time of the
commit, so that Python would take the other kind for stale, and a read-only disk would have it compile everything at every start.
"""

import multiprocessing
import py_compile
import sys
from importlib.util import cache_from_source
from pathlib import Path

# Tests, which are a third of SymPy, NumPy and Matplotlib and some of them for a later Python, and the hundreds of models that are not
# ours: nobody imports them.
NEVER_IMPORTED = ("/tests/", "/torch/testing/_internal/", "/transformers/models/")
BUT = ("/transformers/models/auto/", "/transformers/models/gpt2/", "/transformers/models/__init__.py")


def wanted(source: Path) -> bool:
    """Whether somebody may import the file, and it is not compiled."""
    path = str(source)
    imported = not any(part in path for part in NEVER_IMPORTED) or any(part in path for part in BUT)
    return imported and not Path(cache_from_source(path)).exists()


def compile_one(source: Path) -> None:
    """Write the bytecode of `source`; what is no Python of this version goes without."""
    py_compile.compile(str(source), quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    sources = sorted(source for source in Path(sys.argv[1]).rglob("*.py") if wanted(source))
    with multiprocessing.Pool() as pool:
        pool.map(compile_one, sources, chunksize=20)
