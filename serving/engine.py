"""Generation from one checkpoint, one request at a time."""

import threading
from pathlib import Path

from components import checkpoint
from components.errors import InputError
from components.generation import Sampling, generate
from serving.refusals import Refusal

# torch.manual_seed is global: two generations side by side would draw from each other's random numbers.
_ONE_AT_A_TIME = threading.Lock()


class Stopped(Exception):  # noqa: N818 - somebody asked for it
    """The generation was given up between two tokens."""


class Engine:
    """A checkpoint in memory. Raises InputError when its folder is not a whole one."""

    def __init__(self, folder: Path) -> None:
        self._checkpoint = checkpoint.load(folder)
        self._stop = threading.Event()
        self._checkpoint.model.register_forward_pre_hook(self._halt)

    def _halt(self, *_: object) -> None:
        if self._stop.is_set():
            raise Stopped

    def generate(self, prompt: str, sampling: Sampling, stop: threading.Event | None = None) -> list[str]:
        """Continue `prompt` `sampling.n` times; blocks, and waits for its turn in this process.

        Raises Refusal (400) when the prompt leaves no room in the model's context, and Stopped soon after `stop` is set.
        """
        with _ONE_AT_A_TIME:
            self._stop = stop or threading.Event()
            try:
                return generate(self._checkpoint, prompt, sampling)
            except InputError as error:
                raise Refusal(400, f"{error.problem}. {error.fix}") from error
