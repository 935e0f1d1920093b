"""Training states: what a training needs to go on where it stood, kept in a folder or in S3, so that preemption costs little.

WHERE/IDENTITY/step-000123/ holds a state: IDENTITY is a digest of everything that makes two trainings one (recipe, base model,
data), so that a state is never taken up by another training. A state is there when its state.json is, which comes last.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import InputError, MynahError
from components.events import say
from components.finetune.state_files import DESCRIPTION, TENSORS, Broken, State, canonical, describe, load, sha256_of, write
from components.finetune.state_shelves import KEPT, SCHEME, disk_errors, shelf, step_of
from components.names import bot_name

__all__ = ["State", "States", "states_of"]

PLACE, BUCKET = "MYNAH_CHECKPOINTS", "MYNAH_S3_BUCKET"  # where the states of bots are kept: see `places`
FOLDER = "checkpoints"  # in the bucket, or in the work folder
SECONDS = "MYNAH_CHECKPOINT_SECONDS"


def places(workdir: Path | None = None) -> list[str]:
    """Where pipelines may have kept training states, the place of this environment first: a folder for each bot is in each.

    MYNAH_CHECKPOINTS, s3://MYNAH_S3_BUCKET/checkpoints, the work folder's checkpoints/. None depends on the pod that asks: the next
    attempt's pod must find what this one left. Raises InputError for what is no place.
    """
    place, bucket = os.environ.get(PLACE, ""), os.environ.get(BUCKET, "")
    found = [place if "://" in place else str(Path(place).absolute())] if place else []
    found += [f"{SCHEME}{bucket}/{FOLDER}"] if bucket else []
    found += [str(workdir.absolute() / FOLDER)] if workdir else []
    for each in found:
        shelf(each, "")
    return list(dict.fromkeys(each.rstrip("/") for each in found))


def states_of(bot: str) -> str:
    """Where a pipeline keeps the states of a bot; "" where it keeps none. Raises InputError for what is no bot's name."""
    return next((f"{place}/{bot_name(bot)}" for place in places()), "")


def place_of_run(workdir: Path, *, is_server: bool) -> str:
    """Where a pipeline run of this machine keeps its states: in the work folder, unless told otherwise or others share the store.

    Raises InputError when the environment names no place, or no time between two states: before the first step, not in the third.
    """
    seconds_between_states()
    return places(workdir)[0 if is_server or os.environ.get(PLACE) else -1]


def seconds_between_states() -> float:
    """How often a pipeline keeps a training state: MYNAH_CHECKPOINT_SECONDS, or five minutes. Raises InputError for no such number."""
    text = os.environ.get(SECONDS) or "300"
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < math.inf:
        raise InputError(f"{SECONDS} is {text[:40]!r}", "Set it to seconds from 0, which keeps a state after every step.")
    return found


class States:
    """The states of one training. All methods raise PlatformError when the disk or S3 fails or refuses."""

    def __init__(self, where: str, identity: Mapping[str, Any]) -> None:
        """`where`: a folder, or s3://BUCKET/PREFIX. Raises InputError for what is neither."""
        self._identity = identity
        self._shelf = shelf(where, sha256_of(identity)[:16])
        self.uri = self._shelf.uri

    def require_space(self, nbytes: int) -> None:
        """Raise PlatformError unless states of `nbytes` each can be kept here, two and one more that is being written."""
        self._shelf.check(nbytes)

    def save(self, state: State) -> None:
        """Keep `state`, all or nothing. Afterwards the one before it is kept too, and older ones are gone."""
        with self._shelf.scratch() as folder, disk_errors(folder):
            write(folder, state, self._identity)
            self._shelf.take(folder, f"step-{state.step:06d}")
            there = self._shelf.names()
            earlier = [name for name in there if step_of(name) <= state.step]
            # What is later was not usable, or this training would have begun there.
            for name in set(there) - set(earlier[-KEPT:]):
                self._shelf.remove(name)

    def newest(self) -> State | None:
        """The newest state that is whole and of this training. Others are told of and skipped."""
        names = self._shelf.names()
        for name in reversed(names):
            try:
                return self._read(name)
            except Broken as broken:
                say(f"the training state {self.uri}/{name} is not used: {broken}", "warning")
        if not names and self._shelf.has_others():
            say(
                f"beside {self.uri} are states of another recipe, base model or data: they are not used, and this training begins anew"
            )
        return None

    def clear(self) -> None:
        """Remove all states of this training, for its model is written. Where that fails it is told, and no error: the model is there."""
        try:
            self._shelf.clear()
        except MynahError as error:
            say(f"the training states in {self.uri} are still there, until `mynah prune`: {error.problem}", "warning")

    def _read(self, name: str) -> State:
        with self._shelf.opened(name) as get:
            about = describe(get(DESCRIPTION))
            if canonical(about.identity) != canonical(self._identity):
                raise Broken("it is of another training (another recipe, base model or data)")
            if about.step != step_of(name):
                raise Broken(f"it is the state of step {about.step}")
            return State(about.step, load(get(TENSORS), about), about.values)
