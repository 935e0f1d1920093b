"""What the engine reports of its work."""

from collections.abc import Collection, Mapping
from typing import Protocol


class Observer(Protocol):
    """Receives the engine's measurements, on the engine's thread; its methods must return quickly."""

    def step(self, labels: Collection[str], batch: int, seconds: float) -> None:
        """Record one decoding step.

        Args:
            labels: The names of the bots in the batch.
            batch: The number of samples, each of which got a token.
            seconds: The step's duration.
        """

    def prefill(self, tokens: Mapping[str, int]) -> None:
        """Record a prefill.

        Args:
            tokens: The number of tokens of a bot's prompts, by its name.
        """
