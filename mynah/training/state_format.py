"""One training state on a disk: state.safetensors, and state.json with what else there is to know, its own digest among it.

Whatever may have become of the two files, reading them gives the state that was written or says why not. Nothing is unpickled.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.files import digest, write_text

if TYPE_CHECKING:
    import torch

FORMAT = "mynah-state-1"
TENSORS, DESCRIPTION = "state.safetensors", "state.json"
LONGEST_DESCRIPTION = 16 << 20  # bytes; a real one has some ten thousand


@dataclass(frozen=True)
class State:
    """Where a training stands after `step` optimiser steps. No two tensors may share memory; values are JSON."""

    step: int
    tensors: "dict[str, torch.Tensor]"
    values: dict[str, Any]


class Broken(Exception):  # noqa: N818 - it never leaves `States`
    """These files are no state that can be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Described:
    """What state.json says, its digest verified."""

    step: int
    identity: Any
    values: dict[str, Any]
    size: int  # of state.safetensors, in bytes
    sha256: str


def canonical(value: object) -> str:
    """One spelling of a JSON value: keys are texts and sorted, no blanks, ASCII."""
    plain = json.loads(json.dumps(value))  # 1 and "1" are one key in JSON, but sort differently
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_of(value: object) -> str:
    """The SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write(folder: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write both files of a state into `folder`, state.json last, and have the disk keep them before this returns."""
    from safetensors.torch import save_file

    tensors = folder / TENSORS
    save_file({name: tensor.detach().contiguous() for name, tensor in state.tensors.items()}, tensors)
    tensors.chmod(0o600)  # what was learnt from a person's posts is for its owner alone
    sync(tensors)
    record = {
        "format": FORMAT, "step": state.step, "identity": dict(identity), "values": state.values,
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "tensors": {"size": tensors.stat().st_size, "sha256": digest(tensors)},
    }  # fmt: skip
    write_text(folder / DESCRIPTION, json.dumps({**record, "sha256": sha256_of(record)}, indent=1) + "\n")
    sync(folder / DESCRIPTION)
    sync(folder)


def sync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder, through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def describe(path: Path) -> Described:
    """Read state.json. Raises Broken when it is not as `write` left it."""
    try:
        if path.stat().st_size > LONGEST_DESCRIPTION:
            raise Broken(f"its {DESCRIPTION} is too large")
        return described(path.read_bytes())
    except OSError as error:
        raise Broken(f"its {DESCRIPTION} cannot be read ({error.strerror})") from error


def described(data: bytes) -> Described:
    """The same of its bytes."""
    try:
        record = json.loads(data)
        said = record.pop("sha256")
        if said != sha256_of(record) or record["format"] != FORMAT:
            raise Broken(f"its {DESCRIPTION} was changed since it was written")
        size, sha256 = record["tensors"]["size"], record["tensors"]["sha256"]
        found = Described(record["step"], record["identity"], record["values"], size, sha256)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise Broken(f"its {DESCRIPTION} is damaged") from error
    kinds = (type(found.step), type(found.values), type(size), type(sha256))
    if kinds != (int, dict, int, str) or found.step < 0 or size < 0:
        raise Broken(f"its {DESCRIPTION} does not describe a state")
    return found


def load(path: Path, described: Described) -> "dict[str, torch.Tensor]":
    """The tensors of state.safetensors. Raises Broken unless it has the size and the digest that were written down."""
    from safetensors import safe_open

    try:
        size = path.stat().st_size
        if size != described.size:
            raise Broken(f"its {TENSORS} has {size:,} of {described.size:,} bytes")
        if digest(path) != described.sha256:
            raise Broken(f"the digest of its {TENSORS} differs")
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except OSError as error:
        raise Broken(f"its {TENSORS} cannot be read ({error.strerror})") from error
    except Broken:
        raise
    except Exception as error:  # what safetensors raises for foreign bytes is of several types
        raise Broken(f"its {TENSORS} is damaged ({error})") from error
