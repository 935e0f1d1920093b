"""Training states, from which an interrupted training run resumes, kept in a folder or in S3, so that preemption costs little.

WHERE/IDENTITY/step-000123/ holds a state: IDENTITY is a digest of everything that identifies a training run (recipe, base model,
data), so that no other training run uses the state. A state is complete when its state.json, which is written last, exists.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mynah.core.errors import MynahError
from mynah.core.names import bot_name
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_CHECKPOINT_SECONDS, MYNAH_CHECKPOINTS, MYNAH_S3_BUCKET
from mynah.training.state_backends import SCHEME, STATES_KEPT, disk_errors, state_backend, step_of
from mynah.training.state_format import (
    DESCRIPTION,
    TENSORS,
    CorruptState,
    State,
    canonical,
    load,
    read_description,
    sha256_of,
    write,
)

__all__ = ["State", "States", "states_of"]

FOLDER = "checkpoints"  # in the bucket, or in the work folder


def state_locations(workdir: Path | None = None) -> list[str]:
    """Return the locations where pipelines keep training states, that of this environment first; each has a folder per bot.

    They are MYNAH_CHECKPOINTS, s3://MYNAH_S3_BUCKET/checkpoints and the work folder's checkpoints/. None depends on the pod, so that
    the pod of a retry finds the states of the previous attempt. Raises InputError for an invalid location.
    """
    place, bucket = MYNAH_CHECKPOINTS.get(), MYNAH_S3_BUCKET.get()
    found = [place if "://" in place else str(Path(place).absolute())] if place else []
    found += [f"{SCHEME}{bucket}/{FOLDER}"] if bucket else []
    found += [str(workdir.absolute() / FOLDER)] if workdir else []
    for each in found:
        state_backend(each, "")
    return list(dict.fromkeys(each.rstrip("/") for each in found))


def state_folders(where: str) -> list[Path]:
    """Return the folder of a location of training states; [] for a bucket, or where none are kept."""
    return [Path(where)] if where and "://" not in where else []


def states_of(bot: str) -> str:
    """Return the location of a bot's training states in a pipeline; "" when none are kept. Raises InputError for an invalid name."""
    return next((f"{place}/{bot_name(bot)}" for place in state_locations()), "")


def run_state_location(workdir: Path, *, is_server: bool) -> str:
    """Return the location of the training states of a local pipeline run: the work folder, unless configured or the store is shared.

    Raises InputError for an invalid location or interval in the environment, before the first step runs.
    """
    seconds_between_states()
    return state_locations(workdir)[0 if is_server or MYNAH_CHECKPOINTS.get() else -1]


def seconds_between_states() -> float:
    """Return the seconds between two training states in a pipeline: MYNAH_CHECKPOINT_SECONDS, by default 300.

    Raises:
        InputError: The variable is not a number of seconds from 0.
    """
    return MYNAH_CHECKPOINT_SECONDS.get()


class States:
    """The states of one training run. All methods raise PlatformError when the disk or S3 fails."""

    def __init__(self, where: str, identity: Mapping[str, Any]) -> None:
        """Create the store.

        Args:
            where: a folder, or s3://BUCKET/PREFIX.
            identity: what identifies the training run, as JSON.

        Raises:
            InputError: `where` is neither.
        """
        self._identity = identity
        self._backend = state_backend(where, sha256_of(identity)[:16])
        self.uri = self._backend.uri

    def require_space(self, nbytes: int) -> None:
        """Raise PlatformError unless there is space for three states of `nbytes` bytes: two kept ones and one being written."""
        self._backend.check_space(nbytes)

    def save(self, state: State) -> None:
        """Save a state atomically; keep the previous one and remove older ones."""
        with self._backend.scratch() as folder, disk_errors(folder):
            write(folder, state, self._identity)
            self._backend.commit(folder, f"step-{state.step:06d}")
            names = self._backend.names()
            earlier = [name for name in names if step_of(name) <= state.step]
            # Later states were unusable, otherwise training would have resumed there.
            for name in set(names) - set(earlier[-STATES_KEPT:]):
                self._backend.remove(name)

    def newest(self) -> State | None:
        """Return the newest intact state of this training run; unusable ones are reported and skipped."""
        names = self._backend.names()
        for name in reversed(names):
            try:
                return self._read(name)
            except CorruptState as error:
                notify(f"the training state {self.uri}/{name} is not used: {error}", "warning")
        if not names and self._backend.has_others():
            notify(
                f"next to {self.uri} are states of another recipe, base model or data: they are not used, and training starts from the beginning"
            )
        return None

    def clear(self) -> None:
        """Remove all states of this training run once its model is written. A failure is only a warning, since the model exists."""
        try:
            self._backend.clear()
        except MynahError as error:
            notify(f"the training states in {self.uri} could not be removed; run `mynah prune`: {error.problem}", "warning")

    def _read(self, name: str) -> State:
        with self._backend.open(name) as fetch:
            description = read_description(fetch(DESCRIPTION))
            if canonical(description.identity) != canonical(self._identity):
                raise CorruptState("it is of another training run (another recipe, base model or data)")
            if description.step != step_of(name):
                raise CorruptState(f"it is the state of step {description.step}")
            return State(description.step, load(fetch(TENSORS), description), description.values)
