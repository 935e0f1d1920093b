"""Mutated bytes, and what fetch makes of a file."""

import random
from pathlib import Path

from components.fetch.step import fetch
from mynah.core.errors import MynahError
from mynah.data.posts import read_posts

CUTS = ("[", "]", "{", "}", '"', ",", "\\", "\\u", "null", "-", "\x00", "\ud83d", "1e999", '"tweet"', "…")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """`data` with a few bytes changed, dropped, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(changed)) if changed else 0
        match rng.randrange(6):
            case 0:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[place : place + rng.randrange(1, 40)]
            case 2:
                changed[place:place] = changed[place : place + rng.randrange(1, 40)]
            case 3 if rng.random() < 0.2:
                del changed[place:]
            case 4:
                changed[place:place] = rng.choice(CUTS).encode("utf-8", "surrogatepass")
            case _:
                changed[place : place + 1] = bytes([changed[place] ^ (1 << rng.randrange(8))]) if changed else b""
    return bytes(changed)


def result_or_refusal(source: Path, out: Path) -> bool:
    """Whether posts came out; anything but a result or a MynahError with a fix fails the test."""
    try:
        [provenance] = fetch([str(source)], out, basis="permission")
    except MynahError as error:
        assert error.fix
        assert not out.exists()
        assert not list(out.parent.glob(f".{out.name}*"))
        return False
    assert len(list(read_posts(out))) == provenance.posts > 0
    for item in out.iterdir():
        item.unlink()
    out.rmdir()
    return True
