"""The file format of a training state: state.safetensors, and state.json with the other values and a digest of itself.

Reading the files returns exactly the state that was written, or raises an error that names the defect. Nothing is unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.files import digest, set_mode, sync, write_text

if TYPE_CHECKING:
    import torch

FORMAT = "mynah-state-1"
TENSORS, DESCRIPTION = "state.safetensors", "state.json"
MAX_DESCRIPTION_BYTES = 16 << 20  # a typical one has some ten thousand


@dataclass(frozen=True)
class State:
    """The state of a training run after `step` optimizer steps. Tensors may not share memory; values are JSON."""

    step: int
    tensors: "dict[str, torch.Tensor]"
    values: dict[str, Any]


class CorruptState(Exception):  # noqa: N818 - it never leaves `States`
    """The files are not a usable state; the message says why."""


@dataclass(frozen=True, slots=True)
class StateDescription:
    """The content of state.json, with its digest verified."""

    step: int
    identity: Any
    values: dict[str, Any]
    size: int  # of state.safetensors, in bytes
    sha256: str


def canonical(value: object) -> str:
    """Return the canonical spelling of a JSON value: sorted string keys, no spaces, ASCII."""
    plain = json.loads(json.dumps(value))  # 1 and "1" are one key in JSON, but sort differently
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_of(value: object) -> str:
    """Return the SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write(folder: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write a state and sync it to disk, state.json last.

    Args:
        folder: where the two files go.
        state: the state; its tensors can have any shape and dtype.
        identity: what identifies the training run.
    """
    from safetensors.torch import save_file

    tensors = folder / TENSORS
    save_file({name: tensor.detach().contiguous() for name, tensor in state.tensors.items()}, tensors)
    set_mode(tensors, 0o600)  # weights trained on a person's posts are readable by their owner only
    sync(tensors)
    record = {
        "format": FORMAT, "step": state.step, "identity": dict(identity), "values": state.values,
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "tensors": {"size": tensors.stat().st_size, "sha256": digest(tensors)},
    }  # fmt: skip
    write_text(folder / DESCRIPTION, json.dumps({**record, "sha256": sha256_of(record)}, indent=1) + "\n")
    sync(folder / DESCRIPTION)
    sync(folder)


def read_description(path: Path) -> StateDescription:
    """Read state.json. Raises CorruptState when it is not as `write` wrote it."""
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise CorruptState(f"its {DESCRIPTION} is too large")
        return parse_description(path.read_bytes())
    except OSError as error:
        raise CorruptState(f"its {DESCRIPTION} cannot be read ({error.strerror})") from error


def parse_description(data: bytes) -> StateDescription:
    """Parse the bytes of state.json. Raises CorruptState when they are not as `write` wrote them."""
    try:
        record = json.loads(data)
        recorded_digest = record.pop("sha256")
        if recorded_digest != sha256_of(record) or record["format"] != FORMAT:
            raise CorruptState(f"its {DESCRIPTION} was changed since it was written")
        size, sha256 = record["tensors"]["size"], record["tensors"]["sha256"]
        description = StateDescription(record["step"], record["identity"], record["values"], size, sha256)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise CorruptState(f"its {DESCRIPTION} is damaged") from error
    types = (type(description.step), type(description.values), type(size), type(sha256))
    if types != (int, dict, int, str) or description.step < 0 or size < 0:
        raise CorruptState(f"its {DESCRIPTION} does not describe a state")
    return description


def load(path: Path, description: StateDescription) -> "dict[str, torch.Tensor]":
    """Return the tensors of state.safetensors, on the CPU, in the shapes and dtypes in which they were saved.

    Raises CorruptState when the file's size or digest differs from the description.
    """
    from safetensors import safe_open

    try:
        size = path.stat().st_size
        if size != description.size:
            raise CorruptState(f"its {TENSORS} has {size:,} of {description.size:,} bytes")
        if digest(path) != description.sha256:
            raise CorruptState(f"the digest of its {TENSORS} differs")
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except OSError as error:
        raise CorruptState(f"its {TENSORS} cannot be read ({error.strerror})") from error
    except CorruptState:
        raise
    except Exception as error:  # what safetensors raises for foreign bytes is of several types
        raise CorruptState(f"its {TENSORS} is damaged ({error})") from error
