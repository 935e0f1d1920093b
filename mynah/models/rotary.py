"""Rotary position embeddings, described by the values of a checkpoint's config.json. Imports no torch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary position embeddings (Su et al. 2021, https://arxiv.org/abs/2104.09864).

    Attributes:
        theta: The base of the frequencies.
        factor: The number by which positions are divided; 1: none.
        llama3: Low and high frequency factor and original context of Llama 3's scaling, which divides low frequencies only; else None.
    """

    theta: float
    factor: float = 1.0
    llama3: tuple[float, float, float] | None = None

    def frequencies(self, head: int) -> list[float]:
        """Radians per position of each pair of a head's numbers; `head`: numbers per head."""
        plain = [self.theta ** (-2 * number / head) for number in range(head // 2)]
        if not self.llama3:
            return [frequency / self.factor for frequency in plain]
        return [self._scaled(frequency, *self.llama3) for frequency in plain]

    def _scaled(self, frequency: float, low: float, high: float, context: float) -> float:
        """Llama 3's rule: short wavelengths stay, long ones are divided, and those between are interpolated."""
        turns = context * frequency / (2 * math.pi)  # within the original context
        share = min(1.0, max(0.0, (turns - low) / (high - low)))
        return frequency * (share + (1 - share) / self.factor)
